//! A box: firmware with Secure Boot, a TPM, a disk and a serial line.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use bartizan_tests::testbed::process::{Running, readable, run};
use rustix::{
    fd::OwnedFd,
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::disk::Disk;

/// How long a boot may take; it takes 35 s where nothing else runs.
const PATIENCE: Duration = Duration::from_mins(4);

/// The PCI slots of mgmt0, wan0, lan0 and qkd0; `image/network/qemu`.
const PORTS: [&str; 4] = ["0x10", "0x11", "0x12", "0x13"];

const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// What stays of a box while it is off: its firmware's variables and its TPM.
#[derive(Debug)]
pub(crate) struct Machine {
    folder: PathBuf,
}

/// A box that is on; off when it is dropped.
#[derive(Debug)]
pub(crate) struct Boot {
    qemu: Running,
    /// Tells when the TPM has ended, and written what it keeps.
    tpm: OwnedFd,
    lines: Receiver<String>,
    console: String,
}

impl Machine {
    /// A new one: its firmware is in setup mode, its TPM was never used.
    pub(crate) fn new(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        fs::copy(VARIABLES, folder.join("variables")).unwrap();
        let machine = Self {
            folder: folder.to_owned(),
        };
        machine.replace_tpm();
        machine
    }

    /// Gives it the TPM of nobody.
    pub(crate) fn replace_tpm(&self) {
        let tpm = self.folder.join("tpm");
        if tpm.exists() {
            fs::remove_dir_all(&tpm).unwrap();
        }
        fs::create_dir(&tpm).unwrap();
        run(Command::new("swtpm_setup")
            .args([
                "--tpm2",
                "--pcr-banks",
                "sha256",
                "--overwrite",
                "--tpmstate",
            ])
            .arg(&tpm));
    }

    /// Switches it on.
    pub(crate) fn boot(&self, disk: &Disk) -> Boot {
        let socket = self.folder.join("tpm.sock");
        let pid = self.folder.join("tpm.pid");
        // It ends when the line to QEMU does.
        run(Command::new("swtpm")
            .args(["socket", "--tpm2", "--terminate", "--daemon", "--tpmstate"])
            .arg(format!("dir={}", self.folder.join("tpm").display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", socket.display()))
            .arg("--pid")
            .arg(format!("file={}", pid.display())));
        let pid = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        let tpm = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args([
                "-machine",
                "q35,smm=on",
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max",
            ])
            .args([
                "-m",
                "768",
                "-smp",
                "2",
                "-nodefaults",
                "-nographic",
                "-no-reboot",
            ])
            .args(["-serial", "stdio", "-net", "none"])
            .args(["-global", "driver=cfi.pflash01,property=secure,value=on"])
            .args(["-global", "ICH9-LPC.disable_s3=1"])
            .args([
                "-drive",
                &format!("if=pflash,format=raw,unit=0,readonly=on,file={FIRMWARE}"),
            ])
            .args([
                "-drive",
                &format!(
                    "if=pflash,format=raw,unit=1,file={}",
                    self.folder.join("variables").display()
                ),
            ])
            .args([
                "-drive",
                &format!("if=none,id=disk,format=raw,file={}", disk.path.display()),
            ])
            .args([
                "-device",
                "virtio-blk-pci,drive=disk,bootindex=0",
                "-device",
                "virtio-rng-pci",
            ])
            .args([
                "-chardev",
                &format!("socket,id=tpm,path={}", socket.display()),
            ])
            .args([
                "-tpmdev",
                "emulator,id=tpm0,chardev=tpm",
                "-device",
                "tpm-crb,tpmdev=tpm0",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        for (number, slot) in PORTS.iter().enumerate() {
            command
                .args([
                    "-netdev",
                    &format!("hubport,id=port{number},hubid={number}"),
                ])
                .args([
                    "-device",
                    &format!("virtio-net-pci,netdev=port{number},addr={slot},romfile="),
                ]);
        }
        let mut qemu = Running::spawn(&mut command);
        let serial = qemu.child().stdout.take().unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(serial).split(b'\n') {
                let line = line.map(|line| String::from_utf8_lossy(&line).into_owned());
                if line.is_err() || sender.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        Boot {
            qemu,
            tpm,
            lines,
            console: String::new(),
        }
    }
}

impl Boot {
    /// Waits for one of `texts` on the console and returns the line.
    ///
    /// # Panics
    /// If none comes in time, or the box switches itself off before.
    pub(crate) fn wait(&mut self, texts: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next(deadline) {
                Some(line) if texts.iter().any(|text| line.contains(text)) => return line,
                Some(_) => {}
                None => panic!("none of {texts:?} on the console:\n{}", self.console),
            }
        }
    }

    /// Waits until the console has shown a text, now or before.
    pub(crate) fn see(&mut self, text: &str) {
        if !self.console.contains(text) {
            self.wait(&[text]);
        }
    }

    /// Waits until the box switches itself off or begins anew, and returns what its console has shown.
    ///
    /// # Panics
    /// If it goes on.
    pub(crate) fn end(mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        while self.next(deadline).is_some() {}
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(
            self.qemu.wait(left).is_some(),
            "the box goes on:\n{}",
            self.console
        );
        self.settle()
    }

    /// Cuts the power, and returns what the console has shown.
    pub(crate) fn cut(mut self) -> String {
        self.qemu.kill();
        self.settle()
    }

    fn settle(self) -> String {
        assert!(
            readable(&self.tpm, Instant::now() + PATIENCE),
            "the TPM goes on"
        );
        self.console
    }

    /// What the console shows as the value of a PCR.
    pub(crate) fn pcr(&mut self, number: u8) -> String {
        let line = self.wait(&[&format!("PCR {number}: ")]);
        line.trim().rsplit(' ').next().unwrap().to_owned()
    }

    fn next(&mut self, deadline: Instant) -> Option<String> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => {
                self.console.push_str(&line);
                self.console.push('\n');
                Some(line)
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }
}
