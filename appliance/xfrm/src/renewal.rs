//! How an SA outlives a lease, and how none outlives its own end (architecture, section 6).
//!
//! The kernel's timer goes by `CLOCK_REALTIME`, so its limits are reckoned anew whenever that clock
//! is set. An SA that stands at its end all the same is taken out by the boot clock; the kernel's
//! timer is what ends it when this process cannot.

use core::time::Duration;

use bartizan_model::ids::OrderId;
use bartizan_model::message::{SaId, SaInstall, XfrmToEngine};
use bartizan_model::policy::{DontFragment, Suite};
use bartizan_process::journal::{self, Level};
use rustix::io::Errno;

use crate::clock::Moment;
use crate::kernel::{BATCH_MAX, Outcome, XfrmError};
use crate::plan::{refusal, refused_with};
use crate::programmer::Programmer;
use crate::reply::Shown;
use crate::request::Request;
use crate::sa::{KernelSa, ReplayWindow};
use crate::table::Standing;

/// How often a set of SAs is reckoned anew before it is left to the boot clock.
const ATTEMPTS: u8 = 3;

impl Programmer {
    /// Gives SAs later ends.
    pub(crate) fn extend(
        &mut self,
        orders: &[(OrderId, &SaInstall)],
        replies: &mut Vec<XfrmToEngine>,
    ) {
        for orders in orders.chunks(BATCH_MAX) {
            let ids: Vec<_> = orders.iter().map(|(_, sa)| sa.id).collect();
            let added = self.added(&ids);
            let now = Moment::now();
            let planned: Vec<_> = orders
                .iter()
                .zip(added)
                .map(|((_, sa), added)| self.extended(sa, added?, now))
                .collect();
            let sas: Vec<_> = planned.iter().flatten().map(|(_, sa)| *sa).collect();
            let mut outcomes = self.update(&sas).into_iter();
            for ((order, _), planned) in orders.iter().zip(planned) {
                let outcome = match planned {
                    Ok((standing, _)) => {
                        let outcome = outcomes.next().unwrap_or(Outcome::Unknown);
                        // Where it is not known, the earlier end stays.
                        if outcome == Outcome::Done {
                            self.sas.put(standing);
                        }
                        outcome
                    }
                    Err(outcome) => outcome,
                };
                let reply = self.reply(*order, &outcome);
                replies.push(reply);
            }
        }
    }

    /// Reckons the limits of every SA anew, after the clock was set.
    pub(crate) fn clock_was_set(&mut self) {
        self.counts.clock_steps = self.counts.clock_steps.saturating_add(1);
        let lasting = self.sas.lasting(Moment::now().boot);
        let mut left = 0_usize;
        for standing in lasting.chunks(BATCH_MAX) {
            left = left.saturating_add(self.reckon_anew(standing));
        }
        journal::log(
            Level::Info,
            format_args!(
                "the clock was set: {} SAs reckoned anew, {left} left to the boot clock",
                lasting.len()
            ),
        );
    }

    /// Takes out the SAs whose end has come, and reports those that no longer stand.
    pub(crate) fn end_overdue(&mut self) -> Vec<XfrmToEngine> {
        let now = Moment::now().boot;
        let ended = self.sas.ended(now);
        let mut batch = self.kernel.batch();
        for id in &ended {
            batch.push(&Request::DeleteSa(*id));
        }
        let mut reports = Vec::new();
        for (id, outcome) in ended.into_iter().zip(batch.finish()) {
            let Some(standing) = self.sas.remove(id) else {
                continue;
            };
            if outcome == Outcome::Done {
                self.counts.overdue = self.counts.overdue.saturating_add(1);
            } else if !refused_with(Errno::SRCH)(&outcome) {
                self.sas.put(Standing {
                    end: Some(now.after(Duration::from_secs(1))),
                    ..standing
                });
                continue;
            }
            reports.push(XfrmToEngine::Expired {
                sa: id,
                reqid: standing.sa.reqid,
                hard: true,
            });
        }
        reports
    }

    /// Takes stock of the SAs that stand from an earlier start.
    pub(crate) fn adopt(&mut self) -> Result<(), XfrmError> {
        let now = Moment::now();
        for shown in self.shown_sas()? {
            let (Some(id), Some(mode), Some(selector)) = (shown.id(), shown.mode, shown.selector)
            else {
                continue;
            };
            let ends = |limit| now.end_of(limit, shown.used.added);
            self.sas.put(Standing {
                sa: KernelSa {
                    id,
                    source: shown.source,
                    reqid: shown.reqid,
                    mode,
                    df: DontFragment::default(),
                    selector,
                    suite: Suite::AesGcm256,
                    replay_window: ReplayWindow::SMALLEST,
                    limits: shown.limits,
                },
                since: now.since(shown.used.added),
                soft: ends(shown.limits.soft_seconds),
                end: ends(shown.limits.hard_seconds),
            });
        }
        Ok(())
    }

    /// What an SA is to be once it is extended, and as the kernel is to be told.
    fn extended(
        &self,
        order: &SaInstall,
        added: u64,
        now: Moment,
    ) -> Result<(Standing, KernelSa), Outcome> {
        let sa = KernelSa::of(order).ok_or_else(|| refusal(0))?;
        let known = self.sas.find(order.id);
        let since = known.map_or_else(|| now.since(added), |standing| standing.since);
        let from_now = Standing::new(sa, now.boot);
        let standing = Standing {
            since,
            end: from_now.end,
            ..Standing::new(sa, since)
        };
        Ok((standing, standing.reckoned(now, added)))
    }

    /// Reckons at most 64 SAs anew; says how many could not be.
    fn reckon_anew(&mut self, standing: &[Standing]) -> usize {
        let mut left = standing.to_vec();
        for _ in 0..ATTEMPTS {
            left = self.reckon_once(&left);
        }
        left.len()
    }

    /// Returns the SAs that have to be reckoned once more: an answer is lost, or the kernel has
    /// moved the SA's beginning meanwhile. Its timer does so when it finds that the hard limit has
    /// passed and the soft one was not reported yet.
    fn reckon_once(&mut self, standing: &[Standing]) -> Vec<Standing> {
        let ids: Vec<_> = standing.iter().map(|standing| standing.sa.id).collect();
        let before = self.added(&ids);
        let now = Moment::now();
        let reckoned: Vec<_> = standing
            .iter()
            .zip(&before)
            .filter_map(|(standing, added)| Some(standing.reckoned(now, *added.as_ref().ok()?)))
            .collect();
        let mut outcomes = self.update(&reckoned).into_iter();
        let after = self.added(&ids);
        let mut again = Vec::new();
        for ((standing, before), after) in standing.iter().zip(before).zip(after) {
            let outcome = before.as_ref().ok().and_then(|_| outcomes.next());
            let gone = |added: &Result<u64, Outcome>| matches!(added, Err(Outcome::Refused(_)));
            let settled = outcome == Some(Outcome::Done) && before == after;
            if !settled && !gone(&before) && !gone(&after) {
                again.push(*standing);
            }
        }
        again
    }

    /// When each SA was added, as the kernel has it; or why it does not say.
    fn added(&mut self, ids: &[SaId]) -> Vec<Result<u64, Outcome>> {
        let mut batch = self.kernel.batch();
        for id in ids {
            batch.push(&Request::CountSa(*id));
        }
        let added = |outcome| match outcome {
            Outcome::Shown(Shown::Counters(counters)) => Ok(counters.used.added),
            Outcome::Refused(_) => Err(outcome),
            Outcome::Shown(_) | Outcome::Done | Outcome::Unknown => Err(Outcome::Unknown),
        };
        batch.finish().into_iter().map(added).collect()
    }

    fn update(&mut self, sas: &[KernelSa]) -> Vec<Outcome> {
        let mut batch = self.kernel.batch();
        for sa in sas {
            batch.push(&Request::UpdateSa(sa));
        }
        batch.finish()
    }
}
