//! A software TPM behind a device of the guest's kernel.

use std::{
    fs,
    io::{BufRead, BufReader},
    mem::MaybeUninit,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Gid, Mode, chmod, chown, inotify},
    io::Errno,
};

use super::process::{Running, readable};
use crate::units::accounts::group_number;

/// How long the kernel may take to find the new TPM in order.
const PATIENCE: Duration = Duration::from_secs(20);

/// A TPM 2.0 that lives as long as this value; its state is in a folder and outlives it.
#[derive(Debug)]
pub struct Swtpm {
    swtpm: Running,
    number: u32,
}

impl Swtpm {
    /// Starts a TPM whose state is in `folder`, made if it is not there, and waits for its devices.
    ///
    /// # Panics
    /// If the kernel has no virtual TPMs or swtpm is missing.
    pub fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("make the TPM's folder");
        // Watched before it is asked for, or the devices could come in between.
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).expect("make a watch");
        inotify::add_watch(&watch, "/dev", inotify::WatchFlags::CREATE).expect("watch /dev");

        let mut command = Command::new("swtpm");
        command
            .args([
                "chardev",
                "--tpm2",
                "--vtpm-proxy",
                "--flags",
                "not-need-init,startup-clear",
            ])
            .arg("--tpmstate")
            .arg(format!("dir={}", folder.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut swtpm = Running::spawn(&mut command);
        let printed = swtpm.child().stdout.take().expect("a pipe from swtpm");
        let mut lines = BufReader::new(printed).lines();
        let number = lines
            .find_map(|line| number(&line.expect("read from swtpm")))
            .expect("swtpm names its device");

        let tpm = Self { swtpm, number };
        let deadline = Instant::now() + PATIENCE;
        while !tpm.resource_manager().exists() {
            assert!(
                readable(&watch, deadline),
                "{} did not come",
                tpm.resource_manager().display()
            );
            drain(&watch);
        }
        // As the rule of the package tpm-udev has it, where udev runs.
        let group =
            Gid::from_raw(group_number("tss").expect("the group tss of the package tpm-udev"));
        let device = tpm.resource_manager();
        chown(&device, None, Some(group)).expect("give the device to its group");
        chmod(&device, Mode::from_raw_mode(0o660)).expect("let the group use the device");
        tpm
    }

    /// Cuts its power; its state stays in its folder.
    pub fn cut_power(&mut self) {
        self.swtpm.kill();
    }

    /// `/dev/tpmrmN`: the device for the tpm role.
    pub fn resource_manager(&self) -> PathBuf {
        PathBuf::from(format!("/dev/tpmrm{}", self.number))
    }

    /// The TCTI of that device.
    pub fn tcti(&self) -> String {
        format!("device:{}", self.resource_manager().display())
    }
}

/// The number in `New TPM device: /dev/tpm0 (major/minor = 253/0)`.
fn number(line: &str) -> Option<u32> {
    let (_, rest) = line.split_once("/dev/tpm")?;
    rest.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn drain(watch: &rustix::fd::OwnedFd) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(watch, &mut buffer);
    while events
        .next()
        .map_err(|cause| assert_eq!(cause, Errno::AGAIN))
        .is_ok()
    {}
}
