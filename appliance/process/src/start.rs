//! The start of a role, in the one order there is.
//!
//! 1. The role's own first act, which may open what a locked-down process cannot (the TPM, netlink).
//! 2. Connect to the switchboard.
//! 3. Lock down, and report how far; READY.
//! 4. Wait for the ends and for `Start`; the supervisor gives them only where the lock-down is what
//!    the configuration requires and the lifecycle state grants them.
//! 5. The role's work.

use core::fmt;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use bartizan_model::message::{Edge, Role, RoleConfig, RoleToSupervisor, SupervisorToRole};
use bartizan_model::time::KnownTime;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::channel::Channel;
use crate::clock::boot_time;
use crate::fault::{Exit, Fault};
use crate::journal::{self, Level};
use crate::lockdown::{Folders, lock_down};
use crate::notify::{Notifier, Watchdog};
use crate::vocabulary::Vocabulary;

/// Where the supervisor takes the roles in.
pub const SWITCHBOARD: &str = "/run/bartizan/switchboard.sock";

/// A role's end of its edge with the supervisor.
pub type SupervisorChannel = Channel<SupervisorToRole, RoleToSupervisor>;

/// What a role has when its work begins. It is locked down and READY.
#[derive(Debug)]
pub struct Started<P> {
    /// What the role opened before the lock-down.
    pub prepared: P,
    /// The role's part of the configuration.
    pub config: RoleConfig,
    /// What was passed beside it: for control, the keyless copy of `running`.
    pub passed: Option<OwnedFd>,
    /// The ends granted so far.
    pub ends: Ends,
    /// The edge with the supervisor: later ends and the lifecycle come here. Its end is the role's.
    pub supervisor: SupervisorChannel,
    /// To be fed in every round of the loop.
    pub watchdog: Watchdog,
    /// What was known of the owner's time at the start.
    pub time: KnownTime,
}

/// Channel ends as they were handed over.
#[derive(Default)]
pub struct Ends(BTreeMap<Edge, OwnedFd>);

impl FromIterator<(Edge, OwnedFd)> for Ends {
    fn from_iter<I: IntoIterator<Item = (Edge, OwnedFd)>>(ends: I) -> Self {
        Self(ends.into_iter().collect())
    }
}

impl Ends {
    /// Takes the end of an edge.
    ///
    /// # Errors
    ///
    /// [`Fault`] with [`Exit::Protocol`] if it was not granted.
    pub fn take<Rx: Vocabulary, Tx: Vocabulary>(
        &mut self,
        edge: Edge,
    ) -> Result<Channel<Rx, Tx>, Fault> {
        let end = self.0.remove(&edge);
        let end = end.ok_or_else(|| Fault::new(Exit::Protocol, format!("no end of {edge:?}")))?;
        Ok(Channel::new(end)?)
    }
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Starts a role and does its work; what `main` of every role is.
///
/// `prepare` runs before anything else, with the rights of the unit file. `work` runs locked down,
/// with its ends in hand; it returns when the process is to end.
pub fn run<P>(
    role: Role,
    prepare: impl FnOnce() -> Result<P, Fault>,
    work: impl FnOnce(Started<P>) -> Result<(), Fault>,
) -> ExitCode {
    run_in(role, || Ok((prepare()?, Folders::default())), work)
}

/// As [`run`], for the role that changes files: it keeps the folders that `prepare` names, and
/// reaches them through descriptors that it has opened there.
pub fn run_in<P>(
    role: Role,
    prepare: impl FnOnce() -> Result<(P, Folders), Fault>,
    work: impl FnOnce(Started<P>) -> Result<(), Fault>,
) -> ExitCode {
    match start(role, prepare).and_then(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            journal::log(Level::Error, format_args!("{fault}"));
            fault.exit().into()
        }
    }
}

fn start<P>(
    role: Role,
    prepare: impl FnOnce() -> Result<(P, Folders), Fault>,
) -> Result<Started<P>, Fault> {
    if rustix::process::geteuid().is_root() {
        return Err(Fault::new(Exit::NoPerm, "a role does not run as root"));
    }
    let (prepared, folders) = prepare()?;
    let notifier = Notifier::from_env()
        .map_err(|error| Fault::because(Exit::OsErr, "cannot reach the service manager", error))?;
    let mut watchdog = Watchdog::from_env(notifier);
    let mut supervisor = SupervisorChannel::new(dial()?)?;

    let achieved = lock_down(role, &folders)?;
    supervisor.send(&RoleToSupervisor::LockedDown(achieved))?;
    let told = |errno| Fault::os("cannot notify the service manager", errno);
    watchdog
        .notifier()
        .ready("locked down, waiting for its ends")
        .map_err(told)?;

    let mut ends = Ends::default();
    let mut time = KnownTime::default();
    loop {
        watchdog.feed(boot_time());
        let Some(received) = supervisor.recv()? else {
            rest(&supervisor, &watchdog)?;
            continue;
        };
        match (received.message, received.fd) {
            (SupervisorToRole::End(edge), Some(end)) => {
                if ends.0.insert(edge, end).is_some() {
                    return Err(Fault::new(Exit::Protocol, "the same end was granted twice"));
                }
            }
            (SupervisorToRole::Time(known), _) => time = time.and(known),
            (SupervisorToRole::Start(config), passed) => {
                watchdog.notifier().status("at work");
                return Ok(Started {
                    prepared,
                    config,
                    passed,
                    ends,
                    supervisor,
                    watchdog,
                    time,
                });
            }
            (
                SupervisorToRole::Lifecycle(_)
                | SupervisorToRole::End(_)
                | SupervisorToRole::Ldevid(_)
                | SupervisorToRole::Farewell(_)
                | SupervisorToRole::Sources(_)
                | SupervisorToRole::KeepLdevid
                | SupervisorToRole::RaiseRollback(_)
                | SupervisorToRole::Network(_)
                | SupervisorToRole::CallAnew,
                _,
            ) => {
                return Err(Fault::new(
                    Exit::Protocol,
                    "the supervisor spoke before the start",
                ));
            }
        }
    }
}

fn dial() -> Result<OwnedFd, Fault> {
    let fault = |errno| Fault::os("cannot reach the switchboard", errno);
    let kind = (
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
    );
    let socket = socket_with(kind.0, kind.1, kind.2, None).map_err(fault)?;
    let address = SocketAddrUnix::new(SWITCHBOARD).map_err(fault)?;
    connect(&socket, &address).map_err(fault)?;
    Ok(socket)
}

/// Waits until the supervisor says something or the watchdog wants to be fed.
fn rest(supervisor: &SupervisorChannel, watchdog: &Watchdog) -> Result<(), Fault> {
    let events = if supervisor.wants_write() {
        PollFlags::IN | PollFlags::OUT
    } else {
        PollFlags::IN
    };
    let timeout = Timespec::try_from(watchdog.interval())
        .map_err(|_| Fault::new(Exit::Software, "the watchdog's interval is too long"))?;
    match poll(
        &mut [PollFd::from_borrowed_fd(supervisor.as_fd(), events)],
        Some(&timeout),
    ) {
        Ok(_ready) => Ok(()),
        Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(Fault::os("poll", errno)),
    }
}
