//! What the appliance tells about itself: to the controller, to the operator, to the auditor.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{EntryName, Epoch, NodeId, Reqid, SaeId, Spi, TunnelId};
use crate::lifecycle::Lifecycle;
use crate::policy::{Combiner, ParameterSet};
use crate::time::BootTime;

mod budget;
mod link;
mod versions;

pub use budget::{BudgetLevel, BudgetReport, QkdReport};
pub use link::{Latency, LinkCounts, LinkReason, LinkReport, LinkState};
pub use versions::{VERSIONS_MAX, VersionReport, VersionStanding, VersionsReport};

/// One tunnel as it stands.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct TunnelReport {
    /// Its outbound SPD entry.
    pub entry: EntryName,
    /// Its number.
    pub tunnel: TunnelId,
    /// The gateway at the other end.
    pub peer: NodeId,
    /// The reqid of its policies and SAs.
    pub reqid: Reqid,
    /// What it does now.
    pub state: TunnelState,
    /// The generation that sends, if one does.
    pub current: Option<PairReport>,
    /// How often a younger generation took over.
    pub rekeys: u64,
    /// Why the last generation that failed did so; cleared by the next that works.
    pub alarm: Option<Alarm>,
}

/// What a tunnel does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum TunnelState {
    /// The policy stands; no SA pair does, so nothing passes.
    Blocked,
    /// The first generation is coming up; nothing passes.
    Starting,
    /// A pair of SAs protects.
    Protected,
    /// A pair protects and its successor is coming up.
    Rekeying,
}

/// The SA pair that sends.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct PairReport {
    /// Its number.
    pub epoch: Epoch,
    /// Our SPI.
    pub inbound: Spi,
    /// The peer's SPI.
    pub outbound: Spi,
    /// The sources whose shares are in its key; `None` for a pair that was re-adopted.
    pub sources: Option<SourceSet>,
    /// When it switched.
    pub since: BootTime,
}

/// The sources in one key.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct SourceSet {
    /// A QKD key.
    pub qkd: bool,
    /// A KEM shared secret.
    pub kem: bool,
    /// An X25519 shared secret.
    pub classical: bool,
}

impl SourceSet {
    /// No source at all.
    pub const NONE: Self = Self {
        qkd: false,
        kem: false,
        classical: false,
    };
}

/// The sources of a key with their parameters, as the report to the controller words them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    /// The sources.
    pub sources: SourceSet,
    /// The parameter set of the KEM, if it is in.
    pub parameter_set: Option<ParameterSet>,
    /// How they were combined.
    pub combiner: Combiner,
}

/// Why no new generation came up.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Alarm {
    /// No live lease of our own.
    NoLease,
    /// The peer showed no live lease.
    PeerNoLease,
    /// No connection to the peer.
    PeerUnreachable,
    /// The peer refused or abandoned.
    PeerAbandoned,
    /// The peer's offer or answer contradicts the policy.
    PeerMismatch,
    /// The peer's confirmation tag is wrong: the keys differ.
    TagMismatch,
    /// A required QKD key did not come.
    Qkd(QkdRefusal),
    /// A state's deadline passed.
    TimedOut,
    /// The kernel refused an SA.
    Kernel,
    /// Locked memory is used up.
    LockedMemory,
}

/// Why a QKD key was refused or not delivered.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum QkdRefusal {
    /// No connection to the KME.
    Unreachable,
    /// No reply within the deadline.
    TimedOut,
    /// The KME answered 400.
    BadRequest,
    /// The KME answered 401.
    Unauthorized,
    /// The KME answered 503: no key to give.
    Unavailable,
    /// The reply is no such document.
    BadReply,
    /// Another key than asked for.
    WrongKeyId,
    /// A key of another length than asked for.
    WrongLength,
    /// All bytes are zero.
    ZeroKey,
    /// A key seen before.
    RepeatedKey,
    /// Too many orders wait already.
    Busy,
    /// Locked memory is used up.
    LockedMemory,
    /// The link's keys are short, and stay for tunnels that stand before this one.
    Budget,
    /// The peer goes on without one.
    PeerWithout,
}

/// An event that the controller is told at once (and by `get` later, if it asks).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Notice {
    /// A new pair protects.
    Established {
        /// The outbound entry.
        entry: EntryName,
        /// The pair.
        pair: PairReport,
        /// How its key was made.
        mix: Mix,
    },
    /// An SA reached its soft or hard lifetime (RFC 9061, 5.3: `sadb-expire`).
    Expired {
        /// The outbound entry.
        entry: EntryName,
        /// The SA.
        spi: Spi,
        /// Hard: the SA is gone. Soft: a successor is due.
        hard: bool,
    },
    /// No new generation came up.
    Alarm {
        /// The outbound entry.
        entry: EntryName,
        /// Why.
        alarm: Alarm,
    },
    /// The kernel refused to program an entry.
    NotProgrammed {
        /// The entry.
        entry: EntryName,
        /// The kernel's error number.
        errno: i32,
    },
    /// Every order of an accepted edit is carried out.
    Programmed {
        /// How many entries stand.
        entries: u32,
    },
    /// The keys shared with a peer got scarcer, or recovered.
    QkdBudget {
        /// The peer's SAE.
        peer: SaeId,
        /// How scarce they are.
        level: BudgetLevel,
    },
    /// A QKD link got worse, or better.
    QkdLink {
        /// The peer's SAE.
        peer: SaeId,
        /// The KME: the `dNSName` of its certificate.
        kme: NodeId,
        /// What is thought of it.
        state: LinkState,
        /// Why not more.
        reason: Option<LinkReason>,
    },
}

/// How the network that the owner wants stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum NetworkState {
    /// The owner wants none, or there is no owner: the image configures the interfaces.
    #[default]
    Image,
    /// It is written down; the interfaces do not have it yet.
    Written,
    /// The interfaces have it; the controller has yet to be reached over it.
    OnTrial,
    /// The controller was reached over it.
    Settled,
    /// The controller was not reached over it: the one that worked before is back.
    RolledBack,
}

/// Whose a gateway is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct OwnerReport {
    /// The owner's name for this gateway.
    pub node: NodeId,
    /// The epoch of the voucher that the ownership rests on.
    pub epoch: u64,
    /// The name of the owner's controller.
    pub controller: NodeId,
}

/// Why a boot begins in quarantine.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum QuarantineReason {
    /// The LDevID stands, and its policy does not hold: this boot is not an approved one.
    Unapproved,
    /// Something else stands where the LDevID belongs, or a floor that belongs to it is missing.
    ForeignTpm,
    /// The appliance has an owner and the TPM no LDevID: it was cleared or exchanged.
    ClearedTpm,
    /// The TPM holds an LDevID and the appliance knows no owner.
    NoOwnership,
    /// What the appliance knows of its owner cannot be read.
    BrokenOwnership,
}

/// The status as `bartizanctl` shows it; one snapshot.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Whose it is, if anybody's.
    pub owner: Option<OwnerReport>,
    /// Where it stands.
    pub lifecycle: Lifecycle,
    /// Why it stands in quarantine since it booted, if it does.
    pub quarantine: Option<QuarantineReason>,
    /// Whether a session with the controller stands.
    pub home: bool,
    /// How the owner's network stands.
    pub network: NetworkState,
    /// The versions on the box's own disk, where it has one.
    pub versions: Option<VersionsReport>,
    /// Time since boot at which this was written.
    pub at: BootTime,
    /// How long the lease still lives, if there is one.
    pub lease: Option<Duration>,
    /// The tunnels by reqid.
    pub tunnels: Vec<TunnelReport>,
    /// The QKD keys by the peer's SAE.
    pub qkd: Vec<QkdReport>,
    /// What the roles' lock-down achieved, by role.
    pub achieved: Vec<(crate::message::Role, crate::message::Achieved)>,
    /// What was refused or went wrong, by name.
    pub counters: Vec<(String, u64)>,
}
