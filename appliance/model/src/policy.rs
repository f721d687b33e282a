//! SPD entries as the gateway programs them: a [`Policy`] is a checked one.
//!
//! A tunnel is one outbound and one inbound [`Policy`] with the same reqid. What the controller's
//! document allows and this module cannot say, the kernel is not asked to do: it is refused with
//! the path of the leaf.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::ids::{EntryName, NodeId, Reqid, SaeId, TunnelId};

/// One SPD entry (RFC 9061, 5.1: `spd-entry`).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// The controller's name of the entry, returned verbatim.
    pub name: EntryName,
    /// Its place among the entries; lower is looked at first.
    pub priority: u32,
    /// Which way its packets go.
    pub direction: Direction,
    /// Binds the entry to its SAs.
    pub reqid: Reqid,
    /// Which packets it is about.
    pub selector: TrafficSelector,
    /// What happens to them.
    pub action: Action,
}

/// The way of a packet, seen from this gateway.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Direction {
    /// Towards this gateway, for itself or to be forwarded.
    Inbound,
    /// Away from this gateway.
    Outbound,
}

/// What happens to a packet that the selector matches. There is no bypass: nothing that a
/// controller sends opens a way in clear.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Dropped.
    Discard,
    /// ESP, or dropped while there is no SA.
    Protect(Box<Protect>),
}

/// Which packets (RFC 9061, 5.1: `traffic-selector`); local and remote as this gateway sees them.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct TrafficSelector {
    /// Addresses on this side.
    pub local: Prefix,
    /// Addresses on the other side, of the same family.
    pub remote: Prefix,
    /// The protocol above IP; `None` is any.
    pub protocol: Option<u8>,
    /// TCP, UDP or SCTP port on this side; `None` is any.
    pub local_port: Option<u16>,
    /// The same on the other side.
    pub remote_port: Option<u16>,
}

/// An address prefix with no bit set beyond its length.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "(IpAddr, u8)", into = "(IpAddr, u8)")]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// No such prefix.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PrefixError {
    /// More bits than an address of the family has.
    #[error("a prefix is longer than its address")]
    Length,
    /// A bit is set beyond the prefix's length.
    #[error("an address has bits set beyond its prefix length")]
    HostBits,
}

impl Prefix {
    /// Every IPv4 address.
    pub const ANY_V4: Self = Self {
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        length: 0,
    };

    /// Every IPv6 address.
    pub const ANY_V6: Self = Self {
        address: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        length: 0,
    };

    /// Checks a prefix.
    ///
    /// # Errors
    ///
    /// [`PrefixError`] if `length` passes the family's or a host bit is set.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, PrefixError> {
        let (bits, width) = match address {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32_u8),
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        };
        let host = width.checked_sub(length).ok_or(PrefixError::Length)?;
        let mask = 1_u128
            .checked_shl(u32::from(host))
            .map_or(u128::MAX, |bit| bit.saturating_sub(1));
        if bits & mask != 0 {
            return Err(PrefixError::HostBits);
        }
        Ok(Self { address, length })
    }

    /// The prefix of one address alone.
    pub fn host(address: IpAddr) -> Self {
        let length = if address.is_ipv4() { 32 } else { 128 };
        Self { address, length }
    }

    /// Its lowest address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Its length in bits.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Says whether it holds exactly one address.
    pub fn is_host(self) -> bool {
        self == Self::host(self.address)
    }
}

impl TryFrom<(IpAddr, u8)> for Prefix {
    type Error = PrefixError;

    fn try_from((address, length): (IpAddr, u8)) -> Result<Self, PrefixError> {
        Self::new(address, length)
    }
}

impl From<Prefix> for (IpAddr, u8) {
    fn from(prefix: Prefix) -> Self {
        (prefix.address, prefix.length)
    }
}

impl core::fmt::Display for Prefix {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// How matching packets are protected.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Protect {
    /// Tunnel or transport mode.
    pub mode: Mode,
    /// This gateway's address in the outer header.
    pub local: IpAddr,
    /// The peer's address in the outer header, of the same family.
    pub remote: IpAddr,
    /// The outer header's Don't Fragment bit, in tunnel mode over IPv4.
    pub df: DontFragment,
    /// The algorithms.
    pub suite: Suite,
    /// How many packets the inbound SA remembers (RFC 4303, 3.4.3): 32 to 4096, a multiple of 32.
    pub replay_window: u32,
    /// Where the keys come from.
    pub keying: Keying,
}

/// RFC 4301, 3.2.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Mode {
    /// The packet travels inside another.
    Tunnel,
    /// The packet keeps its header; the selector is the two outer addresses.
    Transport,
}

/// The Don't Fragment bit of an outer IPv4 header (RFC 4301, 8.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum DontFragment {
    /// Never set (RFC 9061: the default of `df-bit`); the kernel's `XFRM_STATE_NOPMTUDISC`.
    #[default]
    Clear,
    /// As in the inner header.
    Copy,
}

/// ESP algorithms; sequence numbers are always extended (RFC 4303, 2.2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Suite {
    /// AES-GCM, 256-bit key, 4-byte salt, 16-byte ICV (RFC 4106).
    AesGcm256,
}

impl Suite {
    /// Bytes of key material for one direction, salt included.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesGcm256 => 36,
        }
    }
}

/// Where a tunnel's keys come from; the leaves of our augmenting module.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Keying {
    /// The tunnel's number, the same at both ends.
    pub tunnel: TunnelId,
    /// The gateway at the other end.
    pub peer: NodeId,
    /// Where its peer role listens.
    pub peer_address: SocketAddr,
    /// Which end opens the connection.
    pub dial: Dial,
    /// The QKD link, if its keys are used.
    pub qkd: Option<QkdSource>,
    /// The KEM with the peer, if used.
    pub kem: Option<KemSource>,
    /// X25519 with the peer (RFC 7748), if used.
    pub classical: Option<Need>,
    /// How the sources become one key.
    pub combiner: Combiner,
    /// When an SA ends; all of hard is after soft.
    pub soft: Lifetime,
    /// When an SA is dead.
    pub hard: Lifetime,
}

/// Which end of a pair opens the peer connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Dial {
    /// The lower node id.
    Lower,
    /// The higher node id, for where the lower one cannot be reached.
    Higher,
}

/// Whether a generation may come up without a source.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Need {
    /// No key without it.
    Required,
    /// Both ends agree on its absence and report it.
    Optional,
}

/// Keys of the QKD link (ETSI GS QKD 014 or 004).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct QkdSource {
    /// Whether a key may be derived without it.
    pub need: Need,
    /// The peer's name at the KMEs.
    pub peer_sae: SaeId,
    /// Its place among the tunnels that need keys of the link as it does.
    pub priority: QkdPriority,
    /// Keys an hour below which its rekeys are not put off for the sake of the link; 0 is none.
    pub minimum: u32,
}

/// Which tunnels get the keys of a link first where there are not enough: 0 to 7, the highest first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct QkdPriority(u8);

/// There are eight priorities.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a QKD priority is 0 to 7")]
pub struct QkdPriorityError;

impl QkdPriority {
    /// What an entry that says nothing has.
    pub const DEFAULT: Self = Self(3);
}

impl TryFrom<u8> for QkdPriority {
    type Error = QkdPriorityError;

    fn try_from(priority: u8) -> Result<Self, QkdPriorityError> {
        (priority <= 7)
            .then_some(Self(priority))
            .ok_or(QkdPriorityError)
    }
}

impl From<QkdPriority> for u8 {
    fn from(priority: QkdPriority) -> Self {
        priority.0
    }
}

impl core::fmt::Display for QkdPriority {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// Keys agreed with the peer by ML-KEM (FIPS 203).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct KemSource {
    /// Whether a key may be derived without it.
    pub need: Need,
    /// The parameter set.
    pub parameter_set: ParameterSet,
}

/// FIPS 203, 8.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum ParameterSet {
    /// Category 1.
    MlKem512,
    /// Category 3.
    MlKem768,
    /// Category 5.
    MlKem1024,
}

impl ParameterSet {
    /// Bytes of an encapsulation key (FIPS 203, table 3).
    pub const fn encapsulation_key_len(self) -> usize {
        match self {
            Self::MlKem512 => 800,
            Self::MlKem768 => 1184,
            Self::MlKem1024 => 1568,
        }
    }

    /// Bytes of a ciphertext (FIPS 203, table 3).
    pub const fn ciphertext_len(self) -> usize {
        match self {
            Self::MlKem512 => 768,
            Self::MlKem768 => 1088,
            Self::MlKem1024 => 1568,
        }
    }
}

/// How the shares of the sources become one key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Combiner {
    /// HKDF-SHA-384 extract over the length-prefixed shares.
    Hmac,
    /// XOR of equal-length shares, then the same expand step.
    Xor,
    /// XOR of two HMACs over the shares, one in either order, then the same expand step.
    XorHmac,
}

/// An SA's limits; `None` is no limit of that kind.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Lifetime {
    /// Seconds since the SA was added.
    pub seconds: Option<u64>,
    /// Bytes under the SA.
    pub bytes: Option<u64>,
    /// Packets under the SA.
    pub packets: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_eight_priorities() {
        let taken = (0..=u8::MAX).filter(|byte| QkdPriority::try_from(*byte).is_ok());
        assert!(taken.eq(0..8));
    }

    #[test]
    fn a_prefix_has_no_host_bits() {
        let net = |text: &str, length| Prefix::new(text.parse().unwrap(), length);
        assert!(net("10.1.0.0", 24).is_ok());
        assert!(net("0.0.0.0", 0).is_ok());
        assert!(net("::", 0).is_ok());
        assert!(net("2001:db8::1", 128).unwrap().is_host());
        assert_eq!(net("10.1.0.1", 24), Err(PrefixError::HostBits));
        assert_eq!(net("10.1.0.0", 33), Err(PrefixError::Length));
    }
}
