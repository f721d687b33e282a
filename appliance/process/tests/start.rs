//! The start of a role, against a supervisor that this test plays, and what is left to it then.
#![cfg(test)]
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{
    Achieved, Edge, Memory, RoleConfig, RoleToSupervisor, SupervisorToRole,
};
use bartizan_process::{Channel, ChannelError, Exit, socket_pair};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen,
    send, socket_with,
};

const ROLES: [&str; 7] = ["engine", "xfrm", "control", "peer", "qkd", "tpm", "updater"];
const CAP_NET_ADMIN: u64 = 1 << 12;
const SIGSYS: i32 = 31;
const ENOENT: u64 = 2;
const ECONNREFUSED: u64 = 111;
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn every_role_reports_what_the_kernel_says_of_it() {
    for role in ROLES {
        let mut probe = Probe::start(role, "idle");
        let achieved = probe.locked_down();
        let memory = match role {
            "engine" | "xfrm" | "qkd" | "tpm" => Memory::Secret,
            _ => Memory::NoSecrets,
        };
        assert_eq!(achieved.memory, memory, "{role}");
        assert_eq!(
            achieved.landlock, 7,
            "{role}: this kernel has an older Landlock"
        );
        let Achieved {
            seccomp,
            no_new_privs,
            undumpable,
            capabilities,
            ..
        } = achieved;
        assert!(
            seccomp && no_new_privs && undumpable && capabilities,
            "{role}: {achieved:?}"
        );

        let status = probe.status();
        let kept = if role == "xfrm" { CAP_NET_ADMIN } else { 0 };
        for (set, expected) in [
            ("CapPrm", kept),
            ("CapEff", kept),
            ("CapInh", 0),
            ("CapAmb", 0),
        ] {
            assert_eq!(
                u64::from_str_radix(&status[set], 16),
                Ok(expected),
                "{role} {set}"
            );
        }
        assert_eq!(status["Seccomp"], "2");
        assert_eq!(status["NoNewPrivs"], "1");
        assert_eq!(probe.core_limit(), ("0".to_owned(), "0".to_owned()));
    }
}

#[test]
fn no_role_opens_a_file() {
    for role in ROLES {
        for attempt in ["open", "write", "file-probe"] {
            assert_eq!(Probe::answer(role, attempt), Ok(ENOENT), "{role} {attempt}");
        }
    }
}

#[test]
fn a_role_that_starts_a_program_is_ended() {
    for role in ROLES {
        assert_eq!(Probe::answer(role, "program"), Err(SIGSYS), "{role}");
        assert_eq!(Probe::answer(role, "signal"), Err(SIGSYS), "{role}");
    }
}

#[test]
fn tcp_is_for_the_roles_that_have_a_network() {
    for role in ["engine", "xfrm", "tpm"] {
        for attempt in ["dial", "listen", "udp"] {
            assert_eq!(
                Probe::answer(role, attempt),
                Err(SIGSYS),
                "{role} {attempt}"
            );
        }
    }
    for role in ["control", "qkd", "peer"] {
        assert_eq!(Probe::answer(role, "dial"), Ok(ECONNREFUSED), "{role}");
        assert_eq!(Probe::answer(role, "udp"), Err(SIGSYS), "{role}");
        assert_eq!(Probe::answer(role, "thread"), Ok(0), "{role}");
    }
    assert_eq!(Probe::answer("peer", "listen"), Ok(0));
    assert_eq!(Probe::answer("control", "listen"), Err(SIGSYS));
    assert_eq!(Probe::answer("qkd", "listen"), Err(SIGSYS));
}

#[test]
fn the_roles_with_secrets_lock_more_memory_after_the_lock_down() {
    for role in ["engine", "xfrm", "qkd"] {
        assert_eq!(Probe::answer(role, "arena"), Ok(0), "{role}");
    }
    assert_eq!(Probe::answer("peer", "arena"), Err(SIGSYS));
}

#[test]
fn a_role_takes_the_ends_it_was_granted_once() {
    let mut probe = Probe::start("engine", "ends");
    probe.locked_down();
    for edge in [Edge::ControlEngine, Edge::EngineXfrm] {
        let (_near, far) = socket_pair().unwrap();
        probe
            .supervisor
            .send_fd(&SupervisorToRole::End(edge), far)
            .unwrap();
    }
    probe
        .supervisor
        .send(&SupervisorToRole::Start(RoleConfig::Tpm))
        .unwrap();
    assert_eq!(probe.outcome(), Ok(0));
}

#[test]
fn a_role_that_is_not_granted_its_ends_ends() {
    let mut probe = Probe::start("engine", "ends");
    probe.locked_down();
    probe
        .supervisor
        .send(&SupervisorToRole::Start(RoleConfig::Tpm))
        .unwrap();
    assert_eq!(probe.ended().code(), Some(i32::from(Exit::Protocol.code())));
}

#[test]
fn a_supervisor_that_breaks_the_order_ends_the_role() {
    let mut probe = Probe::start("engine", "idle");
    probe.locked_down();
    probe
        .supervisor
        .send(&SupervisorToRole::Lifecycle(Lifecycle::Attesting))
        .unwrap();
    assert_eq!(probe.ended().code(), Some(i32::from(Exit::Protocol.code())));

    let mut probe = Probe::start("engine", "idle");
    probe.locked_down();
    for _ in 0..2 {
        let (_near, far) = socket_pair().unwrap();
        let _late = probe
            .supervisor
            .send_fd(&SupervisorToRole::End(Edge::EngineXfrm), far);
    }
    assert_eq!(probe.ended().code(), Some(i32::from(Exit::Protocol.code())));

    let mut probe = Probe::start("engine", "idle");
    probe.locked_down();
    send(&probe.supervisor, &[0x7f; 9], SendFlags::NOSIGNAL).unwrap();
    assert_eq!(probe.ended().code(), Some(i32::from(Exit::Protocol.code())));
}

#[test]
fn a_role_ends_with_its_supervisor() {
    for begun in [false, true] {
        let mut probe = Probe::start("qkd", "idle");
        probe.locked_down();
        if begun {
            probe
                .supervisor
                .send(&SupervisorToRole::Start(RoleConfig::Tpm))
                .unwrap();
            assert_eq!(probe.outcome(), Ok(0));
        }
        probe.hang_up();
        assert_eq!(
            probe.ended().code(),
            Some(i32::from(Exit::Unavailable.code()))
        );
    }
}

#[test]
fn a_role_that_waits_for_its_ends_is_ready_and_alive() {
    let mut probe = Probe::start("peer", "idle");
    probe.locked_down();
    assert!(probe.notice().starts_with("READY=1\n"));
    for _ in 0..3 {
        assert_eq!(probe.notice(), "WATCHDOG=1");
    }
}

#[test]
fn a_role_does_not_run_as_root() {
    let dir = Dir::new();
    let mut child = command(&dir, "0", "engine", "idle").spawn().unwrap();
    assert_eq!(
        child.wait().unwrap().code(),
        Some(i32::from(Exit::NoPerm.code()))
    );
}

/// A probe that is running, and the supervisor's end of its edge.
struct Probe {
    child: Child,
    supervisor: Channel<RoleToSupervisor, SupervisorToRole>,
    manager: UnixDatagram,
    _dir: Dir,
}

impl Probe {
    fn start(role: &str, attempt: &str) -> Self {
        let dir = Dir::new();
        let switchboard = listener(&dir);
        let manager = UnixDatagram::bind(dir.0.join("notify")).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut child = command(&dir, "61001", role, attempt).spawn().unwrap();
        let came = readable(&switchboard);
        assert!(came, "the role did not come: {:?}", child.try_wait());
        let taken = accept_with(&switchboard, SocketFlags::CLOEXEC).unwrap();
        Self {
            child,
            supervisor: Channel::new(taken).unwrap(),
            manager,
            _dir: dir,
        }
    }

    /// The answer to an attempt, or the signal that ended the probe.
    fn answer(role: &str, attempt: &str) -> Result<u64, i32> {
        let mut probe = Self::start(role, attempt);
        probe.locked_down();
        probe
            .supervisor
            .send(&SupervisorToRole::Start(RoleConfig::Tpm))
            .unwrap();
        probe.outcome()
    }

    fn outcome(&mut self) -> Result<u64, i32> {
        match self.next() {
            Ok(RoleToSupervisor::Counted { total, .. }) => Ok(total),
            Ok(other) => panic!("{other:?}"),
            Err(ChannelError::Closed) => Err(self.ended().signal().expect("a signal")),
            Err(error) => panic!("{error}"),
        }
    }

    fn locked_down(&mut self) -> Achieved {
        match self.next() {
            Ok(RoleToSupervisor::LockedDown(achieved)) => achieved,
            other => panic!("{other:?}"),
        }
    }

    fn next(&mut self) -> Result<RoleToSupervisor, ChannelError> {
        loop {
            if let Some(received) = self.supervisor.recv()? {
                return Ok(received.message);
            }
            assert!(readable(&self.supervisor), "the role says nothing");
        }
    }

    fn notice(&self) -> String {
        let mut text = [0; 256];
        let len = self.manager.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..len]).into_owned()
    }

    /// Closes the supervisor's end.
    fn hang_up(&mut self) {
        self.supervisor = Channel::pair().unwrap().0;
    }

    fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    fn status(&self) -> BTreeMap<String, String> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once(":\t"));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn core_limit(&self) -> (String, String) {
        let text = std::fs::read_to_string(format!("/proc/{}/limits", self.child.id())).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Max core file size"))
            .unwrap();
        let mut limits = line.split_whitespace().map(str::to_owned);
        (limits.next().unwrap(), limits.next().unwrap())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A directory that is the probe's `/run/bartizan`.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bartizan-start-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The probe with a `/run` of its own and every capability over it, as this user.
#[expect(clippy::disallowed_methods, reason = "a test of a process")]
fn command(dir: &Dir, uid: &str, role: &str, attempt: &str) -> Command {
    const SCRIPT: &str = "mount -t tmpfs -o uid=$(id -u),gid=$(id -g) tmpfs /run && mkdir /run/bartizan && \
        mount --bind \"$0\" /run/bartizan && exec \"$@\"";
    let tests = std::env::current_exe().unwrap();
    let probe = tests.ancestors().nth(2).unwrap().join("examples/probe");
    let mut command = Command::new("unshare");
    command
        .args([
            "--user",
            "--map-user",
            uid,
            "--map-group",
            uid,
            "--mount",
            "--keep-caps",
        ])
        .args(["sh", "-c", SCRIPT])
        .arg(&dir.0)
        .arg(probe)
        .args([role, attempt])
        .env("NOTIFY_SOCKET", dir.0.join("notify"))
        .env("WATCHDOG_USEC", "60000")
        .stdin(Stdio::null());
    command
}

fn listener(dir: &Dir) -> OwnedFd {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    bind(
        &socket,
        &SocketAddrUnix::new(dir.0.join("switchboard.sock")).unwrap(),
    )
    .unwrap();
    listen(&socket, 8).unwrap();
    socket
}

fn readable(fd: &impl std::os::fd::AsFd) -> bool {
    let patience = Timespec::try_from(PATIENCE).unwrap();
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&patience)).unwrap() > 0
}
