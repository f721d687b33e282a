//! What gateways say to each other.

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, KeyId, Nonce, Spi, StreamName, TunnelId};
use crate::report::SourceSet;

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
    /// The sender takes keys from this stream (ETSI GS QKD 004): the receiver's KME must join it.
    /// After each connect, and when there is another one.
    Stream(StreamName),
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
