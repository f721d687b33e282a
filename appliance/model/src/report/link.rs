//! What a QKD link tells about itself.

use serde::{Deserialize, Serialize};

use crate::config::KmeInterface;
use crate::ids::{KmeText, NodeId, SaeId};

/// The link to one peer through one KME, as it stands: told when it changes, at most once a second.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct LinkReport {
    /// The KME: the `dNSName` of its certificate.
    pub kme: NodeId,
    /// The peer's SAE.
    pub peer: SaeId,
    /// What is spoken with the KME.
    pub interface: KmeInterface,
    /// What is thought of it.
    pub state: LinkState,
    /// Why not more; nothing for a healthy one.
    pub reason: Option<LinkReason>,
    /// What the KME said last when it refused, shortened.
    pub said: Option<KmeText>,
    /// Keys that wait at the KME for this pair, as it said last; an 004 KME does not say.
    pub stored_keys: Option<u32>,
    /// Keys of 32 bytes that wait in this gateway.
    pub prefetched: u32,
    /// Keys of 32 bytes that the link brings an hour: 014, by what was taken and by what is stored;
    /// 004, by the quality of service that was agreed on. Nothing while that is not known.
    pub rate: Option<u32>,
    /// How long requests took lately; nothing before the first.
    pub latency: Option<Latency>,
    /// What became of it all, since the role started.
    pub counts: LinkCounts,
}

/// How long requests took, in whole milliseconds, over the last 64.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50: u32,
    /// 99 in 100 of them took no longer.
    pub p99: u32,
}

/// What is thought of a link, in the order in which it gets worse.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// Nothing is known against it.
    Healthy,
    /// It is used, and another KME before it if there is one.
    Degraded,
    /// It is not used but for a trial now and then.
    Refused,
}

/// Why a link is not healthy.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkReason {
    /// No connection to the KME.
    Unreachable,
    /// The KME does not know this gateway, or does not serve this pair.
    Unauthorized,
    /// The KME has no keys.
    Exhausted,
    /// Its answers come late or not at all.
    Slow,
    /// Its answers cannot be read, or refuse what is right.
    BadReplies,
    /// Keys that came before.
    RepeatedKeys,
    /// Keys of zeros.
    ZeroKeys,
    /// Keys of another length.
    ShortKeys,
    /// Other keys than asked for.
    OutOfOrder,
    /// The peer makes no use of the keys that this gateway names: its side of the link fails.
    PeerWithout,
    /// The metadata say that keys are older than the link: one end's clock is wrong, or they are
    /// recorded.
    Stale,
}

/// What became of a link's requests and keys, each since the role started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct LinkCounts {
    /// Keys handed to the engine.
    pub given: u64,
    /// Requests that brought none.
    pub failed: u64,
    /// Keys of zeros.
    pub zero: u64,
    /// Keys that came before.
    pub repeated: u64,
    /// Keys of another length.
    pub short: u64,
    /// Other keys than asked for.
    pub out_of_order: u64,
    /// Keys that this gateway named and the peer did not use.
    pub unused: u64,
    /// Prefetched keys that were wiped: too old, or the link failed.
    pub wasted: u64,
}
