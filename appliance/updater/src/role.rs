//! The role: judges the first boots of the version that runs.

use core::time::Duration;
use std::os::fd::AsFd;

use bartizan_manifest::Version;
use bartizan_model::config::RoleConfig;
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{RoleToSupervisor, SupervisorToRole};
use bartizan_model::time::BootTime;
use bartizan_process::journal::{Level, log};
use bartizan_process::{Counters, Exit, Fault, Started, SupervisorChannel, boot_time};
use bartizan_slots::Disk;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::report::report;
use crate::trial::{Outcome, Trial};

/// Between two attempts to write a blessing that the disk does not take.
const AGAIN: Duration = Duration::from_secs(30);

/// What the role has before it is locked down.
#[derive(Debug)]
pub struct Prepared<D> {
    /// The box's own disk.
    pub disk: D,
    /// The version that runs.
    pub version: Version,
}

/// Judges until the supervisor is gone.
///
/// # Errors
///
/// [`Fault`]: why the process ends.
pub fn work<D>(started: Started<Prepared<D>>) -> Result<(), Fault>
where
    D: Disk,
    D::Error: core::error::Error + Send + Sync + 'static,
{
    work_by(started, boot_time)
}

/// The same by another clock: the time since boot, as `clock` shows it.
///
/// # Errors
///
/// As [`work`].
pub fn work_by<D>(started: Started<Prepared<D>>, clock: impl Fn() -> BootTime) -> Result<(), Fault>
where
    D: Disk,
    D::Error: core::error::Error + Send + Sync + 'static,
{
    if started.config != RoleConfig::Updater {
        return Err(Fault::new(Exit::Protocol, "started as another role"));
    }
    let Prepared { mut disk, version } = started.prepared;
    let (mut supervisor, mut watchdog) = (started.supervisor, started.watchdog);
    let trial = Trial::new(&mut disk, version.clone()).map_err(unreadable)?;
    let mut judge = Judge {
        disk,
        version,
        trial,
        works: false,
        next: BootTime::default(),
        counters: Counters::default(),
    };
    judge.tell(&mut supervisor)?;
    loop {
        let now = clock();
        watchdog.feed(now);
        supervisor.flush()?;
        while let Some(received) = supervisor.recv()? {
            judge.hear(&received.message)?;
        }
        judge.round(now, &mut supervisor)?;
        judge.counters.report(now, &mut supervisor)?;
        let longest = judge
            .due()
            .map_or(watchdog.interval(), |due| due.since(now))
            .min(watchdog.interval());
        rest(&supervisor, longest)?;
    }
}

struct Judge<D> {
    disk: D,
    version: Version,
    trial: Trial,
    /// Whether the version does now what it is for.
    works: bool,
    /// When a blessing may be tried again.
    next: BootTime,
    counters: Counters,
}

impl<D> Judge<D>
where
    D: Disk,
    D::Error: core::error::Error + Send + Sync + 'static,
{
    fn hear(&mut self, word: &SupervisorToRole) -> Result<(), Fault> {
        let SupervisorToRole::Lifecycle(state) = word else {
            return Err(Fault::new(Exit::Protocol, "a word out of turn"));
        };
        self.works = *state == Lifecycle::Operational;
        Ok(())
    }

    fn round(&mut self, now: BootTime, supervisor: &mut SupervisorChannel) -> Result<(), Fault> {
        if self.trial.at(now) == Some(Outcome::Restart) {
            supervisor.send(&RoleToSupervisor::Overdue)?;
        }
        if !self.may_bless() || now < self.next {
            return Ok(());
        }
        self.next = now.after(AGAIN);
        match self.trial.healthy(&mut self.disk) {
            Ok(Some(Outcome::RaiseFloor)) => {
                log(Level::Info, format_args!("this version has proven itself"));
                self.tell(supervisor)
            }
            Ok(_) => {
                self.counters.count("blessings-refused");
                Ok(())
            }
            Err(error) => {
                self.counters.count("blessings-refused");
                log(Level::Warn, format_args!("not blessed: {error}"));
                Ok(())
            }
        }
    }

    fn may_bless(&self) -> bool {
        self.works && self.trial.is_on_trial()
    }

    /// When there is something to do.
    fn due(&self) -> Option<BootTime> {
        let next = self.may_bless().then_some(self.next);
        [self.trial.deadline(), self.counters.deadline(), next]
            .into_iter()
            .flatten()
            .min()
    }

    fn tell(&mut self, supervisor: &mut SupervisorChannel) -> Result<(), Fault> {
        let report = report(&mut self.disk, &self.version).map_err(unreadable)?;
        supervisor.send(&RoleToSupervisor::Versions(Box::new(report)))?;
        Ok(())
    }
}

fn unreadable(error: impl core::error::Error + Send + Sync + 'static) -> Fault {
    Fault::because(Exit::IoErr, "cannot read the boot entries", error)
}

fn rest(supervisor: &SupervisorChannel, longest: Duration) -> Result<(), Fault> {
    let longest = Timespec::try_from(longest)
        .map_err(|_| Fault::new(Exit::Software, "the watchdog's interval is too long"))?;
    let mut events = PollFlags::IN;
    events.set(PollFlags::OUT, supervisor.wants_write());
    match poll(
        &mut [PollFd::from_borrowed_fd(supervisor.as_fd(), events)],
        Some(&longest),
    ) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(Fault::os("poll", errno)),
    }
}
