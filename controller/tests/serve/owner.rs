//! The owner's side: a CA, the controller's process and its commands.

use core::net::SocketAddr;
use core::time::Duration;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use bartizan_controller::status::{NodeStatus, Status, TunnelStatus};
use bartizan_model::config::Der;
use bartizan_tls::{Anchors, Clock, Identity};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Longer than anything takes on a loaded machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// An owner with a folder of files; everything goes when it does.
pub(crate) struct Owner {
    folder: PathBuf,
    pub(crate) ca: Ca,
    process: Option<Child>,
    pub(crate) address: SocketAddr,
}

/// A certificate authority.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Owner {
    /// Starts a controller for these nodes.
    pub(crate) fn start(nodes: &[&str]) -> Self {
        Self::start_with(nodes, "poll-seconds = 1")
    }

    /// The same, with more lines of configuration.
    pub(crate) fn start_with(nodes: &[&str], lines: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bartizan-controller-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let ca = Ca::new();

        let (certificate, key) = ca.issue(&["controller"]);
        fs::write(folder.join("certificate.pem"), certificate.pem()).unwrap();
        fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
        fs::write(folder.join("owner-ca.pem"), ca.0.pem()).unwrap();
        fs::write(
            folder.join("controller.toml"),
            format!(
                "listen = \"127.0.0.1:0\"\nsocket = \"socket\"\nstate = \"state.json\"\n\
                 certificate = \"certificate.pem\"\nkey = \"key.pem\"\n\
                 owner-ca = \"owner-ca.pem\"\nnodes = {nodes:?}\n{lines}\n\
                 [lease]\ncadence-seconds = 1\nseconds = 5\n"
            ),
        )
        .unwrap();
        let mut owner = Self {
            folder,
            ca,
            process: None,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        owner.restart();
        owner
    }

    /// Ends the controller as a power cut would, if it runs, and starts it again.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let mut process = controller()
            .args(["serve", "--config"])
            .arg(self.folder.join("controller.toml"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Its journal says where it listens; the rest is passed on for who reads a failed test.
        let mut journal = BufReader::new(process.stderr.take().unwrap()).lines();
        self.process = Some(process);
        let address = journal.by_ref().find_map(|line| {
            let line = line.unwrap();
            eprintln!("{line}");
            line.split_once("listening on ")?.1.parse().ok()
        });
        self.address = address.unwrap();
        std::thread::spawn(move || {
            for line in journal.map_while(Result::ok) {
                eprintln!("{line}");
            }
        });
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// How many files it may have open, and could have.
    pub(crate) fn files(&self) -> [u64; 2] {
        let pid = self.process.as_ref().unwrap().id();
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"));
        let mut numbers = line.unwrap().split_whitespace();
        [(); 2].map(|()| numbers.next().unwrap().parse().unwrap())
    }

    /// Says whether the controller still runs.
    pub(crate) fn lives(&mut self) -> bool {
        self.process.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// A command that will apply a plan.
    pub(crate) fn apply(&self, plan: &str, words: &[&str]) -> Command {
        let file = self.folder.join("plan.toml");
        fs::write(&file, plan).unwrap();
        let mut command = controller();
        command.arg("apply").arg(file).args(words);
        command.arg("--socket").arg(self.socket());
        command
    }

    /// Applies a plan that is taken.
    pub(crate) fn applied(&self, plan: &str) {
        let output = self.apply(plan, &[]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// Writes a file that everybody may read; returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let file = self.folder.join(name);
        fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    /// A command of another user, whom the modes of all files let through.
    pub(crate) fn as_another_user(&self, words: &[&str]) -> Command {
        let program = self.folder.join("bartizan-controller");
        fs::copy(env!("CARGO_BIN_EXE_bartizan-controller"), &program).unwrap();
        for (path, mode) in [(&self.folder, 0o755), (&self.socket(), 0o666)] {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        let mut command = program_at(&program);
        command.args(words).arg("--socket").arg(self.socket());
        command.uid(NOBODY).gid(NOBODY);
        command
    }

    pub(crate) fn status(&self) -> Status {
        let mut command = controller();
        command.args(["status", "--json", "--socket"]);
        let output = command.arg(self.socket()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Asks for the status until it is as wanted; each answer takes the controller some work, so
    /// this is no idle wait.
    pub(crate) fn status_when(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        #[expect(clippy::disallowed_methods, reason = "a limit for the whole test")]
        let now = std::time::Instant::now;
        let begin = now();
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(now().duration_since(begin) < LIMIT, "{what}: {status:#?}");
        }
    }

    /// The identity of a node that its owner certified.
    pub(crate) fn identity(&self, names: &[&str]) -> Identity {
        self.ca.identity(names)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.kill();
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn anchors(&self) -> Anchors {
        Anchors::new(&[Der(self.0.der().to_vec())], &Clock::system()).unwrap()
    }

    pub(crate) fn identity(&self, names: &[&str]) -> Identity {
        let (certificate, key) = self.issue(names);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = [Der(certificate.der().to_vec())];
        Identity::new(&chain, any_supported_type(&key).unwrap()).unwrap()
    }

    fn issue(&self, names: &[&str]) -> (rcgen::Certificate, KeyPair) {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }
}

/// What a command printed, all of it.
pub(crate) fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

pub(crate) fn node<'a>(status: &'a Status, name: &str) -> &'a NodeStatus {
    status.nodes.iter().find(|node| node.node == name).unwrap()
}

pub(crate) fn tunnel(status: &Status, id: u32) -> &TunnelStatus {
    status
        .tunnels
        .iter()
        .find(|tunnel| tunnel.id == id)
        .unwrap()
}

/// A plan for the nodes `a` and `b` with tunnels of these numbers.
pub(crate) fn plan(ids: impl IntoIterator<Item = u32>) -> String {
    let nodes = "[node.a]\naddresses = [\"192.0.2.1\"]\n[node.b]\naddresses = [\"192.0.2.2\"]\n";
    let tunnels = ids.into_iter().map(|id| {
        let (high, low) = (id / 256, id % 256);
        format!(
            "[[tunnel]]\nid = {id}\nbetween = [\"a\", \"b\"]\nmode = \"tunnel\"\n\
             networks = [\"10.{high}.{low}.0/24\", \"11.{high}.{low}.0/24\"]\n\
             kem = {{ need = \"required\", parameter-set = \"ml-kem-768\" }}\n\
             soft = {{ seconds = 3000 }}\nhard = {{ seconds = 3600 }}\n"
        )
    });
    nodes.to_owned() + &tunnels.collect::<String>()
}

fn controller() -> Command {
    program_at(Path::new(env!("CARGO_BIN_EXE_bartizan-controller")))
}

fn program_at(path: &Path) -> Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "the controller under test is a program"
    )]
    Command::new(path)
}

const NOBODY: u32 = 65534;
