//! What leads a gateway from what it runs to what it should.

use std::collections::{BTreeMap, BTreeSet};

use bartizan_model::ids::EntryName;
use bartizan_model::policy::Policy;

/// The edit that is needed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// None: both are the same.
    Nothing,
    /// Entries go, change or are added at the end.
    Change {
        /// The entries that go.
        remove: Vec<EntryName>,
        /// The entries that change, and the new ones in their order.
        put: Vec<Policy>,
    },
    /// Entries change places: the whole list is sent. What stays the same is not disturbed by it.
    Replace,
}

/// Compares two lists of entries; their order counts, the numbers of their priorities do not.
pub fn step(running: &[Policy], desired: &[Policy]) -> Step {
    let wanted: BTreeSet<_> = desired.iter().map(|policy| &policy.name).collect();
    let standing: BTreeMap<_, _> = running
        .iter()
        .map(|policy| (&policy.name, policy))
        .collect();

    let stays = running
        .iter()
        .filter(|policy| wanted.contains(&policy.name));
    let new = desired
        .iter()
        .filter(|policy| !standing.contains_key(&policy.name));
    let order = stays.chain(new).map(|policy| &policy.name);
    if !order.eq(desired.iter().map(|policy| &policy.name)) {
        return Step::Replace;
    }

    let gone = standing.keys().filter(|name| !wanted.contains(*name));
    let remove: Vec<EntryName> = gone.map(|name| EntryName::clone(name)).collect();
    let differs = |policy: &&Policy| {
        standing
            .get(&policy.name)
            .is_none_or(|standing| !same(standing, policy))
    };
    let put: Vec<Policy> = desired.iter().filter(differs).cloned().collect();
    if remove.is_empty() && put.is_empty() {
        Step::Nothing
    } else {
        Step::Change { remove, put }
    }
}

/// Splits entries in two about equal parts without parting a tunnel; `None` for a single tunnel.
pub fn halves(entries: &[Policy]) -> Option<(&[Policy], &[Policy])> {
    let middle = entries.len() / 2;
    let (first, second) = entries.split_at_checked(middle)?;
    let last = first.last()?;
    let rest = second.iter().position(|entry| entry.reqid != last.reqid)?;
    entries.split_at_checked(middle.saturating_add(rest))
}

fn same(one: &Policy, other: &Policy) -> bool {
    let Policy {
        name,
        priority: _,
        direction,
        reqid,
        selector,
        action,
    } = one;
    *name == other.name
        && *direction == other.direction
        && *reqid == other.reqid
        && *selector == other.selector
        && *action == other.action
}
