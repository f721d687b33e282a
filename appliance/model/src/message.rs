//! The whole vocabulary between the processes: one enum for each direction of each edge.
//!
//! Keys are in no message: they travel in the secret slot beside it. A variant that carries one
//! says so. What a remote said *through* a neighbour is data and may be any value of its type.

use core::time::Duration;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use crate::config::RoleConfig;
use crate::config::{Der, Sources};
use crate::identity::{Farewell, TpmFound};
use crate::ids::{EditId, EntryName, NodeId, Nonce, OrderId, Reqid, SaeId, Spi, Thumbprint};
use crate::lifecycle::Lifecycle;
pub use crate::message::peer::{Answer, Offer, PeerMessage, Side, Stage, Standing};
pub use crate::message::qkd::{EngineToQkd, QkdToEngine};
pub use crate::message::role::Role;
pub use crate::message::tpm::{FromTpm, ToTpm};
use crate::ownership::Ownership;
use crate::policy::{Direction, DontFragment, Lifetime, Mode, Policy, Suite, TrafficSelector};
use crate::report::{NetworkState, Notice, QkdReport, TunnelReport, VersionsReport};
use crate::time::{KnownTime, OwnerMoment};

mod peer;
mod qkd;
mod role;
mod tpm;

/// A pair of neighbours.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Edge {
    /// [`ControlToEngine`], [`EngineToControl`].
    ControlEngine,
    /// [`EngineToXfrm`], [`XfrmToEngine`].
    EngineXfrm,
    /// [`EngineToPeer`], [`PeerToEngine`].
    EnginePeer,
    /// [`EngineToQkd`], [`QkdToEngine`].
    EngineQkd,
    /// [`ToTpm`], [`FromTpm`].
    ControlTpm,
    /// [`ToTpm`], [`FromTpm`].
    PeerTpm,
    /// [`ToTpm`], [`FromTpm`].
    QkdTpm,
    /// [`ToTpm`], [`FromTpm`].
    BootstrapTpm,
}

impl Edge {
    /// The most bytes that a message of this edge has, the secret slot not counted.
    pub const fn cap(self) -> usize {
        match self {
            Self::EngineQkd => 1024,
            Self::EngineXfrm => 4 * 1024,
            Self::EnginePeer => 8 * 1024,
            Self::ControlEngine | Self::ControlTpm | Self::PeerTpm | Self::QkdTpm => 16 * 1024,
            // An identity has up to a dozen certificates.
            Self::BootstrapTpm => 64 * 1024,
        }
    }
}

/// The most bytes of a message between the supervisor and a role.
pub const SUPERVISOR_CAP: usize = 64 * 1024;

/// From the supervisor to any role.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum SupervisorToRole {
    /// The role's end of this edge is the file descriptor passed beside it.
    End(Edge),
    /// Lock-down is accepted: begin. For control a file descriptor may be passed beside it.
    Start(RoleConfig),
    /// The appliance's state has changed.
    Lifecycle(Lifecycle),
    /// Control and peer: the LDevID certificate was renewed, over the same key; for the handshakes
    /// from now on.
    Ldevid(Vec<Der>),
    /// Tpm: the owner's keys go.
    Farewell(Farewell),
    /// Bootstrap: what it may look at has changed.
    Sources(Box<Sources>),
    /// What is known of the owner's time: to every role before its start, and to those that judge
    /// certificates whenever a lease shows it anew.
    Time(KnownTime),
    /// Bootstrap: the ownership is on the disk, so that the TPM may keep the LDevID.
    KeepLdevid,
    /// Tpm: this image works, so none of an earlier rollback epoch counts from now on.
    RaiseRollback(u64),
    /// Control: how the owner's network stands, after its start and whenever that changes.
    Network(NetworkState),
    /// Control: the interfaces have another network. Leave the session and call again.
    CallAnew,
}

/// From any role to the supervisor.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum RoleToSupervisor {
    /// The role has locked itself down, this far.
    LockedDown(Achieved),
    /// Engine: a lease was accepted and lives this long.
    LeaseAccepted(Duration),
    /// Engine: no lease is live; keys are wiped and SAs removed.
    LeaseLost,
    /// Engine: whether any tunnel's policy stands.
    PolicyInForce(bool),
    /// Engine: a tunnel changed.
    Tunnel(Box<TunnelReport>),
    /// Engine: a tunnel is gone.
    TunnelGone(Reqid),
    /// Any role: what it counts under this name, in all.
    Counted {
        /// What is counted: a constant of the role.
        name: String,
        /// How often it happened since the role started.
        total: u64,
    },
    /// Control: the keyless copy of `running` is the sealed memfd passed beside it.
    Running,
    /// Control: whether a session with the controller stands.
    Home(bool),
    /// Control: the controller renewed the LDevID certificate; the leaf first.
    Ldevid(Vec<Der>),
    /// Tpm: what it found, once, as its first word after it was started.
    Found(TpmFound),
    /// Bootstrap: a voucher and signed data for this box were accepted.
    OwnerFound,
    /// Bootstrap: this is the owner, who has certified the LDevID; the TPM keeps it when the
    /// ownership is on the disk.
    Enrolled(Box<Ownership>),
    /// Engine: the owner's order is genuine and for this box.
    Ordered(Farewell),
    /// Tpm: the owner's keys are gone.
    Gone(Farewell),
    /// Engine: the owner's clock, as a lease that counts has shown it.
    OwnerTime(OwnerMoment),
    /// Bootstrap: the TPM keeps the LDevID.
    LdevidKept,
    /// Engine: the keys shared with a peer, or their links, are not what they were.
    Qkd(Box<QkdReport>),
    /// Engine: no tunnel uses keys shared with this peer any more.
    QkdGone(SaeId),
    /// Tpm: the answer to the order to raise the rollback floor. Where it stands, or nothing if the
    /// TPM did not do it.
    RollbackFloor(Option<u64>),
    /// Control: every session that it tells of from here on began after the order to call anew.
    CallingAnew,
    /// Updater: the versions on the disk, after its start and whenever one stands otherwise.
    Versions(Box<VersionsReport>),
    /// Updater: the version has not proven itself in time, and another one has: start anew.
    Overdue,
}

/// What a role's lock-down achieved.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent fact"
)]
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Achieved {
    /// Landlock ABI that is enforced; 0 is none.
    pub landlock: u8,
    /// A seccomp filter is in force.
    pub seccomp: bool,
    /// `no_new_privs` is set.
    pub no_new_privs: bool,
    /// The process cannot be dumped or traced.
    pub undumpable: bool,
    /// The effective, permitted, inheritable and ambient sets hold nothing but what the role's row
    /// grants.
    pub capabilities: bool,
    /// What backs the secrets.
    pub memory: Memory,
}

/// What backs the locked slots.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Memory {
    /// Pages out of the kernel's own map (`memfd_secret`).
    Secret,
    /// Pages locked in RAM (`mlock`).
    Locked,
    /// The role holds no secret.
    NoSecrets,
}

/// Steering, from the controller's side.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum ControlToEngine {
    /// An edit begins; what of an unfinished one came before is forgotten.
    BeginEdit(EditId),
    /// The same, for the `running` of before a restart: it counts without a lease, but only as the
    /// first edit of the engine's life.
    BeginRestore(EditId),
    /// The edit adds or replaces an entry.
    Put(Box<Policy>),
    /// The edit takes an entry out.
    Remove(EntryName),
    /// The edit is whole: check it, then apply all of it or nothing.
    CommitEdit(EditId),
    /// The verifier's signed result, at most 8 KiB.
    Lease(Vec<u8>),
    /// The owner's signed order that ends ownership, at most 8 KiB.
    Order(Vec<u8>),
}

/// Answers and progress, towards the controller.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum EngineToControl {
    /// The nonce that the next lease must carry.
    LeaseNonce(Nonce),
    /// The edit stands; the kernel follows.
    EditAccepted(EditId),
    /// Nothing of the edit stands.
    EditRefused {
        /// The edit.
        edit: EditId,
        /// The entry at fault.
        entry: EntryName,
        /// What is wrong with it.
        reason: EditRefusal,
    },
    /// The lease counts, for this long.
    LeaseAccepted(Duration),
    /// The lease does not count.
    LeaseRefused(LeaseRefusal),
    /// The order counts.
    OrderAccepted,
    /// The order does not count.
    OrderRefused(LeaseRefusal),
    /// A tunnel changed.
    Tunnel(Box<TunnelReport>),
    /// A tunnel is gone.
    TunnelGone(Reqid),
    /// Something that the controller is told.
    Notice(Box<Notice>),
    /// The keys shared with a peer, or their links, are not what they were.
    Qkd(Box<QkdReport>),
    /// No tunnel uses keys shared with this peer any more.
    QkdGone(SaeId),
}

/// Why the engine refuses an edit that is well-formed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum EditRefusal {
    /// Entries of one direction share a reqid.
    ReqidTaken,
    /// Entries of one direction share a selector, or two would let each other's forwarded packets
    /// pass: the kernel keeps one policy a selector, whatever its priority.
    SelectorTaken,
    /// An inbound and an outbound entry share a reqid and are not each other's mirror.
    NotMirrored,
    /// A tunnel id is used twice with one peer.
    TunnelTaken,
    /// A protect entry has no counterpart in the other direction.
    HalfTunnel,
    /// The peer is this gateway.
    PeerIsSelf,
    /// One peer with two addresses, ways to dial or SAE ids.
    PeerContradicts,
    /// More entries than the gateway holds.
    TooMany,
    /// No live lease: nothing may be steered (app-tag `not-attested`).
    NotAttested,
    /// A tunnel names no source of keys.
    NoSource,
    /// No edit of this number was begun; `entry` says nothing.
    NotBegun,
}

/// Why the engine refuses a lease.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum LeaseRefusal {
    /// Not a lease at all.
    Malformed,
    /// One of the two signatures is missing, of another key or wrong.
    Signature,
    /// For another gateway's LDevID.
    OtherDevice,
    /// Not the outstanding nonce.
    Nonce,
    /// `exp` is not after `iat`, or too far.
    Times,
    /// The verifier's result is not affirming.
    Status,
}

/// Orders to the kernel.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum EngineToXfrm {
    /// Program an entry, replacing one with the same selector.
    InstallPolicy {
        /// Repeated in the reply.
        order: OrderId,
        /// The entry.
        policy: Box<Policy>,
    },
    /// Take an entry out.
    RemovePolicy {
        /// Repeated in the reply.
        order: OrderId,
        /// The entry as installed.
        policy: Box<Policy>,
    },
    /// Take out every protect and discard policy that no order of this start has installed.
    RemoveOtherPolicies {
        /// Repeated in the reply.
        order: OrderId,
    },
    /// Add an SA; its key (salt last) is in the secret slot.
    InstallSa {
        /// Repeated in the reply.
        order: OrderId,
        /// The SA.
        sa: Box<SaInstall>,
    },
    /// Give an SA that stands a later hard end.
    ExtendSa {
        /// Repeated in the reply.
        order: OrderId,
        /// The SA as installed, with the limits it has from now on; `hard.seconds` counts from now.
        sa: Box<SaInstall>,
    },
    /// Take an SA out.
    RemoveSa {
        /// Repeated in the reply.
        order: OrderId,
        /// Which.
        sa: SaId,
    },
    /// Take all SAs out.
    RemoveAllSas {
        /// Repeated in the reply.
        order: OrderId,
    },
    /// List the SAs that stand.
    ListSas {
        /// Repeated in the reply.
        order: OrderId,
    },
}

/// An SA's name in the kernel.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct SaId {
    /// Its number at the receiver.
    pub spi: Spi,
    /// The receiver's address.
    pub destination: IpAddr,
}

/// Everything of an SA but its key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct SaInstall {
    /// Its name.
    pub id: SaId,
    /// The sender's address.
    pub source: IpAddr,
    /// Inbound or outbound here.
    pub direction: Direction,
    /// The tunnel's.
    pub reqid: Reqid,
    /// Tunnel or transport.
    pub mode: Mode,
    /// The outer header's Don't Fragment bit.
    pub df: DontFragment,
    /// What it may carry, checked by the kernel in transport mode.
    pub selector: TrafficSelector,
    /// The algorithms.
    pub suite: Suite,
    /// In packets.
    pub replay_window: u32,
    /// When the kernel reports that it ends; seconds count from the installation.
    pub soft: Lifetime,
    /// When the kernel ends it; seconds count from the installation.
    pub hard: Lifetime,
}

/// An SA that the kernel listed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct SaListed {
    /// Its name.
    pub id: SaId,
    /// The sender's address.
    pub source: IpAddr,
    /// The tunnel's.
    pub reqid: u32,
    /// Seconds since it was added.
    pub age: u64,
    /// Seconds until the kernel ends it; `None` is never.
    pub remaining: Option<u64>,
}

/// Replies and events of the kernel.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum XfrmToEngine {
    /// The order is carried out.
    Done(OrderId),
    /// It is not.
    Refused {
        /// Which order.
        order: OrderId,
        /// The kernel's error number, positive; 0 where the kernel was not asked.
        errno: i32,
    },
    /// It is not known whether it is: the kernel gave no answer.
    Unknown(OrderId),
    /// A part of the list, at most 32 SAs.
    Listed {
        /// Which order.
        order: OrderId,
        /// The SAs.
        sas: Vec<SaListed>,
        /// Whether this is the last part.
        last: bool,
    },
    /// The kernel reports a lifetime.
    Expired {
        /// The SA.
        sa: SaId,
        /// Whose it is.
        reqid: u32,
        /// Hard: the SA is gone.
        hard: bool,
    },
    /// A packet wants an SA that does not stand.
    Acquire {
        /// The policy's reqid.
        reqid: u32,
    },
}

/// Orders to the peer links.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum EngineToPeer {
    /// Keep a link with this node; replaces an earlier word on it.
    Link(PeerLink),
    /// No tunnel needs the link any more.
    Unlink(NodeId),
    /// Say this to the node; dropped where no link stands.
    Send {
        /// The node.
        to: NodeId,
        /// What to say.
        message: Box<PeerMessage>,
    },
    /// The node repeats itself in nonsense: close its link, and wait before the next.
    Close(NodeId),
}

/// A peer and how to reach it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct PeerLink {
    /// The node that its certificate must name.
    pub node: NodeId,
    /// Where it listens.
    pub address: std::net::SocketAddr,
    /// Whether we open the connection.
    pub dials: bool,
}

/// Events of the peer links.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum PeerToEngine {
    /// A link stands; whatever an older one carried is over.
    Connected {
        /// The node of the certificate.
        node: NodeId,
        /// The certificate's key, which the node's lease must name.
        ldevid: Thumbprint,
    },
    /// The link is gone.
    Disconnected(NodeId),
    /// The node said this.
    Received {
        /// The node of the certificate.
        from: NodeId,
        /// What it said: data, whatever it is.
        message: Box<PeerMessage>,
    },
}
