//! The supervisor as a process, with a service manager and roles that the test plays.

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bartizan::roles::{ROLES, SUPERVISOR_USER};
use bartizan::store::DOCUMENT;
use bartizan_model::identity::{LdevidFound, TpmFound};
use bartizan_model::message::{Role, RoleConfig, RoleToSupervisor, SupervisorToRole};
use bartizan_model::report::Snapshot;
use bartizan_process::{Channel, ChannelError, Received};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix,
    SocketFlags, SocketType, bind, connect, listen, recvmsg, socket_with,
};
use rustix::process::Uid;

use crate::locked::achieved;
use crate::owner::owned;

/// How long anything may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const SUPERVISOR_UID: u32 = 62000;

/// What a role plays the supervisor's neighbour with.
pub(crate) type RoleEnd = Channel<SupervisorToRole, RoleToSupervisor>;

/// A running supervisor.
pub(crate) struct Live {
    pub(crate) child: Child,
    pub(crate) dir: PathBuf,
    manager: UnixDatagram,
    found: LdevidFound,
}

/// What a supervisor is started with.
pub(crate) struct Setup {
    pub(crate) config: String,
    pub(crate) uid: u32,
    pub(crate) running: Option<OwnedFd>,
    pub(crate) sockets: bool,
    /// What the state folder holds.
    pub(crate) kept: Vec<u8>,
    /// What the TPM holds.
    pub(crate) found: LdevidFound,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: include_str!("../../appliance.toml").replace("/var/lib/bartizan", "state"),
            uid: SUPERVISOR_UID,
            running: None,
            sockets: true,
            kept: owned().encode().unwrap(),
            found: LdevidFound::Usable,
        }
    }
}

/// The uid that the test gives a role.
pub(crate) fn uid_of(role: Role) -> u32 {
    let place = ROLES.iter().position(|row| row.role == role).unwrap();
    SUPERVISOR_UID + 1 + u32::try_from(place).unwrap()
}

/// Whether this machine can play: only root can be six users.
pub(crate) fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    let skip = std::env::var_os("BARTIZAN_ALLOW_SKIP").is_some();
    assert!(root || skip, "only root can play the roles' users");
    root
}

impl Live {
    /// Starts a supervisor and waits until it is ready.
    pub(crate) fn ready() -> Self {
        let live = Self::start(Setup::default());
        live.is_ready();
        live
    }

    /// Waits until it is ready.
    pub(crate) fn is_ready(&self) {
        assert_eq!(self.notice().0, "READY=1\nSTATUS=Factory");
    }

    pub(crate) fn start(setup: Setup) -> Self {
        let dir = directory();
        write_roots(&dir);
        keep(&dir, &setup);
        let found = setup.found;
        std::fs::write(dir.join("appliance.toml"), &setup.config).unwrap();
        std::fs::write(dir.join("passwd"), passwd()).unwrap();
        let program = dir.join("bartizan");
        std::fs::copy(env!("CARGO_BIN_EXE_bartizan"), &program).unwrap();
        let manager = UnixDatagram::bind(dir.join("notify")).unwrap();
        std::fs::set_permissions(dir.join("notify"), PermissionsExt::from_mode(0o777)).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = command(&dir, setup).spawn().unwrap();
        Self {
            child,
            dir,
            manager,
            found,
        }
    }

    /// Connects as a user.
    pub(crate) fn connect(&self, uid: u32) -> RoleEnd {
        let path = self.dir.join("switchboard.sock");
        let thread = std::thread::spawn(move || {
            // The thread alone changes its user, and the kernel notes it at the connect.
            let user = Uid::from_raw(uid);
            rustix::thread::set_thread_res_uid(user, user, Uid::ROOT).unwrap();
            let socket = seqpacket();
            connect(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
            socket
        });
        RoleEnd::new(thread.join().unwrap()).unwrap()
    }

    /// Connects as a role that is locked down as required; tpm says what it found.
    pub(crate) fn join(&self, role: Role) -> RoleEnd {
        let mut end = self.connect(uid_of(role));
        end.send(&RoleToSupervisor::LockedDown(achieved(role)))
            .unwrap();
        if role == Role::Tpm {
            started(&mut end);
            let found = TpmFound {
                ldevid: self.found,
                retired: false,
                floors: bartizan_model::identity::Floors::default(),
            };
            end.send(&RoleToSupervisor::Found(found)).unwrap();
            assert!(self.notice().0.starts_with("STATUS="));
        }
        end
    }

    /// Every role joins, in the order of the table, and is heard until it is started (peer, qkd
    /// and bootstrap: not).
    pub(crate) fn join_all(&self) -> Vec<(Role, RoleEnd)> {
        let mut ends: Vec<_> = ROLES
            .iter()
            .map(|row| (row.role, self.join(row.role)))
            .collect();
        for (role, end) in &mut ends {
            if !matches!(role, Role::Peer | Role::Qkd | Role::Tpm | Role::Bootstrap) {
                started(end);
            }
        }
        ends
    }

    /// The next notification but the watchdog's, and what came along.
    pub(crate) fn notice(&self) -> (String, Option<OwnedFd>) {
        loop {
            let (text, fd) = self.any_notice();
            if text != "WATCHDOG=1" {
                return (text, fd);
            }
        }
    }

    /// The next notification.
    pub(crate) fn any_notice(&self) -> (String, Option<OwnedFd>) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut text = [0; 512];
        assert!(readable(&self.manager), "the supervisor tells nothing");
        let parts = &mut [IoSliceMut::new(&mut text)];
        let got = recvmsg(&self.manager, parts, &mut ancillary, RecvFlags::empty()).unwrap();
        let mut fd = None;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                fd = fds.last();
            }
        }
        (String::from_utf8_lossy(&text[..got.bytes]).into_owned(), fd)
    }

    /// The status, once it shows what `wanted` looks for.
    pub(crate) fn status(&self, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
        for _ in 0..1000 {
            let mut text = String::new();
            let mut socket = UnixStream::connect(self.dir.join("status.sock")).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.read_to_string(&mut text).unwrap();
            let snapshot = serde_json::from_str(&text).unwrap();
            if wanted(&snapshot) {
                return snapshot;
            }
        }
        panic!("the status never shows it");
    }

    /// Waits for the end and returns the exit code.
    pub(crate) fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

/// What the status tool prints about this supervisor.
#[expect(clippy::disallowed_methods, reason = "a test of a process")]
pub(crate) fn bartizanctl(live: &Live, arguments: &[&str]) -> String {
    const SCRIPT: &str = "mount -t tmpfs tmpfs /run && mkdir /run/bartizan && \
        mount --bind \"$0\" /run/bartizan && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", SCRIPT])
        .arg(&live.dir)
        .arg(env!("CARGO_BIN_EXE_bartizanctl"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The next message of the supervisor.
pub(crate) fn next(end: &mut RoleEnd) -> Result<Received<SupervisorToRole>, ChannelError> {
    loop {
        if let Some(received) = end.recv()? {
            return Ok(received);
        }
        assert!(readable(end), "the supervisor says nothing");
    }
}

/// Hears the supervisor until `Start`; returns the ends, the configuration and what came along.
pub(crate) fn started(
    end: &mut RoleEnd,
) -> (
    Vec<(bartizan_model::message::Edge, OwnedFd)>,
    RoleConfig,
    Option<OwnedFd>,
) {
    let mut ends = Vec::new();
    loop {
        let received = next(end).unwrap();
        match (received.message, received.fd) {
            (SupervisorToRole::End(edge), Some(fd)) => ends.push((edge, fd)),
            (SupervisorToRole::Time(_), None) => {}
            (SupervisorToRole::Start(config), fd) => return (ends, config, fd),
            (other, _) => panic!("{other:?}"),
        }
    }
}

/// Whether the supervisor has closed the connection.
pub(crate) fn refused(end: &mut RoleEnd) -> bool {
    matches!(next(end), Err(ChannelError::Closed))
}

/// The supervisor with its users in a passwd file of its own and its sockets where the service
/// manager puts them.
#[expect(clippy::disallowed_methods, reason = "a test of a process")]
fn command(dir: &Path, setup: Setup) -> Command {
    const SCRIPT: &str = "exec 3<&0 4>&1 5>&2 2>>\"$0/log\" </dev/null >/dev/null; \
        mount --bind \"$0/passwd\" /etc/passwd && export LISTEN_PID=$$ && \
        exec setpriv --reuid \"$1\" --regid 62000 --clear-groups --inh-caps=-all \
        --bounding-set=-all \"$0/bartizan\" \"$0/appliance.toml\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", SCRIPT])
        .arg(dir)
        .arg(setup.uid.to_string())
        .env("NOTIFY_SOCKET", dir.join("notify"))
        .env("WATCHDOG_USEC", "90000");
    if setup.sockets {
        let status = UnixListener::bind(dir.join("status.sock")).unwrap();
        let names = if setup.running.is_some() {
            "switchboard:status:running"
        } else {
            "switchboard:status"
        };
        command
            .stdin(switchboard(dir))
            .stdout(OwnedFd::from(status))
            .env("LISTEN_FDS", names.split(':').count().to_string())
            .env("LISTEN_FDNAMES", names);
    }
    match setup.running {
        Some(running) => command.stderr(running),
        None => command.stderr(Stdio::null()),
    };
    command
}

fn switchboard(dir: &Path) -> OwnedFd {
    let path = dir.join("switchboard.sock");
    let socket = seqpacket();
    bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&socket, 16).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
    socket
}

fn seqpacket() -> OwnedFd {
    let kind = (
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
    );
    socket_with(kind.0, kind.1, kind.2, None).unwrap()
}

fn readable(fd: &impl AsFd) -> bool {
    let patience = Timespec::try_from(PATIENCE).unwrap();
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&patience)).unwrap() > 0
}

fn passwd() -> String {
    let supervisor = format!("{SUPERVISOR_USER}:!:{SUPERVISOR_UID}:62000::/:/nologin");
    let role = |role| format!("\n{}:!:{}:62000::/:/nologin", user(role), uid_of(role));
    let roles: Vec<_> = ROLES.iter().map(|row| role(row.role)).collect();
    supervisor + &roles.concat() + "\n"
}

fn user(role: Role) -> &'static str {
    ROLES.iter().find(|row| row.role == role).unwrap().user
}

fn directory() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("bartizan-live-{}-{number}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
    dir
}

/// The state folder, the supervisor's own.
fn keep(dir: &Path, setup: &Setup) {
    let state = dir.join("state");
    std::fs::create_dir(&state).unwrap();
    if !setup.kept.is_empty() {
        std::fs::write(state.join(DOCUMENT), &setup.kept).unwrap();
    }
    std::os::unix::fs::chown(state, Some(SUPERVISOR_UID), None).unwrap();
}

/// The files that the shipped configuration names.
fn write_roots(dir: &Path) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let params = rcgen::CertificateParams::new(["maker.example".to_owned()]).unwrap();
    let root = params.self_signed(&key).unwrap().pem();
    std::fs::write(dir.join("voucher-root.pem"), root).unwrap();
    std::fs::write(dir.join("voucher-ml-dsa-65.pub"), [5; 1952]).unwrap();
}
