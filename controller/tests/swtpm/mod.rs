//! A TPM in a process (swtpm), with the commands of tpm2-tools.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bartizan_evidence::structures::Public;

/// Longer than its start takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(20);

/// The TPM; gone with its folder when dropped.
pub(crate) struct Swtpm {
    folder: PathBuf,
    process: Child,
}

impl Swtpm {
    /// Starts a fresh one.
    pub(crate) fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bartizan-swtpm-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(folder.join("state")).unwrap();
        let process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "startup-clear"])
            .args(["--tpmstate", "dir=state"])
            .args(["--server", "type=unixio,path=tpm"])
            .args(["--ctrl", "type=unixio,path=tpm.ctrl"])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while !folder.join("tpm.ctrl").exists() {
            assert!(begun.elapsed() < LIMIT, "swtpm did not start");
            std::thread::yield_now();
        }
        Self { folder, process }
    }

    /// Runs a command that must succeed.
    pub(crate) fn run(&self, command: &[&str]) {
        assert!(self.try_run(command), "{command:?}");
    }

    /// Runs a command; whether it succeeded.
    pub(crate) fn try_run(&self, command: &[&str]) -> bool {
        let (program, arguments) = command.split_first().unwrap();
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&self.folder)
            .env("TPM2TOOLS_TCTI", "swtpm:path=tpm")
            .output()
            .unwrap();
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success()
    }

    /// Reads a public area that a command wrote, a `TPM2B_PUBLIC`.
    pub(crate) fn public(&self, file: &str) -> Public {
        Public::parse(&self.read(file)[2..]).unwrap()
    }

    pub(crate) fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.folder.join(file)).unwrap()
    }

    pub(crate) fn write(&self, file: &str, bytes: &[u8]) {
        fs::write(self.folder.join(file), bytes).unwrap();
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
        let _nobody_minds = fs::remove_dir_all(&self.folder);
    }
}
