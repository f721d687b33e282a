//! What a unit file asks for, as values.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    UnitError,
    file::{Assignment, read},
    value::{append, boolean, check_unit, size, time, words},
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
        "a system call that SystemCallFilter does not let through",
    ),
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
    ("ReadWritePaths", "as ProtectSystem"),
    ("RemoveIPC", "as PrivateIPC"),
    ("RestrictNamespaces", "as LockPersonality"),
    ("RestrictRealtime", "as LockPersonality"),
    ("RestrictSUIDSGID", "as LockPersonality"),
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
    /// `StateDirectory=`, one below `/var/lib`.
    pub state: Option<String>,
    /// `SystemCallFilter=`, names and groups; every call if there is none.
    pub calls: Option<Vec<String>>,
    /// `RestrictAddressFamilies=`; every family if there is none.
    pub families: Option<Vec<String>>,
    /// `MemoryDenyWriteExecute=`.
    pub no_writable_code: bool,
}

/// A service.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Service {
    /// Its unit, such as `bartizan.service`.
    pub unit: String,
    /// How it is started.
    pub execution: Execution,
    /// `ConditionPathExists=`: without it there is nothing to start.
    pub wanted: Option<PathBuf>,
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
                "Unit" if assignment.key == "ConditionPathExists" => {
                    // With '!' or '|' before it, it says another thing.
                    if !assignment.value.starts_with('/') {
                        return Err(assignment.refused());
                    }
                    service.wanted = Some(PathBuf::from(&assignment.value));
                }
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
            "StateDirectory" if !value.is_empty() && !value.contains(['/', ' ']) => {
                execution.state = Some(value.to_owned());
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
            "SystemCallFilter" if !value.starts_with('~') => {
                append(execution.calls.get_or_insert_default(), value);
            }
            // What the filter does not let through gets this error, and foreign calls are refused anyway.
            "SystemCallErrorNumber" if value == "EPERM" => {}
            "SystemCallArchitectures" if value == "native" => {}
            "RestrictAddressFamilies" if !value.starts_with('~') => {
                append(execution.families.get_or_insert_default(), value);
            }
            "MemoryDenyWriteExecute" => {
                execution.no_writable_code = boolean(value).ok_or_else(refused)?;
            }
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
            super::super::socket::Socket::read(&folder, &unit).unwrap();
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
            "StateDirectory=a b",
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
