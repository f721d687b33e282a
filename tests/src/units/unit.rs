//! One service and its present.

use std::{
    io::Write,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::PathBuf,
    process::{Child, ExitStatus},
    time::Instant,
};

use rustix::{
    io::Errno,
    process::{Signal, pidfd_send_signal},
};

use super::{
    event::{Event, What},
    notice::{Inbox, Notice},
    service::{Restart, Service},
};

/// A service's present.
pub(super) enum Present {
    Starting { until: Instant },
    Running { alive_until: Option<Instant> },
    Stopping { until: Instant },
    Resting { until: Instant },
    Ended,
}

pub(super) struct Unit {
    pub(super) service: Service,
    pub(super) present: Present,
    pub(super) process: Option<(Child, OwnedFd)>,
    pub(super) inbox: Inbox,
    pub(super) inbox_path: PathBuf,
    pub(super) stored: Vec<(String, OwnedFd)>,
}

impl Present {
    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::Starting { until } | Self::Stopping { until } | Self::Resting { until } => {
                Some(*until)
            }
            Self::Running { alive_until } => *alive_until,
            Self::Ended => None,
        }
    }
}

impl Unit {
    pub(super) fn heed(&mut self, notice: Notice) {
        if notice.forgotten {
            self.stored.retain(|(name, _)| *name != notice.name);
        }
        for fd in notice.stored {
            if self.stored.len() < self.service.stored {
                self.stored.push((notice.name.clone(), fd));
                self.tell(What::Stored(notice.name.clone()));
            }
        }
        if let Some(status) = notice.status {
            self.tell(What::Status(status));
        }
        let alive_until = self
            .service
            .watchdog
            .map(|watchdog| Instant::now() + watchdog);
        match self.present {
            Present::Starting { .. } if notice.ready => {
                self.present = Present::Running { alive_until };
                self.tell(What::Ready);
            }
            Present::Running { .. } if notice.alive => {
                self.present = Present::Running { alive_until }
            }
            Present::Starting { .. }
            | Present::Running { .. }
            | Present::Stopping { .. }
            | Present::Resting { .. }
            | Present::Ended => {}
        }
    }

    /// Asks the process to end; the next time with SIGKILL.
    pub(super) fn end(&mut self, signal: Signal) {
        let Some((_, pidfd)) = &self.process else {
            self.present = Present::Ended;
            return;
        };
        // As systemd does: a process that is stopped could not follow the signal.
        for signal in [signal, Signal::CONT] {
            match pidfd_send_signal(pidfd, signal) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(cause) => panic!("cannot signal {}: {cause}", self.service.unit),
            }
        }
        self.present = Present::Stopping {
            until: Instant::now() + self.service.stop_limit,
        };
    }

    pub(super) fn starts_again(&self, status: ExitStatus) -> bool {
        let is_final = status
            .code()
            .is_some_and(|code| self.service.final_codes.contains(&code));
        let clean = status.success()
            || [Signal::HUP, Signal::INT, Signal::TERM, Signal::PIPE]
                .iter()
                .any(|signal| status.signal() == Some(signal.as_raw()));
        match self.service.restart {
            Restart::No => false,
            Restart::OnFailure => !is_final && !clean,
            Restart::Always => !is_final,
        }
    }

    pub(super) fn tell(&self, what: What) {
        let event = Event {
            unit: self.service.unit.clone(),
            what,
        };
        let line = serde_json::to_string(&event).expect("an event is plain text");
        let mut stdout = std::io::stdout().lock();
        // Nobody may listen any more: the services go on until standard input ends.
        writeln!(stdout, "{line}")
            .and_then(|()| stdout.flush())
            .unwrap_or_default();
    }
}
