//! What the engine is told of the kernel's events, each end of an SA once.

use std::collections::{BTreeMap, BTreeSet};

use bartizan_model::message::{SaId, XfrmToEngine};
use bartizan_process::journal::{self, Level};

use crate::clock::Moment;
use crate::kernel::XfrmError;
use crate::programmer::Programmer;
use crate::reply::Event;
use crate::sa::SaShown;

impl Programmer {
    /// Takes note of an event; what it tells the engine, if anything.
    pub fn note_event(&mut self, event: Event) -> Option<XfrmToEngine> {
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

    /// Finds out what events that the kernel had to drop would have told.
    ///
    /// # Errors
    ///
    /// [`XfrmError`] if the kernel does not list its SAs.
    pub fn catch_up(&mut self) -> Result<Vec<XfrmToEngine>, XfrmError> {
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
        // A larval SA without a number is a packet's wish.
        let wanted: BTreeSet<u32> = shown
            .iter()
            .filter(|sa| sa.spi == 0 && sa.reqid != 0)
            .map(|sa| sa.reqid)
            .collect();
        reports.extend(
            wanted
                .into_iter()
                .map(|reqid| XfrmToEngine::Acquire { reqid }),
        );
        Ok(reports)
    }
}
