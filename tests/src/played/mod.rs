//! One role's real process, locked down as it ships, between neighbours that the test plays.
//!
//! The process runs in a user and mount namespace of its own, as no root, with a switchboard that
//! is the test's. What it says to its supervisor and its neighbours is read here, with a deadline.

mod tpm;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{Achieved, Edge, RoleConfig, RoleToSupervisor, SupervisorToRole};
use bartizan_model::time::KnownTime;
use bartizan_process::{Channel, ChannelError, Received, Vocabulary, socket_pair};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};
use rustix::process::Pid;

use crate::testbed::boot::scratch_folder;
use crate::testbed::guest::binaries;
use crate::testbed::process::{Running, readable};

pub use tpm::PlayedTpm;

/// Longer than anything takes on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Any user that is not root.
const UID: &str = "61001";

/// Gives the process a `/run` of its own, with the test's folder as `/run/bartizan`.
const SCRIPT: &str = "mount -t tmpfs -o uid=$(id -u),gid=$(id -g) tmpfs /run && mkdir /run/bartizan && \
    mount --bind \"$0\" /run/bartizan && exec \"$@\"";

/// A role that runs; dropping it kills it.
#[derive(Debug)]
pub struct Played {
    running: Running,
    supervisor: Channel<RoleToSupervisor, SupervisorToRole>,
    achieved: Achieved,
    counts: BTreeMap<String, u64>,
    _folder: Folder,
    _manager: UnixDatagram,
}

impl Played {
    /// Starts a role's binary and waits until it is locked down.
    ///
    /// # Panics
    /// If it does not come that far.
    pub fn start(binary: &str) -> Self {
        let folder = Folder(scratch_folder());
        let switchboard = switchboard(&folder.0);
        let manager = UnixDatagram::bind(folder.0.join("notify")).expect("bind a socket");
        let program = binaries().join(binary);
        assert!(
            program.exists(),
            "{} is missing: cargo build --workspace --bins",
            program.display()
        );
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-user", UID, "--map-group", UID])
            .args(["--mount", "--keep-caps", "sh", "-c", SCRIPT])
            .arg(&folder.0)
            .arg(program)
            .env("NOTIFY_SOCKET", folder.0.join("notify"))
            .stdin(Stdio::null());
        let running = Running::spawn(&mut command);
        assert!(
            readable(&switchboard, Instant::now() + PATIENCE),
            "{binary} did not come"
        );
        let end = accept_with(&switchboard, SocketFlags::CLOEXEC).expect("accept a role");
        let mut supervisor = Channel::new(end).expect("a channel");
        let achieved = match next(&mut supervisor, Instant::now() + PATIENCE) {
            Some(Ok(Received {
                message: RoleToSupervisor::LockedDown(achieved),
                ..
            })) => achieved,
            other => panic!("{binary} did not lock itself down: {other:?}"),
        };
        Self {
            running,
            supervisor,
            achieved,
            counts: BTreeMap::new(),
            _folder: folder,
            _manager: manager,
        }
    }

    /// How far it locked itself down.
    pub fn achieved(&self) -> Achieved {
        self.achieved
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.running.pid()
    }

    /// Grants it the end of an edge; the neighbour's end is the test's.
    ///
    /// # Panics
    /// If the kernel has no socket to give.
    pub fn grant<Rx: Vocabulary, Tx: Vocabulary>(&mut self, edge: Edge) -> Channel<Rx, Tx> {
        let (near, far) = socket_pair().expect("a socketpair");
        self.supervisor
            .send_fd(&SupervisorToRole::End(edge), far)
            .expect("grant an end");
        Channel::new(near).expect("a channel")
    }

    /// Hands it the end of an edge whose other end another role has.
    ///
    /// # Panics
    /// If it is gone.
    pub fn hand(&mut self, edge: Edge, end: OwnedFd) {
        self.supervisor
            .send_fd(&SupervisorToRole::End(edge), end)
            .expect("hand over an end");
    }

    /// Tells it what is known of the time; before it begins, or later.
    ///
    /// # Panics
    /// If it is gone.
    pub fn learn(&mut self, time: KnownTime) {
        self.supervisor
            .send(&SupervisorToRole::Time(time))
            .expect("tell the time");
    }

    /// Lets it begin.
    ///
    /// # Panics
    /// If it is gone.
    pub fn begin(&mut self, config: RoleConfig) {
        self.supervisor
            .send(&SupervisorToRole::Start(config))
            .expect("begin");
    }

    /// As [`Played::begin`], with a descriptor beside the order.
    ///
    /// # Panics
    /// If it is gone.
    pub fn begin_with(&mut self, config: RoleConfig, passed: OwnedFd) {
        self.supervisor
            .send_fd(&SupervisorToRole::Start(config), passed)
            .expect("begin");
    }

    /// Tells it the appliance's state.
    ///
    /// # Panics
    /// If it is gone.
    pub fn enter(&mut self, lifecycle: Lifecycle) {
        self.supervisor
            .send(&SupervisorToRole::Lifecycle(lifecycle))
            .expect("tell the lifecycle");
    }

    /// Tells it any other word.
    ///
    /// # Panics
    /// If it is gone.
    pub fn tell(&mut self, word: &SupervisorToRole) {
        self.supervisor.send(word).expect("tell a word");
    }

    /// The next word that it says to its supervisor, but for what it counts.
    ///
    /// # Panics
    /// If that takes too long, or the role ends.
    pub fn hear(&mut self) -> RoleToSupervisor {
        loop {
            let word = expect(&mut self.supervisor).message;
            let RoleToSupervisor::Counted { name, total } = word else {
                return word;
            };
            self.counts.insert(name, total);
        }
    }

    /// Waits for the copy of `running` that it gives its supervisor.
    ///
    /// # Panics
    /// If that takes too long, or the role ends.
    pub fn wait_running(&mut self) -> OwnedFd {
        self.running_until(Instant::now() + PATIENCE)
    }

    /// The copy of `running` that it has given its supervisor already.
    ///
    /// # Panics
    /// If it has not.
    pub fn running_by_now(&mut self) -> OwnedFd {
        self.running_until(Instant::now())
    }

    fn running_until(&mut self, deadline: Instant) -> OwnedFd {
        loop {
            match next(&mut self.supervisor, deadline) {
                Some(Ok(Received {
                    message: RoleToSupervisor::Running,
                    fd: Some(copy),
                    ..
                })) => return copy,
                Some(Ok(_)) => {}
                other => panic!("a copy of running: {other:?}"),
            }
        }
    }

    /// Waits until it has counted this at least so often.
    ///
    /// # Panics
    /// If that takes too long, or the role ends.
    pub fn wait_count(&mut self, name: &str, least: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.counts.get(name).copied().unwrap_or_default() < least {
            match next(&mut self.supervisor, deadline) {
                Some(Ok(received)) => {
                    if let RoleToSupervisor::Counted { name, total } = received.message {
                        self.counts.insert(name, total);
                    }
                }
                other => panic!("{least} times {name}: {other:?}, counted {:?}", self.counts),
            }
        }
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        let ended = self.running.child().try_wait().expect("look at a child");
        ended.is_none()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end.
    pub fn ended(&mut self) -> ExitStatus {
        self.running.wait(PATIENCE).expect("the role did not end")
    }
}

/// The next message, or the end of the channel; `None` once the deadline has passed.
pub fn next<Rx: Vocabulary, Tx: Vocabulary>(
    channel: &mut Channel<Rx, Tx>,
    deadline: Instant,
) -> Option<Result<Received<Rx>, ChannelError>> {
    loop {
        if let Err(error) = channel.flush() {
            return Some(Err(error));
        }
        match channel.recv() {
            Ok(Some(received)) => return Some(Ok(received)),
            Ok(None) => {}
            Err(error) => return Some(Err(error)),
        }
        let events = if channel.wants_write() {
            PollFlags::IN | PollFlags::OUT
        } else {
            PollFlags::IN
        };
        if !wait(channel.as_fd(), events, deadline) {
            return None;
        }
    }
}

/// Waits for one of these events; false once the deadline has passed.
fn wait(fd: BorrowedFd<'_>, events: PollFlags, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).expect("a deadline within reach");
    match poll(&mut [PollFd::from_borrowed_fd(fd, events)], Some(&left)) {
        Ok(0) => false,
        Ok(_) | Err(Errno::INTR) => true,
        Err(errno) => panic!("poll: {errno}"),
    }
}

/// Waits until everything is sent that waits to be.
///
/// # Panics
/// If the role does not take it in time.
pub fn flush<Rx: Vocabulary, Tx: Vocabulary>(channel: &mut Channel<Rx, Tx>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        channel.flush().expect("the role is gone");
        if !channel.wants_write() {
            return;
        }
        assert!(
            wait(channel.as_fd(), PollFlags::OUT, deadline),
            "the role takes nothing"
        );
    }
}

/// The next message.
///
/// # Panics
/// If none comes in time.
pub fn expect<Rx: Vocabulary + std::fmt::Debug, Tx: Vocabulary>(
    channel: &mut Channel<Rx, Tx>,
) -> Received<Rx> {
    match next(channel, Instant::now() + PATIENCE) {
        Some(Ok(received)) => received,
        other => panic!("no message: {other:?}"),
    }
}

#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn switchboard(folder: &Path) -> OwnedFd {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .expect("a socket");
    let address = SocketAddrUnix::new(folder.join("switchboard.sock")).expect("a short path");
    bind(&socket, &address).expect("bind the switchboard");
    listen(&socket, 8).expect("listen at the switchboard");
    socket
}
