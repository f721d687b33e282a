//! The entries: what the controller wants, what the kernel was told, and the way from one to the
//! other.
//!
//! Policies may stand without a lease: each only drops or protects, above a policy that drops the
//! rest, so no entry and no lack of one opens anything. Keys may not.
//!
//! The kernel keeps one policy a selector. An entry that takes over the selector of another is
//! therefore installed over it and never removed before: what a selector matches is at no moment
//! without a policy of the controller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bartizan_model::ids::{EntryName, OrderId};
use bartizan_model::message::EngineToXfrm;
use bartizan_model::policy::{Action, Direction, Policy, TrafficSelector};

use crate::orders::Task;

/// Entries by name.
pub(crate) type Entries = BTreeMap<EntryName, Arc<Policy>>;

/// The security policy database.
#[derive(Debug, Default)]
pub(crate) struct Spd {
    wanted: Entries,
    selectors: BTreeSet<(Direction, TrafficSelector)>,
    installed: Entries,
    pending: BTreeSet<EntryName>,
    standing: BTreeSet<EntryName>,
    /// Whether the kernel may still hold entries of before the restart.
    others: Others,
    /// Whether an edit was accepted whose end was not told.
    untold: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Others {
    #[default]
    Unknown,
    ToBeRemoved,
    Removed,
}

/// What the reply to a policy's order means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Programming {
    /// Carried out.
    Done,
    /// Refused or unknown.
    Failed,
}

impl Spd {
    /// What the controller wants.
    pub(crate) fn wanted(&self) -> &Entries {
        &self.wanted
    }

    /// Whether a protect entry stands in the kernel.
    pub(crate) fn is_in_force(&self) -> bool {
        !self.standing.is_empty()
    }

    /// Takes over the entries of an accepted edit; says which changed.
    pub(crate) fn want(&mut self, entries: Entries) -> BTreeSet<EntryName> {
        let names = self.wanted.keys().chain(entries.keys());
        let changed: BTreeSet<EntryName> = names
            .filter(|name| self.wanted.get(*name) != entries.get(*name))
            .cloned()
            .collect();
        self.selectors = entries.values().map(|policy| selector(policy)).collect();
        self.wanted = entries;
        self.pending.extend(changed.iter().cloned());
        self.untold = true;
        if self.others == Others::Unknown {
            self.others = Others::ToBeRemoved;
        }
        changed
    }

    /// The next order, to be sent with this number.
    pub(crate) fn next(
        &mut self,
        sent: impl FnOnce(Task) -> OrderId,
        busy: bool,
    ) -> Option<EngineToXfrm> {
        while let Some(name) = self.pending.pop_first() {
            let old = self.installed.get(&name).cloned();
            match (old, self.wanted.get(&name).cloned()) {
                (Some(old), Some(new)) if selector(&old) != selector(&new) => {
                    self.installed.remove(&name);
                    self.pending.insert(name.clone());
                    if let Some(order) = self.removal(name, &old) {
                        return Some(order.number(sent));
                    }
                }
                (Some(old), Some(new)) if old == new => {}
                (_, Some(new)) => {
                    self.installed.insert(name.clone(), Arc::clone(&new));
                    return Some(Unnumbered::Install(name, new).number(sent));
                }
                (Some(old), None) => {
                    self.installed.remove(&name);
                    self.standing.remove(&name);
                    if let Some(order) = self.removal(name, &old) {
                        return Some(order.number(sent));
                    }
                }
                (None, None) => {}
            }
        }
        if self.others == Others::ToBeRemoved && !busy {
            self.others = Others::Removed;
            return Some(Unnumbered::RemoveOthers.number(sent));
        }
        None
    }

    /// Takes the reply about an entry.
    pub(crate) fn answered(&mut self, name: &EntryName, outcome: Programming) {
        match (self.installed.get(name), outcome) {
            (Some(policy), Programming::Done) => {
                if matches!(policy.action, Action::Protect(_)) {
                    self.standing.insert(name.clone());
                } else {
                    self.standing.remove(name);
                }
            }
            (Some(_), Programming::Failed) => {
                self.installed.remove(name);
                self.standing.remove(name);
            }
            (None, _) => {}
        }
    }

    /// Says once after each accepted edit, when nothing is under way any more, how many entries
    /// stand.
    pub(crate) fn take_programmed(&mut self, busy: bool) -> Option<usize> {
        let over = self.untold && !busy && self.pending.is_empty();
        if !over || self.others == Others::ToBeRemoved {
            return None;
        }
        self.untold = false;
        Some(self.installed.len())
    }

    /// The removal of an entry, unless another entry is to stand at its selector.
    fn removal(&self, name: EntryName, old: &Arc<Policy>) -> Option<Unnumbered> {
        let taken = self.selectors.contains(&selector(old));
        (!taken).then(|| Unnumbered::Remove(name, Arc::clone(old)))
    }
}

fn selector(policy: &Policy) -> (Direction, TrafficSelector) {
    (policy.direction, policy.selector)
}

enum Unnumbered {
    Install(EntryName, Arc<Policy>),
    Remove(EntryName, Arc<Policy>),
    RemoveOthers,
}

impl Unnumbered {
    fn number(self, sent: impl FnOnce(Task) -> OrderId) -> EngineToXfrm {
        match self {
            Self::Install(name, policy) => EngineToXfrm::InstallPolicy {
                order: sent(Task::InstallPolicy(name)),
                policy: Box::new(Policy::clone(&policy)),
            },
            Self::Remove(name, policy) => EngineToXfrm::RemovePolicy {
                order: sent(Task::RemovePolicy(name)),
                policy: Box::new(Policy::clone(&policy)),
            },
            Self::RemoveOthers => EngineToXfrm::RemoveOtherPolicies {
                order: sent(Task::RemoveOtherPolicies),
            },
        }
    }
}
