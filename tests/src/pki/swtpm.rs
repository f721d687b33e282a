//! A TPM in software, over TCP on loopback: the way the TPM's library reaches one without a driver.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::process::{PidfdFlags, pidfd_open};

use crate::testbed::boot::scratch_folder;
use crate::testbed::process::Running;

/// Longer than it takes to start on a loaded machine.
const LIMIT: Duration = Duration::from_secs(20);

/// Holds its process id once it listens.
const READY: &str = "ready";

/// How often another pair of ports is tried.
const TRIES: usize = 20;

/// A running TPM; dropping it kills it.
#[derive(Debug)]
pub struct LoopbackTpm {
    running: Running,
    port: u16,
    /// Removed with the TPM.
    scratch: Option<PathBuf>,
}

impl LoopbackTpm {
    /// Starts one on the state in `directory`, which is made if it is missing.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(directory: &Path) -> Self {
        fs::create_dir_all(directory).expect("the TPM's directory");
        // What an earlier one left that was killed.
        let _absent = fs::remove_file(directory.join(READY));
        for _ in 0..TRIES {
            if let Some(swtpm) = Self::try_start(directory, two_free_ports()) {
                return swtpm;
            }
        }
        panic!("swtpm found no two free ports in {TRIES} tries");
    }

    /// Starts a new one, whose state goes with it.
    ///
    /// # Panics
    /// If it does not start.
    pub fn fresh() -> Self {
        let directory = scratch_folder();
        let mut tpm = Self::start(&directory);
        tpm.scratch = Some(directory);
        tpm
    }

    /// Its name for the TPM's library.
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// A line to it, for bytes of commands; it serves one line at a time.
    ///
    /// # Panics
    /// If it is gone.
    pub fn connect(&self) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("reach swtpm")
    }

    /// Kills it, as a TPM that is pulled out.
    pub fn kill(&mut self) {
        self.running.kill();
    }

    /// `None` if somebody took a port in the meantime.
    fn try_start(directory: &Path, port: u16) -> Option<Self> {
        let ready = directory.join(READY);
        let control = port + 1;
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).expect("a watch");
        inotify::add_watch(&watch, directory, inotify::WatchFlags::CLOSE_WRITE).expect("a watch");
        let mut command = Command::new("swtpm");
        command
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--tpmstate", &format!("dir={}", directory.display())])
            .args(["--server", &format!("type=tcp,port={port}")])
            .args(["--ctrl", &format!("type=tcp,port={control}")])
            .args(["--pid", &format!("file={}", ready.display())])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let running = Running::spawn(&mut command);
        let end = Instant::now() + LIMIT;
        while !ready.exists() {
            if !wait(&running, &watch, end) {
                return None;
            }
        }
        Some(Self {
            running,
            port,
            scratch: None,
        })
    }
}

/// Waits for a file; false if the process ends instead.
fn wait(running: &Running, watch: &OwnedFd, end: Instant) -> bool {
    let ended = pidfd_open(running.pid(), PidfdFlags::empty()).expect("pidfd of a child");
    let left = end.saturating_duration_since(Instant::now());
    let limit = Timespec::try_from(left).expect("a limit");
    let mut ends = [
        PollFd::new(watch, PollFlags::IN),
        PollFd::new(&ended, PollFlags::IN),
    ];
    let ready = poll(&mut ends, Some(&limit)).expect("poll");
    assert_ne!(ready, 0, "swtpm neither starts nor ends");
    if ends[0].revents().is_empty() {
        return false;
    }
    rustix::io::read(watch, &mut [0; 4096]).expect("an event");
    true
}

impl Drop for LoopbackTpm {
    fn drop(&mut self) {
        self.running.kill();
        if let Some(directory) = &self.scratch {
            fs::remove_dir_all(directory).expect("remove the TPM's directory");
        }
    }
}

fn two_free_ports() -> u16 {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    loop {
        let first = bind(0).expect("a port");
        let port = first.local_addr().expect("its address").port();
        if let Some(next) = port.checked_add(1)
            && bind(next).is_ok()
        {
            return port;
        }
    }
}
