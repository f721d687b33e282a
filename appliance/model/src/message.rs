//! The whole vocabulary between the processes: one enum for each direction of each edge.
//!
//! Keys are in no message: they travel in the secret slot beside it. A variant that carries one
//! says so. What a remote said *through* a neighbour is data and may be any value of its type.

use core::time::Duration;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use crate::config::RoleConfig;
use crate::config::{Der, Sources};
use crate::identity::{
    Certified, Credential, Farewell, Floor, KeyName, Log, PcrSelection, Quoted, TpmFound,
    TpmIdentity,
};
use crate::ids::{
    EditId, EntryName, Epoch, KeyId, NodeId, Nonce, OrderId, Reqid, SaeId, Spi, Thumbprint,
    TunnelId,
};
use crate::lifecycle::Lifecycle;
use crate::ownership::Ownership;
use crate::policy::{Direction, DontFragment, Lifetime, Mode, Policy, Suite, TrafficSelector};
use crate::report::{Notice, QkdRefusal, SourceSet, TunnelReport};

/// A part of the appliance with a process of its own.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Decides; holds the keys.
    Engine,
    /// Programs the kernel.
    Xfrm,
    /// Speaks with the controller.
    Control,
    /// Speaks with the peer gateways.
    Peer,
    /// Speaks with the KME.
    Qkd,
    /// Speaks with the TPM.
    Tpm,
    /// Finds the owner and enrols.
    Bootstrap,
}

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
    /// Bootstrap: the LDevID is stored; this is the owner.
    Enrolled(Box<Ownership>),
    /// Engine: the owner's order is genuine and for this box.
    Ordered(Farewell),
    /// Tpm: the owner's keys are gone.
    Gone(Farewell),
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
    /// It rests on no attestation and the configuration asks for one.
    Unattested,
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

/// What gateways say to each other; also the wire form (postcard) of the peer link.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum PeerMessage {
    /// The sender's lease (RFC 9334, 5.1: passport), at most 6 KiB.
    Lease(Vec<u8>),
    /// What of a tunnel stands at the sender: after each connect, and when it takes the tunnel on.
    Resume {
        /// The tunnel.
        tunnel: TunnelId,
        /// The highest epoch that the sender knows of.
        last: Epoch,
        /// Its generations with an SA: at most three, or, after a restart, at most six single SAs.
        generations: Vec<Standing>,
        /// Whether it replies to the receiver's own; if not, it asks for a reply.
        reply: bool,
    },
    /// The responder asks the initiator for a new generation.
    RekeyWanted {
        /// The tunnel.
        tunnel: TunnelId,
        /// The epoch that is to be replaced.
        epoch: Epoch,
    },
    /// The initiator's half.
    Offer(Box<Offer>),
    /// The responder's half.
    Answer(Box<Answer>),
    /// The sender derived the key: its tag.
    Confirm {
        /// The tunnel.
        tunnel: TunnelId,
        /// The generation.
        epoch: Epoch,
        /// HMAC-SHA-384 under the sender's confirmation key, cut to 32 bytes.
        tag: [u8; 32],
    },
    /// The sender takes packets under its inbound SA.
    InboundStands {
        /// The tunnel.
        tunnel: TunnelId,
        /// The generation.
        epoch: Epoch,
        /// For so many seconds at least, from when this was sent.
        seconds: u64,
    },
    /// The sender wants to send for longer than the receiver's inbound SA stands: extend it if the
    /// leases allow, and in any case say [`PeerMessage::InboundStands`] again.
    ExtendWanted {
        /// The tunnel.
        tunnel: TunnelId,
        /// The generation.
        epoch: Epoch,
    },
    /// The sender sends under this epoch and no older one.
    Switched {
        /// The tunnel.
        tunnel: TunnelId,
        /// The generation.
        epoch: Epoch,
    },
    /// The sender never sends under this epoch.
    Abandoned {
        /// The tunnel.
        tunnel: TunnelId,
        /// The generation.
        epoch: Epoch,
    },
}

/// Who speaks: bound into the transcript, so that nothing can be mirrored.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Side {
    /// The lower node id.
    Initiator,
    /// The higher node id.
    Responder,
}

/// The initiator's half of a generation.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// The tunnel.
    pub tunnel: TunnelId,
    /// The generation.
    pub epoch: Epoch,
    /// Always [`Side::Initiator`].
    pub side: Side,
    /// Fresh for this offer.
    pub nonce: Nonce,
    /// The initiator's inbound SPI.
    pub spi: Spi,
    /// The sources that the initiator has.
    pub sources: SourceSet,
    /// FIPS 203 encapsulation key; empty without the KEM.
    pub encapsulation_key: Vec<u8>,
    /// X25519 public key, 32 bytes; empty without the classical source.
    pub public_key: Vec<u8>,
    /// The QKD key that both take.
    pub qkd_key: Option<KeyId>,
}

/// The responder's half of a generation.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The tunnel.
    pub tunnel: TunnelId,
    /// The generation.
    pub epoch: Epoch,
    /// Always [`Side::Responder`].
    pub side: Side,
    /// Fresh for this answer.
    pub nonce: Nonce,
    /// The responder's inbound SPI.
    pub spi: Spi,
    /// The sources that both have: what the key is made of.
    pub sources: SourceSet,
    /// FIPS 203 ciphertext; empty without the KEM.
    pub ciphertext: Vec<u8>,
    /// X25519 public key, 32 bytes; empty without the classical source.
    pub public_key: Vec<u8>,
    /// The QKD key in use, if any.
    pub qkd_key: Option<KeyId>,
}

/// One generation in [`PeerMessage::Resume`]; one without an SA is not named, for it ended with the
/// connection that it began on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Its number; 0 where a restart lost it.
    pub epoch: Epoch,
    /// How far it came.
    pub stage: Stage,
    /// The SPI of the sender's inbound SA, if that stands.
    pub inbound: Option<Spi>,
    /// The SPI of the sender's outbound SA, if that may stand.
    pub outbound: Option<Spi>,
    /// How many seconds the inbound SA stands at least, from when this was sent.
    pub seconds: u64,
}

/// How far a generation came, as the peer must know it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Stage {
    /// The inbound SA stands, and the sender may yet send: it holds the key, or its outbound SA is
    /// on its way into the kernel or out again.
    InboundStands,
    /// The sender sends.
    Switched,
    /// The sender does not send under it, nor will it; the inbound SA takes what comes.
    Draining,
}

/// Orders to the KME link.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum EngineToQkd {
    /// Get a fresh key to share with this SAE (ETSI GS QKD 014, 6.2: `enc_keys`).
    NewKey {
        /// Repeated in the reply.
        order: OrderId,
        /// The peer's SAE.
        peer: SaeId,
    },
    /// Get the key that this SAE named (`dec_keys`).
    SameKey {
        /// Repeated in the reply.
        order: OrderId,
        /// The peer's SAE.
        peer: SaeId,
        /// Its name.
        key: KeyId,
    },
    /// The answer is no longer wanted.
    Cancel(OrderId),
}

/// Replies of the KME link.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum QkdToEngine {
    /// The key (32 bytes) is in the secret slot.
    Key {
        /// Which order.
        order: OrderId,
        /// Its name.
        key: KeyId,
    },
    /// There is none.
    Refused {
        /// Which order.
        order: OrderId,
        /// Why.
        reason: QkdRefusal,
    },
}

/// Orders to the TPM; which role may say what is a table in the tpm role.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum ToTpm {
    /// Sign a digest.
    Sign {
        /// Repeated in the reply.
        order: OrderId,
        /// With which key.
        key: KeyName,
        /// Of the message: 32 bytes for a P-256 key, 48 for a P-384 one.
        digest: Vec<u8>,
    },
    /// Describe the TPM and its keys.
    Identity(OrderId),
    /// Make an LDevID key under the policy of this boot, in the place of one that was not kept.
    CreateLdevid {
        /// Repeated in the reply.
        order: OrderId,
        /// `qualifyingData` of `TPM2_Certify`.
        qualifying: [u8; 32],
    },
    /// Keep the LDevID key that was made last.
    KeepLdevid(OrderId),
    /// Open a credential for the attestation key and prove it (`TPM2_ActivateCredential`).
    Activate {
        /// Repeated in the reply.
        order: OrderId,
        /// The credential.
        credential: Credential,
        /// What the proof is over.
        context: [u8; 32],
    },
    /// Quote PCRs of the SHA-256 bank with the attestation key.
    Quote {
        /// Repeated in the reply.
        order: OrderId,
        /// `qualifyingData`, 16 to 64 bytes.
        qualifying: Vec<u8>,
        /// Which PCRs.
        pcrs: PcrSelection,
    },
    /// Read a part of a log.
    ReadLog {
        /// Repeated in the reply.
        order: OrderId,
        /// Which log.
        log: Log,
        /// Its first byte.
        offset: u32,
    },
    /// Raise a floor; one that is as high stays.
    RaiseFloor {
        /// Repeated in the reply.
        order: OrderId,
        /// Which floor.
        floor: Floor,
        /// To what.
        to: u64,
    },
}

/// Replies of the TPM.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum FromTpm {
    /// The signature.
    Signature {
        /// Which order.
        order: OrderId,
        /// DER `Ecdsa-Sig-Value` (RFC 3279, 2.2.3), at most 104 bytes.
        signature: Vec<u8>,
    },
    /// The TPM and its keys.
    Identity {
        /// Which order.
        order: OrderId,
        /// The description.
        identity: Box<TpmIdentity>,
    },
    /// The LDevID key, not kept yet.
    Ldevid {
        /// Which order.
        order: OrderId,
        /// The key and the attestation key's word on it.
        certified: Box<Certified>,
    },
    /// The order is carried out: the LDevID key is kept, the floor raised.
    Done(OrderId),
    /// HMAC-SHA-256 under the credential's secret over the context: nobody else sees the secret.
    Activated {
        /// Which order.
        order: OrderId,
        /// The proof.
        proof: [u8; 32],
    },
    /// The quote.
    Quoted {
        /// Which order.
        order: OrderId,
        /// The quote and the values.
        quoted: Box<Quoted>,
    },
    /// A part of a log.
    LogPart {
        /// Which order.
        order: OrderId,
        /// At most 8 KiB; empty at the end, and where there is no such log.
        bytes: Vec<u8>,
        /// The whole log's size as it is now, in bytes.
        size: u32,
    },
    /// The asking role may not, in this state.
    NotPermitted(OrderId),
    /// The TPM did not.
    Failed {
        /// Which order.
        order: OrderId,
        /// Its response code.
        code: u32,
    },
}
