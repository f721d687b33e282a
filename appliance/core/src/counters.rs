//! What was refused or went wrong, by name.

use std::collections::{BTreeMap, BTreeSet};

/// What is counted.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Count {
    /// A peer said what it may not in that state, or what cannot be.
    PeerRefused,
    /// A peer spoke of what is over or not known here.
    PeerStale,
    /// A peer's lease does not count.
    PeerLeaseRefused,
    /// A peer's link was closed for repeated nonsense.
    PeerClosed,
    /// A peer's tag is wrong.
    TagMismatch,
    /// A lease of our own was refused.
    LeaseRefused,
    /// An order that ends ownership was refused.
    OrderRefused,
    /// A QKD key was refused or not delivered.
    QkdRefused,
    /// A reply to an order that nobody waits for.
    ReplyStale,
    /// The kernel refused an SA, or did not answer.
    SaRefused,
    /// The kernel refused a policy.
    PolicyRefused,
    /// An edit was refused.
    EditRefused,
    /// A packet wanted an SA that does not stand.
    Acquire,
    /// Notices that the controller was too slow to take.
    NoticeDropped,
}

impl Count {
    /// Every name, as it is reported.
    pub const ALL: [(Self, &'static str); 14] = [
        (Self::PeerRefused, "peer-refused"),
        (Self::PeerStale, "peer-stale"),
        (Self::PeerLeaseRefused, "peer-lease-refused"),
        (Self::PeerClosed, "peer-closed"),
        (Self::TagMismatch, "tag-mismatch"),
        (Self::LeaseRefused, "lease-refused"),
        (Self::OrderRefused, "order-refused"),
        (Self::QkdRefused, "qkd-refused"),
        (Self::ReplyStale, "reply-stale"),
        (Self::SaRefused, "sa-refused"),
        (Self::PolicyRefused, "policy-refused"),
        (Self::EditRefused, "edit-refused"),
        (Self::Acquire, "acquire"),
        (Self::NoticeDropped, "notice-dropped"),
    ];

    fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(count, _)| *count == self)
            .map_or("", |(_, name)| name)
    }
}

/// The totals, and which of them the supervisor has not been told.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    totals: BTreeMap<Count, u64>,
    changed: BTreeSet<Count>,
}

impl Counters {
    pub(crate) fn add(&mut self, count: Count) {
        let total = self.totals.entry(count).or_default();
        *total = total.saturating_add(1);
        self.changed.insert(count);
    }

    /// One that has changed, with its total.
    pub(crate) fn take_changed(&mut self) -> Option<(&'static str, u64)> {
        let count = self.changed.pop_first()?;
        Some((
            count.name(),
            self.totals.get(&count).copied().unwrap_or_default(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_is_told_once_for_however_many_events() {
        let mut counters = Counters::default();
        counters.add(Count::PeerStale);
        counters.add(Count::PeerStale);
        assert_eq!(counters.take_changed(), Some(("peer-stale", 2)));
        assert_eq!(counters.take_changed(), None);
    }
}
