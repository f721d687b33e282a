//! What happens without an order: events of the kernel, the clock, SAs whose end has come. The engine
//! is told of each end of an SA once.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};

use bartizan_model::message::{SaId, XfrmToEngine};
use bartizan_model::time::BootTime;
use bartizan_process::journal::{self, Level};

use crate::clock::Moment;
use crate::events::Heard;
use crate::kernel::XfrmError;
use crate::programmer::Programmer;
use crate::reply::Event;
use crate::sa::SaShown;

impl Programmer {
    /// Attends to what has happened, and says what the engine is to be told.
    ///
    /// # Errors
    ///
    /// [`XfrmError`] if a socket or the clock is of no use any more.
    pub fn attend(&mut self) -> Result<Vec<XfrmToEngine>, XfrmError> {
        // The clock comes first: what follows reckons with it.
        if self.clock.stepped()? {
            self.clock_was_set();
        }
        let mut events = Vec::new();
        let heard = self.events.hear(|event| events.push(event))?;
        let mut reports: Vec<_> = events
            .into_iter()
            .filter_map(|event| self.note_event(event))
            .collect();
        if heard == Heard::NotAll {
            reports.extend(self.catch_up()?);
        }
        reports.extend(self.end_overdue());
        Ok(reports)
    }

    /// What to poll for reading, so as to call [`Programmer::attend`] in time.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.clock.as_fd(), self.events.as_fd()]
    }

    /// When [`Programmer::attend`] is due even if nothing happens.
    pub fn deadline(&self) -> Option<BootTime> {
        self.sas.next_end()
    }

    /// Takes note of an event; what it tells the engine, if anything.
    fn note_event(&mut self, event: Event) -> Option<XfrmToEngine> {
        match event {
            Event::Expired {
                sa: Some(sa),
                reqid,
                hard,
            } => {
                let known = if hard {
                    self.sas.remove(sa).is_some()
                } else {
                    self.sas.find(sa).is_some()
                };
                known.then_some(XfrmToEngine::Expired { sa, reqid, hard })
            }
            Event::Acquire { reqid } if reqid != 0 => Some(XfrmToEngine::Acquire { reqid }),
            Event::Expired { sa: None, .. } | Event::Acquire { .. } => None,
        }
    }

    /// Finds out what events that the kernel had to drop would have told of SAs. A wish for an SA
    /// that was dropped comes again with the next packet, for the kernel forgets it.
    fn catch_up(&mut self) -> Result<Vec<XfrmToEngine>, XfrmError> {
        self.counts.events_lost = self.counts.events_lost.saturating_add(1);
        journal::log(
            Level::Warn,
            format_args!("the kernel dropped events: looking at all SAs"),
        );
        let shown = self.shown_sas()?;
        let now = Moment::now();
        let stand: BTreeMap<SaId, &SaShown> =
            shown.iter().filter_map(|sa| Some((sa.id()?, sa))).collect();
        let mut reports = Vec::new();
        let mut gone = Vec::new();
        for standing in self.sas.iter() {
            let (sa, reqid) = (standing.sa.id, standing.sa.reqid);
            let hard = match stand.get(&sa) {
                None => {
                    gone.push(sa);
                    true
                }
                Some(shown) => {
                    let limits = &standing.sa.limits;
                    let soft = standing.soft.is_some_and(|soft| soft <= now.boot)
                        || shown.used.bytes >= limits.soft_bytes
                        || shown.used.packets >= limits.soft_packets;
                    if !soft {
                        continue;
                    }
                    false
                }
            };
            reports.push(XfrmToEngine::Expired { sa, reqid, hard });
        }
        for sa in gone {
            self.sas.remove(sa);
        }
        Ok(reports)
    }
}
