//! A `PostgreSQL` server of our own, in a temporary folder, behind a Unix socket.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bartizan_controller::store::{Database, Place};

use crate::file::Folder;

/// The server; it ends with the value.
pub(crate) struct Cluster {
    folder: Folder,
    programs: PathBuf,
    server: Option<Child>,
}

/// No server runs as root.
const NOBODY: u32 = 65534;

impl Cluster {
    pub(crate) fn start() -> Self {
        let folder = Folder::new();
        if rustix::process::geteuid().is_root() {
            chown(&folder.0, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut cluster = Self {
            folder,
            programs: programs(),
            server: None,
        };
        let made = cluster
            .program("initdb")
            .args(["--username=bartizan", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C", "--no-sync", "--pgdata"])
            .arg(cluster.folder.0.join("data"))
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        cluster.restart();
        cluster
    }

    /// Kills the server, if it runs, as a power cut would, and starts it again.
    pub(crate) fn restart(&mut self) {
        self.kill();
        // What the killed server leaves behind takes a moment to end, and nobody starts beside it.
        while !self.started() {}
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    pub(crate) fn place(&self) -> Place {
        let folder = self.folder.0.display();
        let connection = format!("host={folder} user=bartizan dbname=postgres");
        Place::Database(Box::new(Database::new(&connection, None).unwrap()))
    }

    /// Starts the server; false if it ends instead of being ready.
    fn started(&mut self) -> bool {
        let mut server = self
            .program("postgres")
            .arg("-D")
            .arg(self.folder.0.join("data"))
            .arg("-k")
            .arg(&self.folder.0)
            .args(["-c", "listen_addresses=", "-c", "shared_buffers=8MB"])
            .args(["-c", "lc_messages=C"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut journal = BufReader::new(server.stderr.take().unwrap()).lines();
        let ready = journal.any(|line| {
            let line = line.unwrap();
            eprintln!("{line}");
            line.contains("ready to accept connections")
        });
        // Nobody may block the server by not reading.
        std::thread::spawn(move || journal.for_each(drop));
        if ready {
            self.server = Some(server);
        } else {
            server.wait().unwrap();
        }
        ready
    }

    fn program(&self, name: &str) -> Command {
        #[expect(
            clippy::disallowed_methods,
            reason = "the server under test is a program"
        )]
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(&self.folder.0).stdin(Stdio::null());
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
        // The server's children end by themselves and write until then.
        while self.folder.0.join("data/postmaster.pid").exists() && !self.started() {}
        if let Some(mut server) = self.server.take() {
            let pid = rustix::process::Pid::from_child(&server);
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
            server.wait().unwrap();
        }
    }
}

/// Where Debian puts them.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("apt-get install postgresql");
    let mut versions: Vec<_> = versions.map(|entry| entry.unwrap().path()).collect();
    versions.sort();
    let newest: &Path = versions.last().expect("apt-get install postgresql");
    newest.join("bin")
}
