//! Carries out the engine's orders.

use std::collections::BTreeSet;

use bartizan_model::config::XfrmConfig;
use bartizan_model::ids::OrderId;
use bartizan_model::message::{EngineToXfrm, SaInstall, SaListed, XfrmToEngine};
use bartizan_process::Received;
use bartizan_process::journal::{self, Level};
use rustix::io::Errno;

use crate::clock::{ClockWatch, Moment};
use crate::events::Events;
use crate::kernel::{Kernel, Outcome, XfrmError};
use crate::plan::{Plan, Step, refusal, refused_with, worst};
use crate::policy::{KernelPolicy, PolicyId, PolicyShown};
use crate::reply::Shown;
use crate::request::{Dump, Request};
use crate::sa::SaShown;
use crate::selector::Owner;
use crate::spd::{block_all, bypasses};
use crate::table::{SaTable, Standing};

/// The most SAs of one [`XfrmToEngine::Listed`].
const LIST_PART: usize = 32;

/// The kernel's SAD and SPD, as far as this process has made them.
#[derive(Debug)]
pub struct Programmer {
    pub(crate) kernel: Kernel,
    pub(crate) events: Events,
    pub(crate) clock: ClockWatch,
    /// The SAs that stand.
    pub(crate) sas: SaTable,
    /// The policies of the entries that orders of this start have installed.
    entries: BTreeSet<PolicyId>,
    built_in: BTreeSet<PolicyId>,
    pub(crate) counts: Counts,
}

/// What is counted since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Orders that were not carried out.
    pub refused: u64,
    /// Orders of which it is not known.
    pub unknown: u64,
    /// How often the clock was set.
    pub clock_steps: u64,
    /// SAs that stood at their end and were taken out.
    pub overdue: u64,
    /// How often the kernel dropped events.
    pub events_lost: u64,
    /// Messages of the kernel that made no sense.
    pub unintelligible: u64,
}

impl Counts {
    /// Each count with its name.
    pub fn named(self) -> [(&'static str, u64); 6] {
        [
            ("xfrm.refused", self.refused),
            ("xfrm.unknown", self.unknown),
            ("xfrm.clock-steps", self.clock_steps),
            ("xfrm.overdue", self.overdue),
            ("xfrm.events-lost", self.events_lost),
            ("xfrm.unintelligible", self.unintelligible),
        ]
    }
}

impl Programmer {
    /// Blocks all traffic but what the built-in policies let pass: the first act of every boot.
    ///
    /// # Errors
    ///
    /// [`XfrmError`] if the kernel does not take all of them.
    pub fn block_all() -> Result<Self, XfrmError> {
        let mut programmer = Self {
            kernel: Kernel::open()?,
            events: Events::open()?,
            clock: ClockWatch::begin()?,
            sas: SaTable::default(),
            entries: BTreeSet::new(),
            built_in: BTreeSet::new(),
            counts: Counts::default(),
        };
        programmer.build_in(&block_all())?;
        // Costs time alone if it is refused.
        let hashed = programmer.kernel.carry_out(&Request::HashPrefixes);
        if hashed != Outcome::Done {
            journal::log(
                Level::Warn,
                format_args!("the kernel does not hash prefixes: many policies will be slow"),
            );
        }
        Ok(programmer)
    }

    /// Lets pass what the configuration names, and no longer what an earlier one did; then takes
    /// stock of the SAs that stand from an earlier start.
    ///
    /// # Errors
    ///
    /// [`XfrmError`] if the kernel does not take all of it.
    pub fn begin(&mut self, config: &XfrmConfig) -> Result<(), XfrmError> {
        self.build_in(&bypasses(config))?;
        let mut stale = self.shown_policies()?;
        stale.retain(|policy| {
            policy.id().is_some_and(|id| {
                id.selector.owner() == Owner::BuiltIn && !self.built_in.contains(&id)
            })
        });
        built_in(&self.delete(&stale))?;
        self.adopt()
    }

    /// Removes every SA and every policy that was ordered, of this start or an earlier one: in a
    /// state without orders nothing but the built-in policies stands.
    ///
    /// # Errors
    ///
    /// [`XfrmError`] if the kernel does not.
    pub fn forget_orders(&mut self) -> Result<(), XfrmError> {
        built_in(&self.kernel.carry_out(&Request::FlushSas))?;
        self.sas.clear();
        self.entries.clear();
        built_in(&self.remove_other_policies())
    }

    /// Carries out orders, up to 64 messages in one call of the kernel, and says what became of
    /// each, in their order.
    pub fn carry_out(&mut self, orders: &[Received<EngineToXfrm>]) -> Vec<XfrmToEngine> {
        let mut replies = Vec::with_capacity(orders.len());
        let mut rest = orders.iter();
        while let Some(next) = rest.as_slice().first() {
            match &next.message {
                EngineToXfrm::InstallPolicy { .. }
                | EngineToXfrm::RemovePolicy { .. }
                | EngineToXfrm::InstallSa { .. }
                | EngineToXfrm::RemoveSa { .. }
                | EngineToXfrm::RemoveAllSas { .. } => {
                    let plans: Vec<_> = rest.clone().map_while(Plan::of).collect();
                    rest.by_ref().take(plans.len()).for_each(drop);
                    self.carry_out_together(&plans, &mut replies);
                }
                EngineToXfrm::ExtendSa { .. } => {
                    let extensions: Vec<_> = rest.clone().map_while(extension).collect();
                    rest.by_ref().take(extensions.len()).for_each(drop);
                    self.extend(&extensions, &mut replies);
                }
                EngineToXfrm::RemoveOtherPolicies { order } => {
                    rest.next();
                    let outcome = self.remove_other_policies();
                    replies.push(self.reply(*order, &outcome));
                }
                EngineToXfrm::ListSas { order } => {
                    rest.next();
                    self.list(*order, &mut replies);
                }
            }
        }
        replies
    }

    /// What is counted.
    pub fn counts(&self) -> Counts {
        let unintelligible = self.events.unintelligible();
        Counts {
            unintelligible: unintelligible.saturating_add(self.kernel.unintelligible()),
            ..self.counts
        }
    }

    fn build_in(&mut self, policies: &[KernelPolicy]) -> Result<(), XfrmError> {
        let mut batch = self.kernel.batch();
        for policy in policies {
            batch.push(&Request::PutPolicy(policy));
        }
        built_in(&worst(batch.finish().into_iter()))?;
        self.built_in
            .extend(policies.iter().map(|policy| policy.id));
        Ok(())
    }

    fn carry_out_together(&mut self, plans: &[Plan<'_>], replies: &mut Vec<XfrmToEngine>) {
        let before = Moment::now();
        let mut batch = self.kernel.batch();
        for plan in plans {
            plan.push(&mut batch);
        }
        let mut outcomes = batch.finish().into_iter();
        let mut undone = Vec::new();
        for plan in plans {
            let outcome = plan.conclude(&mut outcomes);
            self.note(&plan.step, &outcome, before, &mut undone);
            replies.push(self.reply(plan.order, &outcome));
        }
        // Half an entry is none: what of it stands is taken out, and the block policies remain.
        let mut batch = self.kernel.batch();
        for id in undone {
            batch.push(&Request::DeletePolicy(id));
        }
        batch.finish();
    }

    /// Keeps account of what a step has changed; what is to be undone goes to `undone`.
    fn note(
        &mut self,
        step: &Step<'_>,
        outcome: &Outcome,
        before: Moment,
        undone: &mut Vec<PolicyId>,
    ) {
        let done = *outcome == Outcome::Done;
        match step {
            Step::Put(policies) => {
                for policy in policies {
                    if done {
                        self.entries.insert(policy.id);
                    } else {
                        self.entries.remove(&policy.id);
                        undone.push(policy.id);
                    }
                }
            }
            Step::Remove(ids) => {
                for id in ids {
                    self.entries.remove(id);
                }
            }
            // One of which it is not known may stand, and must end as if it did.
            Step::AddSa(sa, _) if done || *outcome == Outcome::Unknown => {
                self.sas.put(Standing::new(**sa, before.boot));
            }
            Step::DeleteSa(id) if done || refused_with(Errno::SRCH)(outcome) => {
                self.sas.remove(*id);
            }
            Step::Flush if done => self.sas.clear(),
            Step::AddSa(..) | Step::DeleteSa(_) | Step::Flush | Step::Nothing => {}
        }
    }

    fn remove_other_policies(&mut self) -> Outcome {
        match self.shown_policies() {
            Ok(mut others) => {
                others.retain(|policy| {
                    policy.id().is_none_or(|id| {
                        !self.built_in.contains(&id) && !self.entries.contains(&id)
                    })
                });
                self.delete(&others)
            }
            Err(error) => not_listed(&error),
        }
    }

    fn list(&mut self, order: OrderId, replies: &mut Vec<XfrmToEngine>) {
        let shown = match self.shown_sas() {
            Ok(shown) => shown,
            Err(error) => return replies.push(self.reply(order, &not_listed(&error))),
        };
        let now = Moment::now();
        let sas: Vec<_> = shown.iter().filter_map(|sa| self.listed(sa, now)).collect();
        let parts = sas.len().div_ceil(LIST_PART).max(1);
        for part in 1..=parts {
            let from = part.saturating_sub(1).saturating_mul(LIST_PART);
            replies.push(XfrmToEngine::Listed {
                order,
                sas: sas.iter().skip(from).take(LIST_PART).copied().collect(),
                last: part == parts,
            });
        }
    }

    fn listed(&self, shown: &SaShown, now: Moment) -> Option<SaListed> {
        let id = shown.id()?;
        let (since, end) = match self.sas.find(id) {
            Some(standing) => (standing.since, standing.end),
            None => (
                now.since(shown.used.added),
                now.end_of(shown.limits.hard_seconds, shown.used.added),
            ),
        };
        Some(SaListed {
            id,
            source: shown.source,
            reqid: shown.reqid,
            age: now.boot.since(since).as_secs(),
            remaining: end.map(|end| end.since(now.boot).as_secs()),
        })
    }

    /// All SAs, larval ones too.
    pub(crate) fn shown_sas(&mut self) -> Result<Vec<SaShown>, XfrmError> {
        let mut sas = Vec::new();
        self.kernel.dump(Dump::Sas, |shown| {
            if let Shown::Sa(sa) = shown {
                sas.push(*sa);
            }
        })?;
        Ok(sas)
    }

    /// All policies; those that let pass in clear come first, to be taken out first.
    fn shown_policies(&mut self) -> Result<Vec<PolicyShown>, XfrmError> {
        let mut policies = Vec::new();
        self.kernel.dump(Dump::Policies, |shown| {
            if let Shown::Policy(policy) = shown {
                policies.push(*policy);
            }
        })?;
        policies.sort_by_key(|policy| (policy.blocks, policy.reqid.is_some()));
        Ok(policies)
    }

    /// Takes policies out; those that are gone already do not matter.
    fn delete(&mut self, policies: &[PolicyShown]) -> Outcome {
        let mut batch = self.kernel.batch();
        for policy in policies {
            batch.push(&Request::DeletePolicyAt(policy.direction, policy.index));
        }
        let gone = refused_with(Errno::NOENT);
        worst(batch.finish().into_iter().filter(|outcome| !gone(outcome)))
    }

    /// The reply to an order; what went wrong is counted and said to the journal.
    pub(crate) fn reply(&mut self, order: OrderId, outcome: &Outcome) -> XfrmToEngine {
        match outcome {
            Outcome::Done | Outcome::Shown(_) => XfrmToEngine::Done(order),
            Outcome::Refused(refusal) => {
                self.counts.refused = self.counts.refused.saturating_add(1);
                let (errno, text) = (refusal.errno, &refusal.text);
                journal::log(
                    Level::Warn,
                    format_args!("an order is refused: errno {errno} {text}"),
                );
                XfrmToEngine::Refused { order, errno }
            }
            Outcome::Unknown => {
                self.counts.unknown = self.counts.unknown.saturating_add(1);
                journal::log(
                    Level::Warn,
                    format_args!("the kernel's answer to an order is lost"),
                );
                XfrmToEngine::Unknown(order)
            }
        }
    }
}

/// An order to extend an SA, with the SA.
fn extension(received: &Received<EngineToXfrm>) -> Option<(OrderId, &SaInstall)> {
    if let EngineToXfrm::ExtendSa { order, sa } = &received.message {
        Some((*order, sa))
    } else {
        None
    }
}

fn built_in(outcome: &Outcome) -> Result<(), XfrmError> {
    match outcome {
        Outcome::Done | Outcome::Shown(_) => Ok(()),
        Outcome::Refused(refusal) => {
            Err(XfrmError::BuiltIn(Errno::from_raw_os_error(refusal.errno)))
        }
        Outcome::Unknown => Err(XfrmError::NoAnswer),
    }
}

fn not_listed(error: &XfrmError) -> Outcome {
    match error {
        XfrmError::Dump(errno) | XfrmError::Socket(errno) => refusal(errno.raw_os_error()),
        XfrmError::Lock(_) | XfrmError::NoAnswer | XfrmError::Clock(_) | XfrmError::BuiltIn(_) => {
            Outcome::Unknown
        }
    }
}
