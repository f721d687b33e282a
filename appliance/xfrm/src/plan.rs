//! What an order asks of the kernel, and what the kernel's answers make of it.

use bartizan_model::ids::OrderId;
use bartizan_model::message::{EngineToXfrm, SaId};
use bartizan_process::Received;
use rustix::io::Errno;

use crate::kernel::{Batch, Outcome};
use crate::policy::{KernelPolicy, PolicyId};
use crate::reply::Refusal;
use crate::request::Request;
use crate::sa::{KernelSa, SaKey};
use crate::spd::program;

/// An order that goes to the kernel together with others.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) order: OrderId,
    pub(crate) step: Step<'a>,
}

/// What is asked of the kernel.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// Install these, the first one first.
    Put(Vec<KernelPolicy>),
    /// Take these out, the first one first.
    Remove(Vec<PolicyId>),
    AddSa(Box<KernelSa>, SaKey<'a>),
    DeleteSa(SaId),
    Flush,
    /// Nothing: the order contradicts itself.
    Nothing,
}

impl<'a> Plan<'a> {
    /// Plans an order; `None` for one that does not go together with others.
    pub(crate) fn of(received: &'a Received<EngineToXfrm>) -> Option<Self> {
        let (order, step) = match &received.message {
            EngineToXfrm::InstallPolicy { order, policy } => {
                (order, program(policy).map(Step::Put))
            }
            EngineToXfrm::RemovePolicy { order, policy } => {
                let ids = |policies: Vec<KernelPolicy>| {
                    Step::Remove(policies.iter().rev().map(|policy| policy.id).collect())
                };
                (order, program(policy).map(ids))
            }
            EngineToXfrm::InstallSa { order, sa } => {
                let key = received.secret.as_ref();
                let key = key.and_then(|key| SaKey::new(key, sa.suite));
                let parts = KernelSa::of(sa).zip(key);
                (order, parts.map(|(sa, key)| Step::AddSa(Box::new(sa), key)))
            }
            EngineToXfrm::RemoveSa { order, sa } => (order, Some(Step::DeleteSa(*sa))),
            EngineToXfrm::RemoveAllSas { order } => (order, Some(Step::Flush)),
            EngineToXfrm::ExtendSa { .. }
            | EngineToXfrm::RemoveOtherPolicies { .. }
            | EngineToXfrm::ListSas { .. } => return None,
        };
        Some(Self {
            order: *order,
            step: step.unwrap_or(Step::Nothing),
        })
    }

    /// Adds the plan's requests to a batch.
    pub(crate) fn push(&self, batch: &mut Batch<'_>) {
        match &self.step {
            Step::Put(policies) => {
                for policy in policies {
                    batch.push(&Request::PutPolicy(policy));
                }
            }
            Step::Remove(ids) => {
                for id in ids {
                    batch.push(&Request::DeletePolicy(*id));
                }
            }
            Step::AddSa(sa, key) => batch.push(&Request::AddSa(sa, *key)),
            Step::DeleteSa(id) => batch.push(&Request::DeleteSa(*id)),
            Step::Flush => batch.push(&Request::FlushSas),
            Step::Nothing => {}
        }
    }

    /// What became of the order, given what became of its requests; takes as many of those as it
    /// has pushed.
    pub(crate) fn conclude(&self, outcomes: &mut impl Iterator<Item = Outcome>) -> Outcome {
        match &self.step {
            Step::Nothing => refusal(0),
            Step::Put(policies) => worst(outcomes.take(policies.len())),
            Step::Remove(ids) => {
                let outcomes: Vec<_> = outcomes.take(ids.len()).collect();
                let missing = refused_with(Errno::NOENT);
                // A part that is missing does not keep the rest.
                if outcomes.iter().all(&missing) {
                    return refusal(Errno::NOENT.raw_os_error());
                }
                worst(outcomes.into_iter().filter(|outcome| !missing(outcome)))
            }
            Step::AddSa(..) | Step::DeleteSa(_) | Step::Flush => worst(outcomes.take(1)),
        }
    }
}

/// A refusal without a word of the kernel's; 0 where it was not asked.
pub(crate) fn refusal(errno: i32) -> Outcome {
    Outcome::Refused(Refusal {
        errno,
        text: String::new(),
    })
}

/// Tells a refusal for this reason.
pub(crate) fn refused_with(errno: Errno) -> impl Fn(&Outcome) -> bool {
    move |outcome| matches!(outcome, Outcome::Refused(refusal) if refusal.errno == errno.raw_os_error())
}

/// The first refusal, else the first that is not known, else done.
pub(crate) fn worst(outcomes: impl Iterator<Item = Outcome>) -> Outcome {
    let mut worst = Outcome::Done;
    for outcome in outcomes {
        match outcome {
            Outcome::Refused(_) => return outcome,
            Outcome::Unknown => worst = Outcome::Unknown,
            Outcome::Done | Outcome::Shown(_) => {}
        }
    }
    worst
}
