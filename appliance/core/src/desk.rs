//! What a tunnel works with: everything of the engine but the tunnels.

use std::collections::{BTreeMap, VecDeque};

use bartizan_model::ids::{NodeId, Reqid};
use bartizan_model::message::PeerMessage;
use bartizan_model::time::BootTime;

use crate::budget::Budget;
use crate::counters::Count;
use crate::lease::{Entropy, Lease, PeerLease};
use crate::orders::{Orders, Task};
use crate::outbox::Outbox;
use crate::qkd::Qkd;
use crate::spis::Spis;

/// How many generations may hold secrets of a key exchange at once. It bounds the locked memory that
/// is in use, and keeps one peer's thousand tunnels from standing before all others.
pub const KEYING_MAX: usize = 128;

/// Offers are still taken up to this many, [`KEYING_MAX`] of them from one peer, so that two ends that
/// both initiate towards others do not wait for each other.
const ANSWERING_MAX: usize = 2 * KEYING_MAX;

/// The engine's parts that tunnels share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) orders: Orders,
    pub(crate) outbox: Outbox,
    pub(crate) qkd: Qkd,
    pub(crate) budget: Budget,
    pub(crate) spis: Spis,
    pub(crate) keying: KeyingRoom,
}

/// One event's view of them.
pub(crate) struct Desk<'a> {
    pub(crate) now: BootTime,
    pub(crate) node: &'a NodeId,
    pub(crate) peer: &'a NodeId,
    pub(crate) lease: Option<&'a Lease>,
    pub(crate) link: Link,
    pub(crate) shared: &'a mut Shared,
    pub(crate) entropy: Entropy<'a>,
}

/// The link to a tunnel's peer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Link {
    /// A connection stands.
    pub(crate) connected: bool,
    /// The peer has shown a live lease on this connection, and we have presented ours.
    pub(crate) granted: bool,
    /// The peer's lease.
    pub(crate) lease: Option<PeerLease>,
    /// When we first presented our lease on this connection: before the peer said anything that
    /// counts.
    pub(crate) presented: Option<BootTime>,
}

/// Two live leases: ours, and the end of the earlier of both.
#[derive(Clone, Copy)]
pub(crate) struct Gate<'a> {
    pub(crate) lease: &'a Lease,
    pub(crate) until: BootTime,
}

impl Link {
    /// Both leases, if they are live.
    pub(crate) fn gate<'a>(&self, lease: Option<&'a Lease>, now: BootTime) -> Option<Gate<'a>> {
        let lease = lease.filter(|lease| now < lease.end())?;
        let peer = self.lease.filter(|peer| peer.is_live(now))?;
        Some(Gate {
            lease,
            until: lease.end().min(peer.end()),
        })
    }
}

impl<'a> Desk<'a> {
    /// Both leases, if they are live.
    pub(crate) fn gate(&self) -> Option<Gate<'a>> {
        self.link.gate(self.lease, self.now)
    }

    pub(crate) fn say(&mut self, message: PeerMessage) {
        self.shared.outbox.say(self.peer, message);
    }

    pub(crate) fn order(&mut self, task: Task) {
        self.shared.orders.push(task);
    }

    pub(crate) fn count(&mut self, count: Count) {
        self.shared.outbox.counters.add(count);
    }
}

/// Who holds secrets of an exchange, and who waits to begin one.
#[derive(Debug, Default)]
pub(crate) struct KeyingRoom {
    active: usize,
    by_peer: BTreeMap<NodeId, usize>,
    waiting: VecDeque<Reqid>,
}

impl KeyingRoom {
    /// Takes a place to initiate.
    pub(crate) fn take(&mut self, peer: &NodeId) -> bool {
        self.take_below(KEYING_MAX, peer)
    }

    /// Takes a place to respond.
    pub(crate) fn take_to_answer(&mut self, peer: &NodeId) -> bool {
        self.by_peer.get(peer).is_none_or(|of| *of < KEYING_MAX)
            && self.take_below(ANSWERING_MAX, peer)
    }

    /// Gives a place back.
    pub(crate) fn give_back(&mut self, peer: &NodeId) {
        self.active = self.active.saturating_sub(1);
        if let Some(of) = self.by_peer.get_mut(peer) {
            *of = of.saturating_sub(1);
            if *of == 0 {
                self.by_peer.remove(peer);
            }
        }
    }

    /// Queues for a place.
    pub(crate) fn wait(&mut self, reqid: Reqid) {
        self.waiting.push_back(reqid);
    }

    /// The next to be told that there is a place.
    pub(crate) fn next(&mut self) -> Option<Reqid> {
        if self.active < KEYING_MAX {
            self.waiting.pop_front()
        } else {
            None
        }
    }

    fn take_below(&mut self, most: usize, peer: &NodeId) -> bool {
        if self.active >= most {
            return false;
        }
        self.active = self.active.saturating_add(1);
        let of = self.by_peer.entry(peer.clone()).or_default();
        *of = of.saturating_add(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_cannot_take_every_place() {
        let node = |name: &str| NodeId::try_from(name).unwrap();
        let mut room = KeyingRoom::default();
        let taken = (0..1000).filter(|_| room.take_to_answer(&node("greedy")));
        assert_eq!(taken.count(), KEYING_MAX);
        assert!(room.take_to_answer(&node("modest")));
        room.give_back(&node("greedy"));
        assert!(room.take_to_answer(&node("greedy")));
    }
}
