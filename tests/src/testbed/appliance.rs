//! An appliance that runs from its unit files, in a gateway's namespace.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use bartizan_model::report::Snapshot;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{guest::binaries, netns::Netns, process::Running};
use crate::units::event::{Event, What};

/// How long an appliance that is told to stop may take: every service ends at SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Every service that ships, the supervisor first; but updater, which wants a disk of the box's own.
pub const SERVICES: [&str; 8] = [
    "bartizan.service",
    "bartizan-engine.service",
    "bartizan-xfrm.service",
    "bartizan-control.service",
    "bartizan-peer.service",
    "bartizan-qkd.service",
    "bartizan-tpm.service",
    "bartizan-bootstrap.service",
];

/// Where an image leads the tpm role to what was measured.
pub const MEASURED: &str = "/usr/lib/bartizan/measured";

/// How long a supervisor may take to tell how it stands.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(1);

/// How far a service has come that is started again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Ended,
    ReadyAgain,
}

/// How an appliance is started.
#[derive(Clone, Debug)]
pub struct Start {
    /// The unit files; those that ship if there is none.
    pub units: Option<PathBuf>,
    /// What is to be in `/etc/bartizan`.
    pub configuration: PathBuf,
    /// The services to start; all if empty.
    pub only: Vec<String>,
    /// The device that takes the place of `/dev/tpmrm0`.
    pub tpm: Option<PathBuf>,
    /// The folder that takes the place of [`MEASURED`].
    pub measured: Option<PathBuf>,
}

/// It runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Appliance {
    runner: Running,
    folder: PathBuf,
    events: Receiver<Event>,
    past: Vec<Event>,
    pids: BTreeMap<String, Pid>,
}

impl Appliance {
    /// Starts it; `name` tells it from others of the same guest.
    ///
    /// # Panics
    /// If the service manager cannot be run.
    pub fn start(gateway: &Netns, name: &str, start: &Start) -> Self {
        let folder = Path::new("/run/appliances").join(name);
        fs::create_dir_all(&folder).expect("make the appliance's folder");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../appliance/units");
        let mut command = Command::new(binaries().join("unit-runner"));
        command
            .arg("--units")
            .arg(start.units.as_ref().unwrap_or(&shipped))
            .arg("--bin-dir")
            .arg(binaries())
            .arg("--config")
            .arg(&start.configuration)
            .arg("--folder")
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        for unit in &start.only {
            command.args(["--only", unit]);
        }
        for (place, own) in [("/dev/tpmrm0", &start.tpm), (MEASURED, &start.measured)] {
            if let Some(own) = own {
                command
                    .arg("--bind")
                    .arg(format!("{}={place}", own.display()));
            }
        }
        let mut runner = gateway.enter(|| Running::spawn(&mut command));
        let printed = runner
            .child()
            .stdout
            .take()
            .expect("a pipe from the service manager");
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(printed).lines() {
                let line = line.expect("read from the service manager");
                let event = serde_json::from_str(&line).expect("an event of the service manager");
                // An error: the appliance was dropped, nobody waits any more.
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Self {
            runner,
            folder,
            events,
            past: Vec::new(),
            pids: BTreeMap::new(),
        }
    }

    /// Its `/run/bartizan`.
    pub fn run_folder(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// Everything that its services have printed.
    pub fn journal(&self) -> String {
        let bytes = fs::read(self.folder.join("journal")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What `bartizanctl status --json` would print; none while no supervisor answers.
    ///
    /// # Panics
    /// If what it says is no snapshot.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let socket = UnixStream::connect(self.run_folder().join("status.sock")).ok()?;
        // It listens also while no supervisor runs.
        socket
            .set_read_timeout(Some(SNAPSHOT_LIMIT))
            .expect("limit the wait for a snapshot");
        let text = std::io::read_to_string(socket).ok()?;
        // A supervisor that dies while it speaks leaves half of it.
        let whole = text.ends_with('}');
        whole.then(|| serde_json::from_str(&text).expect("a snapshot"))
    }

    /// Everything that has happened, as far as it was waited for.
    pub fn past(&self) -> &[Event] {
        &self.past
    }

    /// The process of a unit that was started last.
    ///
    /// # Panics
    /// If none was, as far as events were waited for.
    pub fn pid(&self, unit: &str) -> Pid {
        let pid = self.pids.get(unit).copied();
        pid.unwrap_or_else(|| panic!("{unit} was not started"))
    }

    /// Sends a signal to a unit's present process.
    pub fn signal(&mut self, unit: &str, signal: Signal) {
        self.catch_up();
        let pidfd = pidfd_open(self.pid(unit), PidfdFlags::empty()).expect("a process to signal");
        pidfd_send_signal(pidfd, signal).expect("signal a service");
    }

    /// Waits for the next event that `is_it` takes.
    ///
    /// # Panics
    /// If it does not come within `limit`; with the journal.
    pub fn wait_for(&mut self, limit: Duration, mut is_it: impl FnMut(&Event) -> bool) -> Event {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => {
                    self.note(&event);
                    if is_it(&event) {
                        return event;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!(
                    "not within {limit:?}; so far: {:#?}\njournal:\n{}",
                    self.past,
                    self.journal()
                ),
                Err(RecvTimeoutError::Disconnected) => panic!(
                    "the service manager ended; so far: {:#?}\njournal:\n{}",
                    self.past,
                    self.journal()
                ),
            }
        }
    }

    /// Waits until each of `units` has said that it is ready, since the last time it was started.
    pub fn wait_ready(&mut self, units: &[&str], limit: Duration) {
        self.catch_up();
        let mut missing: Vec<&str> = units
            .iter()
            .copied()
            .filter(|unit| !self.is_ready(unit))
            .collect();
        if missing.is_empty() {
            return;
        }
        self.wait_for(limit, |event| {
            match event.what {
                What::Ready => missing.retain(|unit| *unit != event.unit),
                What::Started { .. } => {
                    missing.extend(units.iter().filter(|unit| **unit == event.unit));
                }
                What::Status(_)
                | What::Stored(_)
                | What::StartTimedOut
                | What::WatchdogExpired
                | What::Ended { .. }
                | What::Failed => {}
            }
            missing.is_empty()
        });
    }

    /// Waits until every service has ended and is ready again.
    pub fn wait_restart(&mut self, limit: Duration) {
        let mut steps = BTreeMap::new();
        self.wait_for(limit, |event| {
            match event.what {
                What::Ended { .. } => {
                    steps.insert(event.unit.clone(), Step::Ended);
                }
                What::Ready => {
                    if let Some(step) = steps.get_mut(&event.unit) {
                        *step = Step::ReadyAgain;
                    }
                }
                What::Started { .. }
                | What::Status(_)
                | What::Stored(_)
                | What::StartTimedOut
                | What::WatchdogExpired
                | What::Failed => {}
            }
            let again = steps.values().filter(|step| **step == Step::ReadyAgain);
            again.count() == SERVICES.len()
        });
    }

    /// Ends every process at once, as a power cut would, and with them all that a boot leaves in `/run`.
    ///
    /// # Panics
    /// If its folder cannot be emptied.
    pub fn cut_power(&mut self) {
        self.runner.kill();
        for left in ["run", "inboxes"] {
            fs::remove_dir_all(self.folder.join(left)).expect("forget what a boot left");
        }
    }

    /// Stops every service and waits for their ends.
    ///
    /// # Panics
    /// If they do not end.
    pub fn stop(mut self) {
        drop(self.runner.child().stdin.take());
        let status = self.runner.wait(STOP_LIMIT);
        let status = status.unwrap_or_else(|| panic!("did not stop; journal:\n{}", self.journal()));
        assert!(
            status.success(),
            "ended with {status}; journal:\n{}",
            self.journal()
        );
    }

    /// Takes in what has happened already.
    fn catch_up(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.note(&event);
        }
    }

    fn note(&mut self, event: &Event) {
        if let What::Started { pid } = event.what {
            let pid = Pid::from_raw(pid).expect("a process of a service");
            self.pids.insert(event.unit.clone(), pid);
        }
        self.past.push(event.clone());
    }

    fn is_ready(&self, unit: &str) -> bool {
        let mut own = self.past.iter().rev().filter(|event| event.unit == unit);
        own.find_map(|event| match event.what {
            What::Ready => Some(true),
            What::Started { .. } | What::Ended { .. } => Some(false),
            What::Status(_)
            | What::Stored(_)
            | What::StartTimedOut
            | What::WatchdogExpired
            | What::Failed => None,
        })
        .unwrap_or(false)
    }
}
