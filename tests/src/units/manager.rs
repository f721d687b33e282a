//! The loop of the service manager: starts, listens, watches, starts again.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    path::PathBuf,
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open},
};

use super::{
    UnitError,
    accounts::Accounts,
    calls::SystemCalls,
    event::What,
    file::names,
    launch::{Surroundings, launch},
    listener::listen_on,
    notice::Inbox,
    service::Service,
    socket::Socket,
    unit::{Present, Unit},
};

/// What the service manager is told at its start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The folder of the unit files and of one sysusers file.
    pub units: PathBuf,
    /// Where the binaries are instead of `/usr/bin`.
    pub binaries: PathBuf,
    /// Where each service's inbox is made.
    pub inboxes: PathBuf,
    /// The file to which everything is appended that services print.
    pub journal: PathBuf,
    /// The services to start; all if empty.
    pub only: Vec<String>,
}

/// The service manager.
pub struct Manager {
    units: Vec<Unit>,
    sockets: BTreeMap<String, (Socket, OwnedFd)>,
    accounts: Accounts,
    calls: SystemCalls,
    binaries: PathBuf,
    journal: File,
    stopping: bool,
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manager").finish_non_exhaustive()
    }
}

impl Manager {
    /// Reads every unit and listens on every socket; nothing runs yet.
    ///
    /// # Errors
    /// If a unit asks for what is not known here.
    pub fn new(setup: &Setup, accounts: Accounts) -> Result<Self, UnitError> {
        let mut sockets = BTreeMap::new();
        for unit in names(&setup.units, ".socket")? {
            let socket = Socket::read(&setup.units, &unit)?;
            let listening = listen_on(&socket, &accounts)?;
            sockets.insert(unit, (socket, listening));
        }
        let mut units = Vec::new();
        for unit in names(&setup.units, ".service")? {
            let service = Service::read(&setup.units, &unit)?;
            if !setup.only.is_empty() && !setup.only.contains(&unit) {
                continue;
            }
            let inbox_path = setup.inboxes.join(&unit);
            units.push(Unit {
                service,
                present: Present::Ended,
                process: None,
                inbox: Inbox::bind(&inbox_path),
                inbox_path,
                stored: Vec::new(),
            });
        }
        let journal = File::options()
            .create(true)
            .append(true)
            .open(&setup.journal)
            .unwrap_or_else(|cause| panic!("cannot open {}: {cause}", setup.journal.display()));
        Ok(Self {
            units,
            sockets,
            accounts,
            calls: SystemCalls::read()?,
            binaries: setup.binaries.clone(),
            journal,
            stopping: false,
        })
    }

    /// Starts every service that has what it wants, and serves until standard input ends; then stops them and returns when all have ended.
    ///
    /// # Errors
    /// If a service's user or group is not known.
    pub fn run(mut self) -> Result<(), UnitError> {
        for at in 0..self.units.len() {
            if self.units[at]
                .service
                .wanted
                .as_ref()
                .is_none_or(|path| path.exists())
            {
                self.start(at)?;
            }
        }
        while !(self.stopping && self.units.iter().all(|unit| unit.process.is_none())) {
            self.wait();
            for at in 0..self.units.len() {
                self.hear(at);
                self.reap(at);
                self.look_at_the_clock(at)?;
            }
        }
        Ok(())
    }

    fn start(&mut self, at: usize) -> Result<(), UnitError> {
        let unit = &self.units[at];
        let sockets = unit.service.sockets.iter().map(|name| {
            let (socket, listening) = self
                .sockets
                .get(name)
                .unwrap_or_else(|| panic!("{} has no socket {name}", unit.service.unit));
            (socket.name.as_str(), listening.as_fd())
        });
        let stored = unit
            .stored
            .iter()
            .map(|(name, fd)| (name.as_str(), fd.as_fd()));
        let surroundings = Surroundings {
            accounts: &self.accounts,
            calls: &self.calls,
            binaries: &self.binaries,
            journal: &self.journal,
            inbox: &unit.inbox_path,
            descriptors: sockets.chain(stored).collect(),
        };
        let child = launch(&unit.service, &surroundings)?;
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("pidfd of a child");
        let unit = &mut self.units[at];
        unit.process = Some((child, pidfd));
        unit.present = Present::Starting {
            until: Instant::now() + unit.service.start_limit,
        };
        unit.tell(What::Started {
            pid: pid.as_raw_nonzero().get(),
        });
        Ok(())
    }

    /// Waits until something can be read or is due.
    fn wait(&mut self) {
        let stdin = std::io::stdin();
        let mut fds: Vec<BorrowedFd<'_>> = Vec::new();
        for unit in &self.units {
            fds.push(unit.inbox.as_fd());
            fds.extend(unit.process.as_ref().map(|(_, pidfd)| pidfd.as_fd()));
        }
        if !self.stopping {
            fds.push(stdin.as_fd());
        }
        let due = self
            .units
            .iter()
            .filter_map(|unit| unit.present.due())
            .min();
        let timeout = due.map(|due| {
            let left = due.saturating_duration_since(Instant::now());
            Timespec::try_from(left).expect("a deadline within reach")
        });
        let mut polled: Vec<PollFd<'_>> = fds
            .iter()
            .map(|fd| PollFd::new(fd, PollFlags::IN))
            .collect();
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(cause) => panic!("cannot poll: {cause}"),
        }
        let asked = !self.stopping && polled.last().is_some_and(|last| !last.revents().is_empty());
        if asked
            && stdin
                .lock()
                .read(&mut [0; 64])
                .expect("read from standard input")
                == 0
        {
            self.stop();
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        for unit in &mut self.units {
            unit.end(Signal::TERM);
        }
    }

    fn hear(&mut self, at: usize) {
        let unit = &mut self.units[at];
        while let Some(notice) = unit.inbox.next() {
            let main = unit
                .process
                .as_ref()
                .map(|(child, _)| Pid::from_child(child));
            // NotifyAccess=main
            if notice.sender == main {
                unit.heed(notice);
            }
        }
    }

    fn reap(&mut self, at: usize) {
        let unit = &mut self.units[at];
        let Some((child, _)) = &mut unit.process else {
            return;
        };
        let Some(status) = child.try_wait().expect("wait for a child") else {
            return;
        };
        unit.process = None;
        unit.tell(What::Ended {
            code: status.code(),
            signal: status.signal(),
        });
        if !self.stopping && unit.starts_again(status) {
            unit.present = Present::Resting {
                until: Instant::now() + unit.service.restart_delay,
            };
        } else {
            unit.present = Present::Ended;
            unit.stored.clear();
            if !self.stopping {
                unit.tell(What::Failed);
            }
        }
    }

    fn look_at_the_clock(&mut self, at: usize) -> Result<(), UnitError> {
        let unit = &mut self.units[at];
        if unit.present.due().is_none_or(|due| due > Instant::now()) {
            return Ok(());
        }
        match unit.present {
            Present::Starting { .. } => {
                unit.tell(What::StartTimedOut);
                unit.end(Signal::TERM);
            }
            Present::Running { .. } => {
                unit.tell(What::WatchdogExpired);
                unit.end(Signal::ABORT);
            }
            Present::Stopping { .. } => unit.end(Signal::KILL),
            Present::Resting { .. } if !self.stopping => self.start(at)?,
            Present::Resting { .. } | Present::Ended => unit.present = Present::Ended,
        }
        Ok(())
    }
}
