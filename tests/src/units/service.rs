//! What a unit file asks for, as values.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    UnitError,
    file::{Assignment, read},
};

/// Sandboxing that is systemd's alone: here it is read and left out. `./test units` checks its score.
pub const NOT_EMULATED: &[(&str, &str)] = &[
    (
        "DeviceAllow",
        "a control group's device filter: guests have no control groups",
    ),
    ("DevicePolicy", "as DeviceAllow"),
    ("IPAddressAllow", "a control group's packet filter"),
    ("IPAddressDeny", "as IPAddressAllow"),
    ("KeyringMode", "the test kernel has no key rings"),
    (
        "LockPersonality",
        "a system call filter; the role's own is narrower",
    ),
    ("MemoryDenyWriteExecute", "as LockPersonality"),
    (
        "PrivateDevices",
        "a view of the files; the role's own Landlock rules are narrower",
    ),
    ("PrivateIPC", "the test kernel has no System V objects"),
    ("PrivateMounts", "as PrivateDevices"),
    ("PrivateTmp", "as PrivateDevices"),
    ("PrivateUsers", "the test kernel has no user namespaces"),
    ("ProcSubset", "as PrivateDevices"),
    ("ProtectClock", "as LockPersonality and DeviceAllow"),
    ("ProtectControlGroups", "as PrivateDevices"),
    ("ProtectHome", "as PrivateDevices"),
    ("ProtectHostname", "as LockPersonality"),
    ("ProtectKernelLogs", "as LockPersonality"),
    ("ProtectKernelModules", "as LockPersonality"),
    ("ProtectKernelTunables", "as PrivateDevices"),
    ("ProtectProc", "as PrivateDevices"),
    (
        "ProtectSystem",
        "as PrivateDevices; a guest's files are read-only anyway",
    ),
    ("RemoveIPC", "as PrivateIPC"),
    ("RestrictAddressFamilies", "as LockPersonality"),
    ("RestrictNamespaces", "as LockPersonality"),
    ("RestrictRealtime", "as LockPersonality"),
    ("RestrictSUIDSGID", "as LockPersonality"),
    ("SystemCallArchitectures", "as LockPersonality"),
    ("SystemCallErrorNumber", "as LockPersonality"),
    ("SystemCallFilter", "as LockPersonality"),
    ("TasksMax", "a control group's limit"),
];

/// A resource with a limit (`setrlimit(2)`).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Resource {
    /// The size of a core dump.
    Core,
    /// Locked memory.
    Memlock,
    /// Open files.
    Nofile,
}

/// When a service is started again.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// After any end but a clean one.
    OnFailure,
    /// After every end.
    Always,
}

/// What of a service is set up before its program runs, in the words of the unit file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Execution {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// `User=`.
    pub user: String,
    /// `Group=`; the user's own if there is none.
    pub group: Option<String>,
    /// `SupplementaryGroups=`.
    pub supplementary: Vec<String>,
    /// `Environment=`, as NAME=VALUE.
    pub environment: Vec<String>,
    /// `CapabilityBoundingSet=`; every capability if there is none.
    pub bounding: Option<Vec<String>>,
    /// `AmbientCapabilities=`.
    pub ambient: Vec<String>,
    /// `NoNewPrivileges=`.
    pub no_new_privileges: bool,
    /// `UMask=`.
    pub umask: u32,
    /// `Limit...=`, soft and hard alike.
    pub limits: Vec<(Resource, u64)>,
    /// `PrivateNetwork=`.
    pub private_network: bool,
}

/// A service.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Service {
    /// Its unit, such as `bartizan.service`.
    pub unit: String,
    /// How it is started.
    pub execution: Execution,
    /// `Sockets=`.
    pub sockets: Vec<String>,
    /// `FileDescriptorStoreMax=`.
    pub stored: usize,
    /// `WatchdogSec=`.
    pub watchdog: Option<Duration>,
    /// `Restart=`.
    pub restart: Restart,
    /// `RestartSec=`.
    pub restart_delay: Duration,
    /// `RestartPreventExitStatus=`.
    pub final_codes: Vec<i32>,
    /// `TimeoutStartSec=`.
    pub start_limit: Duration,
    /// `TimeoutStopSec=`.
    pub stop_limit: Duration,
}

/// How a socket is listened on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SocketKind {
    /// `ListenStream=`.
    Stream,
    /// `ListenSequentialPacket=`.
    SequentialPacket,
}

/// A socket unit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Socket {
    /// Its unit.
    pub unit: String,
    /// How and where it listens.
    pub listen: (SocketKind, String),
    /// `FileDescriptorName=`; the unit's name if there is none.
    pub name: String,
    /// `SocketUser=`.
    pub user: String,
    /// `SocketGroup=`.
    pub group: String,
    /// `SocketMode=`.
    pub mode: u32,
    /// `Backlog=`.
    pub backlog: i32,
}

impl Service {
    /// Reads a service with its drop-ins.
    ///
    /// # Errors
    /// If it asks for what is not known here.
    pub fn read(folder: &Path, unit: &str) -> Result<Self, UnitError> {
        let mut service = Self {
            unit: unit.to_owned(),
            restart_delay: Duration::from_millis(100),
            start_limit: Duration::from_secs(90),
            stop_limit: Duration::from_secs(90),
            ..Self::default()
        };
        service.execution.umask = 0o022;
        let mut notifies = false;
        for assignment in read(folder, unit)? {
            match assignment.section.as_str() {
                "Unit" => check_unit(&assignment)?,
                "Service" if assignment.key == "Type" => notifies = assignment.value == "notify",
                "Service" => service.set(&assignment)?,
                _ => return Err(assignment.refused()),
            }
        }
        let absent = |key| UnitError::Absent {
            unit: unit.to_owned(),
            key,
        };
        // Without a user it would run as root, without a notification nobody would know that it runs.
        if service.execution.command.is_empty() {
            return Err(absent("ExecStart"));
        }
        if service.execution.user.is_empty() {
            return Err(absent("User"));
        }
        if !notifies {
            return Err(absent("Type=notify"));
        }
        Ok(service)
    }

    fn set(&mut self, assignment: &Assignment) -> Result<(), UnitError> {
        let value = assignment.value.as_str();
        let refused = || assignment.refused();
        let execution = &mut self.execution;
        match assignment.key.as_str() {
            "ExecStart" => execution.command = words(value),
            "User" => value.clone_into(&mut execution.user),
            "Group" => execution.group = Some(value.to_owned()),
            "SupplementaryGroups" => append(&mut execution.supplementary, value),
            "Environment" => append(&mut execution.environment, value),
            "CapabilityBoundingSet" if !value.starts_with('~') => {
                append(execution.bounding.get_or_insert_default(), value);
            }
            "AmbientCapabilities" if !value.starts_with('~') => {
                append(&mut execution.ambient, value);
            }
            "NoNewPrivileges" => {
                execution.no_new_privileges = boolean(value).ok_or_else(refused)?;
            }
            "PrivateNetwork" => execution.private_network = boolean(value).ok_or_else(refused)?,
            "UMask" => execution.umask = u32::from_str_radix(value, 8).map_err(|_| refused())?,
            "LimitCORE" => execution
                .limits
                .push((Resource::Core, size(value).ok_or_else(refused)?)),
            "LimitMEMLOCK" => execution
                .limits
                .push((Resource::Memlock, size(value).ok_or_else(refused)?)),
            "LimitNOFILE" => execution
                .limits
                .push((Resource::Nofile, size(value).ok_or_else(refused)?)),
            // Only the main process is ever listened to.
            "NotifyAccess" if value == "main" => {}
            "Sockets" => append(&mut self.sockets, value),
            "FileDescriptorStoreMax" => self.stored = value.parse().map_err(|_| refused())?,
            "WatchdogSec" => self.watchdog = Some(time(value).ok_or_else(refused)?),
            "Restart" => {
                self.restart = match value {
                    "no" => Restart::No,
                    "on-failure" => Restart::OnFailure,
                    "always" => Restart::Always,
                    _ => return Err(refused()),
                }
            }
            "RestartSec" => self.restart_delay = time(value).ok_or_else(refused)?,
            "RestartPreventExitStatus" => {
                let codes: Result<Vec<i32>, _> = value.split_whitespace().map(str::parse).collect();
                self.final_codes = codes.map_err(|_| refused())?;
            }
            "TimeoutStartSec" => self.start_limit = time(value).ok_or_else(refused)?,
            "TimeoutStopSec" => self.stop_limit = time(value).ok_or_else(refused)?,
            key if NOT_EMULATED.iter().any(|(other, _)| *other == key) => {}
            _ => return Err(refused()),
        }
        Ok(())
    }
}

impl Socket {
    /// Reads a socket unit.
    ///
    /// # Errors
    /// If it asks for what is not known here.
    pub fn read(folder: &Path, unit: &str) -> Result<Self, UnitError> {
        let mut listen = None;
        let mut socket = Self {
            unit: unit.to_owned(),
            listen: (SocketKind::Stream, String::new()),
            name: unit.to_owned(),
            user: "root".to_owned(),
            group: "root".to_owned(),
            mode: 0o666,
            backlog: 4096,
        };
        for assignment in read(folder, unit)? {
            let value = assignment.value.clone();
            let refused = || assignment.refused();
            let path = value.starts_with('/').then_some(value.clone());
            match (assignment.section.as_str(), assignment.key.as_str()) {
                ("Unit", _) => check_unit(&assignment)?,
                ("Socket", "ListenStream") => {
                    listen = Some((SocketKind::Stream, path.ok_or_else(refused)?));
                }
                ("Socket", "ListenSequentialPacket") => {
                    listen = Some((SocketKind::SequentialPacket, path.ok_or_else(refused)?));
                }
                ("Socket", "FileDescriptorName") => socket.name = value,
                ("Socket", "SocketUser") => socket.user = value,
                ("Socket", "SocketGroup") => socket.group = value,
                ("Socket", "SocketMode") => {
                    socket.mode = u32::from_str_radix(&value, 8).map_err(|_| refused())?;
                }
                ("Socket", "Backlog") => socket.backlog = value.parse().map_err(|_| refused())?,
                // The folder is made so, by whoever runs the units.
                ("Socket", "DirectoryMode") if value == "0755" => {}
                // It names the socket by Sockets= as well.
                ("Socket", "Service") => {}
                _ => return Err(refused()),
            }
        }
        socket.listen = listen.ok_or(UnitError::Absent {
            unit: unit.to_owned(),
            key: "ListenStream",
        })?;
        Ok(socket)
    }
}

/// Of `[Unit]` only what changes nothing here is taken: every socket listens before the first service starts, all
/// services start at once, and each is started again for itself.
fn check_unit(assignment: &Assignment) -> Result<(), UnitError> {
    let value = assignment.value.as_str();
    let sockets = || {
        value
            .split_whitespace()
            .all(|unit| unit.ends_with(".socket"))
    };
    match assignment.key.as_str() {
        "Description" | "Documentation" => Ok(()),
        "PartOf" if value.ends_with(".target") => Ok(()),
        "Before" | "Wants" if value == "network-pre.target" => Ok(()),
        "Requires" | "After" if sockets() => Ok(()),
        "StartLimitIntervalSec" if value == "0" => Ok(()),
        _ => Err(assignment.refused()),
    }
}

fn words(value: &str) -> Vec<String> {
    value.split_whitespace().map(str::to_owned).collect()
}

/// An empty assignment resets the list.
fn append(list: &mut Vec<String>, value: &str) {
    if value.is_empty() {
        list.clear();
    }
    list.extend(words(value));
}

fn boolean(value: &str) -> Option<bool> {
    match value {
        "yes" | "true" | "1" | "on" => Some(true),
        "no" | "false" | "0" | "off" => Some(false),
        _ => None,
    }
}

/// Bytes, or a plain number.
fn size(value: &str) -> Option<u64> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &value[digits.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// Seconds, or a number with one unit.
fn time(value: &str) -> Option<Duration> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number = digits.parse().ok()?;
    match &value[digits.len()..] {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "min" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testbed::boot::scratch_folder;

    fn service(text: &str) -> Result<Service, UnitError> {
        let folder = scratch_folder();
        fs::write(folder.join("x.service"), text).unwrap();
        let service = Service::read(&folder, "x.service");
        fs::remove_dir_all(folder).unwrap();
        service
    }

    const LEAST: &str = "[Service]\nType=notify\nExecStart=/usr/bin/x y\nUser=u\n";

    #[test]
    fn every_unit_that_ships_is_understood() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../appliance/units");
        let services = super::super::file::names(&folder, ".service").unwrap();
        assert!(services.len() >= 7, "{services:?}");
        for unit in services {
            let service = Service::read(&folder, &unit).unwrap();
            assert!(service.execution.no_new_privileges, "{unit}");
            assert!(service.watchdog.is_some(), "{unit}");
            assert_eq!(service.restart, Restart::Always, "{unit}");
            let capabilities: &[String] = if unit == "bartizan-xfrm.service" {
                &["CAP_NET_ADMIN".to_owned()]
            } else {
                &[]
            };
            assert_eq!(
                service.execution.bounding.as_deref(),
                Some(capabilities),
                "{unit}"
            );
            assert_eq!(service.execution.ambient, capabilities, "{unit}");
        }
        for unit in super::super::file::names(&folder, ".socket").unwrap() {
            Socket::read(&folder, &unit).unwrap();
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for line in [
            "ExecStartPre=/bin/true",
            "WatchdogSec=soon",
            "Restart=sometimes",
            "CapabilityBoundingSet=~CAP_SYS_ADMIN",
            "NotifyAccess=all",
            "StandardInput=socket",
            "LimitMEMLOCK=8Q",
        ] {
            assert!(service(&format!("{LEAST}{line}\n")).is_err(), "{line}");
        }
        assert!(service(&format!("{LEAST}[Unit]\nBindsTo=y.service\n")).is_err());
    }

    #[test]
    fn a_service_without_user_or_notification_is_refused() {
        assert!(service(LEAST).is_ok());
        assert!(service(&LEAST.replace("User=u\n", "")).is_err());
        assert!(service(&LEAST.replace("Type=notify\n", "")).is_err());
    }

    #[test]
    fn values_have_their_units() {
        let read = service(&format!(
            "{LEAST}WatchdogSec=10\nRestartSec=200ms\nLimitMEMLOCK=8M\nUMask=0777\n"
        ))
        .unwrap();
        assert_eq!(read.watchdog, Some(Duration::from_secs(10)));
        assert_eq!(read.restart_delay, Duration::from_millis(200));
        assert_eq!(read.execution.limits, [(Resource::Memlock, 8 << 20)]);
        assert_eq!(read.execution.umask, 0o777);
        assert_eq!(read.execution.command, ["/usr/bin/x", "y"]);
    }
}
