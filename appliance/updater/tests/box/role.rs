//! The role's loop between a supervisor that the test plays and a disk in a file.

use std::fs;
use std::os::fd::AsFd as _;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use bartizan_model::config::RoleConfig;
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{RoleToSupervisor, SupervisorToRole};
use bartizan_model::report::{VersionReport, VersionStanding, VersionsReport};
use bartizan_model::time::{BootTime, KnownTime};
use bartizan_process::{
    Channel, Ends, Exit, Fault, Notifier, Started, SupervisorChannel, Watchdog, socket_pair,
};
use bartizan_slots::trial::TRIAL;
use bartizan_updater::{DiskError, Prepared, work_by};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::faulty::Faulty;
use crate::fixture::{Place, release};

const PATIENCE: Duration = Duration::from_secs(30);

struct Played {
    supervisor: Channel<RoleToSupervisor, SupervisorToRole>,
    role: JoinHandle<Result<(), Fault>>,
}

impl Played {
    /// Runs the role for version 2 on what the disk in a place holds.
    fn start(disk: Faulty, uptime: Duration) -> Self {
        let (near, far) = socket_pair().unwrap();
        let role = spawn(move || {
            let notifier = Notifier::from_env().unwrap();
            let started = Started {
                prepared: Prepared {
                    disk,
                    version: release(2).version(),
                },
                config: RoleConfig::Updater,
                passed: None,
                ends: Ends::default(),
                supervisor: SupervisorChannel::new(far).unwrap(),
                watchdog: Watchdog::from_env(notifier),
                time: KnownTime::default(),
            };
            work_by(started, || BootTime(uptime))
        });
        Self {
            supervisor: Channel::new(near).unwrap(),
            role,
        }
    }

    fn enter(&mut self, state: Lifecycle) {
        let word = SupervisorToRole::Lifecycle(state);
        self.supervisor.send(&word).unwrap();
    }

    fn hear(&mut self) -> RoleToSupervisor {
        loop {
            if let Some(received) = self.supervisor.recv().unwrap() {
                return received.message;
            }
            let limit = Timespec::try_from(PATIENCE).unwrap();
            let mut ends = [PollFd::from_borrowed_fd(
                self.supervisor.as_fd(),
                PollFlags::IN,
            )];
            assert_eq!(poll(&mut ends, Some(&limit)), Ok(1), "it says nothing");
        }
    }

    /// The supervisor goes.
    fn end(self) -> Result<(), Fault> {
        drop(self.supervisor);
        self.role.join().unwrap()
    }
}

/// A disk on which the running version 2 has this entry, and version 1 that one.
fn disk(place: &Place, running: &str, old: &str) -> Faulty {
    let disk = place.disk(&release(2));
    let entry = |name: &str| place.entries().join(name);
    fs::rename(entry("bartizan_2.efi"), entry(running)).unwrap();
    fs::write(entry(old), b"old").unwrap();
    Faulty::new(disk)
}

fn versions(running: VersionStanding, old: VersionStanding) -> RoleToSupervisor {
    let version = |version: &str, standing| VersionReport {
        version: version.to_owned(),
        standing,
    };
    RoleToSupervisor::Versions(Box::new(VersionsReport {
        running: version("2", running),
        others: vec![version("1", old)],
    }))
}

const EARLY: Duration = Duration::from_mins(1);

#[test]
fn a_version_is_blessed_by_the_role_when_it_is_operational_and_not_before() {
    use VersionStanding::{Blessed, OnTrial};
    let place = Place::new("role-blesses");
    let disk = disk(&place, "bartizan_2+2-1.efi", "bartizan_1.efi");
    let mut role = Played::start(disk, EARLY);
    assert_eq!(role.hear(), versions(OnTrial { left: 2 }, Blessed));
    for state in [Lifecycle::Attesting, Lifecycle::Attested] {
        role.enter(state);
    }
    let on_trial = place.entries().join("bartizan_2+2-1.efi");
    assert!(on_trial.exists());
    role.enter(Lifecycle::Operational);
    assert_eq!(role.hear(), versions(Blessed, Blessed));
    assert!(place.entries().join("bartizan_2.efi").exists());
    assert!(!on_trial.exists());
    assert_eq!(role.end().unwrap_err().exit(), Exit::Unavailable);
}

#[test]
fn a_version_that_is_overdue_asks_for_a_restart_and_what_comes_later_does_not_bless_it() {
    use VersionStanding::{Blessed, OnTrial};
    let place = Place::new("role-overdue");
    let disk = disk(&place, "bartizan_2+2-1.efi", "bartizan_1.efi");
    let mut role = Played::start(disk, TRIAL);
    assert_eq!(role.hear(), versions(OnTrial { left: 2 }, Blessed));
    assert_eq!(role.hear(), RoleToSupervisor::Overdue);
    role.enter(Lifecycle::Operational);
    assert_eq!(role.end().unwrap_err().exit(), Exit::Unavailable);
    assert!(place.entries().join("bartizan_2+2-1.efi").exists());
}

#[test]
fn where_there_is_nothing_to_go_back_to_the_role_asks_for_no_restart() {
    use VersionStanding::{Blessed, OnTrial};
    let place = Place::new("role-alone");
    let disk = disk(&place, "bartizan_2+2-1.efi", "bartizan_1+0-3.efi");
    let mut role = Played::start(disk, TRIAL);
    let failed = OnTrial { left: 0 };
    assert_eq!(role.hear(), versions(OnTrial { left: 2 }, failed));
    role.enter(Lifecycle::Operational);
    // The next word is the blessing, and none was before it.
    assert_eq!(role.hear(), versions(Blessed, failed));
}

#[test]
fn a_blessing_that_the_disk_does_not_take_is_counted_and_the_version_stays_on_trial() {
    use VersionStanding::{Blessed, OnTrial};
    let place = Place::new("role-refused");
    let mut disk = disk(&place, "bartizan_2+2-1.efi", "bartizan_1.efi");
    disk.fault = Some((0, DiskError::Faulty));
    let mut role = Played::start(disk, EARLY);
    assert_eq!(role.hear(), versions(OnTrial { left: 2 }, Blessed));
    role.enter(Lifecycle::Operational);
    let counted = RoleToSupervisor::Counted {
        name: "blessings-refused".to_owned(),
        total: 1,
    };
    assert_eq!(role.hear(), counted);
    assert!(place.entries().join("bartizan_2+2-1.efi").exists());
}
