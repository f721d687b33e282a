//! A peer gateway: its link, its lease, its tunnels, its patience with us and ours with it.

use core::time::Duration;
use std::collections::BTreeMap;

use bartizan_model::ids::{NodeId, Reqid, Thumbprint, TunnelId};
use bartizan_model::message::PeerLink;
use bartizan_model::policy::{Dial, Keying};
use bartizan_model::time::BootTime;

use crate::desk::Link;
use crate::words::Heard;

/// The most nonsense that a peer may say within [`REFUSALS_SPAN`].
pub const NONSENSE_MAX: u32 = 32;

/// The most stale words that a peer may say within [`REFUSALS_SPAN`], beside [`STALE_PER_TUNNEL`].
const STALE_MAX: u32 = 32;

/// How many words an honest peer may say too late about one tunnel.
const STALE_PER_TUNNEL: u32 = 8;

/// The time over which refusals are counted.
pub const REFUSALS_SPAN: Duration = Duration::from_mins(1);

/// One peer.
#[derive(Debug)]
pub(crate) struct Peer {
    /// How it is reached.
    pub(crate) how: PeerLink,
    /// The key that it proved on the link.
    pub(crate) ldevid: Option<Thumbprint>,
    pub(crate) link: Link,
    pub(crate) tunnels: BTreeMap<TunnelId, Reqid>,
    refusals: Refusals,
}

/// What was refused lately.
#[derive(Clone, Copy, Debug, Default)]
struct Refusals {
    since: BootTime,
    nonsense: u32,
    stale: u32,
}

impl Peer {
    /// A peer without a link.
    pub(crate) fn new(how: PeerLink) -> Self {
        Self {
            how,
            ldevid: None,
            link: Link::default(),
            tunnels: BTreeMap::new(),
            refusals: Refusals::default(),
        }
    }

    /// Counts a refusal; true if it is one too many.
    pub(crate) fn refuses(&mut self, heard: Heard, now: BootTime) -> bool {
        if now.since(self.refusals.since) >= REFUSALS_SPAN {
            self.refusals = Refusals {
                since: now,
                ..Refusals::default()
            };
        }
        let refusals = &mut self.refusals;
        match heard {
            Heard::Taken => {}
            Heard::Stale => refusals.stale = refusals.stale.saturating_add(1),
            Heard::Nonsense => refusals.nonsense = refusals.nonsense.saturating_add(1),
        }
        let tunnels = u32::try_from(self.tunnels.len()).unwrap_or(u32::MAX);
        let stale_max = STALE_MAX.saturating_add(tunnels.saturating_mul(STALE_PER_TUNNEL));
        let too_many = refusals.nonsense > NONSENSE_MAX || refusals.stale > stale_max;
        if too_many {
            *refusals = Refusals {
                since: now,
                ..Refusals::default()
            };
        }
        too_many
    }
}

/// How a tunnel's peer is reached from this node.
pub(crate) fn how(node: &NodeId, keying: &Keying) -> PeerLink {
    let lower = *node < keying.peer;
    PeerLink {
        node: keying.peer.clone(),
        address: keying.peer_address,
        dials: match keying.dial {
            Dial::Lower => lower,
            Dial::Higher => !lower,
        },
    }
}
