//! A gateway in a virtual machine, as the host sees it.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use super::word::{Order, Word, say};
use crate::testbed::{
    boot::{Boot, Booted},
    guest::binaries,
    process::readable,
    site::Site,
    topology::{LINES, Side, Topology, network_card},
};

/// The program of this build that runs in the machine.
pub const PROGRAM: &str = "virtual-gateway";

/// The shares that a machine finds: the box's configuration and state, and what its TPM keeps.
pub(super) const CONFIGURATION: &str = "configuration";
pub(super) const TPM: &str = "tpm";

/// The demonstration takes some minutes; a machine that is left over ends by itself.
const LIMIT: Duration = Duration::from_mins(15);

/// How long a machine may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// A gateway that runs; dropping it cuts its power.
#[derive(Debug)]
pub(super) struct Machine {
    _booted: Booted,
    folder: PathBuf,
    line: UnixStream,
    words: Receiver<(Instant, Word)>,
}

impl Machine {
    /// Boots `which` gateway in its namespace of `topology`, on the disk and the TPM that it had before.
    pub(super) fn boot(topology: &Topology, site: &Site, which: Side) -> Self {
        let mut devices = Vec::new();
        for line in LINES {
            devices.extend(network_card(which, line));
        }
        for (name, folder) in [(CONFIGURATION, site.gateway(which)), (TPM, site.tpm(which))] {
            devices.extend(share(name, &folder));
        }
        let socket = site
            .gateway(which)
            .with_file_name(format!("{}.serial", which.node()));
        // An earlier machine's.
        fs::remove_file(&socket).unwrap_or_default();
        let listener = UnixListener::bind(&socket).expect("listen for the serial line");
        devices.extend(serial_line(&socket));
        let boot = Boot::vm()
            .limit(LIMIT)
            .devices(devices)
            .within(&topology.side(which).gateway);
        let folder = binaries();
        let measured = site.measured(which).display().to_string();
        let booted = boot.spawn(
            &folder.join("guest-init"),
            &folder.join(PROGRAM),
            &[which.letter(), &measured],
        );
        let came = readable(&listener, Instant::now() + ANSWER);
        assert!(came, "QEMU does not take the serial line");
        let (line, _) = listener.accept().expect("the serial line");
        let (sender, words) = channel();
        let heard = line.try_clone().expect("share the serial line");
        thread::spawn(move || hear(heard, &sender));
        Self {
            folder: booted.folder().to_owned(),
            _booted: booted,
            line,
            words,
        }
    }

    /// Has somebody touch the box, forgets what it said before, and returns when that was done.
    ///
    /// # Panics
    /// If it is not done.
    pub(super) fn tamper(&mut self) -> Instant {
        self.forget();
        say(&mut self.line, &Order::Tamper);
        let heard = self.hear_until(ANSWER, &[Word::Tampered]);
        heard[0].expect("a machine that can be touched")
    }

    /// Forgets what it has said so far.
    pub(super) fn forget(&self) {
        while self.words.try_recv().is_ok() {}
    }

    /// When it first says each of `wanted`, if it does within `limit`.
    pub(super) fn hear_until(&self, limit: Duration, wanted: &[Word]) -> Vec<Option<Instant>> {
        let deadline = Instant::now() + limit;
        let mut heard = vec![None; wanted.len()];
        while heard.contains(&None) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((time, word)) = self.words.recv_timeout(left) else {
                break;
            };
            for (heard, wanted) in heard.iter_mut().zip(wanted) {
                if word == *wanted {
                    heard.get_or_insert(time);
                }
            }
        }
        heard
    }

    /// Where the machine leaves what it prints, for [`log`].
    pub(super) fn folder(&self) -> PathBuf {
        self.folder.clone()
    }
}

/// What a machine and the gateway in it printed so far, from their [`Machine::folder`].
pub(super) fn log(folder: &Path) -> String {
    let text = ["console", "log"].map(|name| {
        let bytes = fs::read(folder.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    text.concat()
}

/// Passes on what a machine says, with the time at which it was heard; ends with the machine.
fn hear(line: UnixStream, words: &Sender<(Instant, Word)>) {
    for text in BufReader::new(line).lines().map_while(Result::ok) {
        // What the machine's firmware and kernel print there before it is ours is no word.
        if let Ok(word) = serde_json::from_str(&text)
            && words.send((Instant::now(), word)).is_err()
        {
            return;
        }
    }
}

fn share(name: &str, folder: &Path) -> [String; 4] {
    let path = folder.display();
    [
        "-fsdev".to_owned(),
        format!("local,id={name},path={path},security_model=none,multidevs=remap"),
        "-device".to_owned(),
        format!("virtio-9p-pci,fsdev={name},mount_tag={name}"),
    ]
}

fn serial_line(socket: &Path) -> [String; 4] {
    [
        "-chardev".to_owned(),
        format!("socket,id=orders,path={}", socket.display()),
        "-serial".to_owned(),
        "chardev:orders".to_owned(),
    ]
}
