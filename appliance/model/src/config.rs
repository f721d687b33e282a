//! What each role is told at its start; no role reads a file.

use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::ids::{LinkName, NodeId, SaeId, Thumbprint};

/// The part of the configuration that a role needs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum RoleConfig {
    /// For the engine.
    Engine(Box<EngineConfig>),
    /// For xfrm.
    Xfrm(XfrmConfig),
    /// For control.
    Control(ControlConfig),
    /// For peer.
    Peer(PeerConfig),
    /// For qkd.
    Qkd(QkdConfig),
    /// For tpm.
    Tpm,
    /// For bootstrap.
    Bootstrap(Box<BootstrapConfig>),
    /// For updater.
    Updater,
}

/// DER bytes of one certificate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Der(pub Vec<u8>);

/// What the engine must know before its first message.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct EngineConfig {
    /// This gateway.
    pub node: NodeId,
    /// The key that a lease must name.
    pub ldevid: Thumbprint,
    /// The pinned verifier.
    pub verifier: VerifierKeys,
}

/// The pinned public keys of the verifier; both sign every lease.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct VerifierKeys {
    /// ECDSA P-384, SEC 1 uncompressed: 97 bytes.
    pub es384: Vec<u8>,
    /// ML-DSA-65 (FIPS 204): 1952 bytes.
    pub ml_dsa_65: Vec<u8>,
}

/// What xfrm must let pass beside the policies.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum XfrmConfig {
    /// The gateway is nobody's: its own TCP and UDP traffic, so that it can look for its owner;
    /// nothing that it would forward.
    Unowned,
    /// It has an owner: what is listed.
    Owned(Reach),
}

/// What a gateway with an owner reaches outside of tunnels; nothing by default.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Reach {
    /// This gateway's own addresses.
    pub addresses: Vec<IpAddr>,
    /// The TCP port of the peer role, here and at every peer; none where no peer is to be reached.
    pub peer_port: Option<u16>,
    /// TCP ends of the owner's, reached from whatever address this gateway has: on a network that
    /// came back it is none of those above.
    pub owner: Vec<SocketAddr>,
    /// TCP ends that this gateway opens connections to: the KMEs, DNS.
    pub services: Vec<SocketAddr>,
    /// UDP ends that it asks: DNS and NTP.
    pub datagrams: Vec<SocketAddr>,
    /// Whether an interface gets its addresses by DHCP.
    pub dhcp: bool,
}

/// What control must know.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ControlConfig {
    /// This gateway.
    pub node: NodeId,
    /// Where to call home (RFC 8071).
    pub controller: SocketAddr,
    /// The `dNSName` of the controller's certificate.
    pub controller_name: NodeId,
    /// Who may have signed it.
    pub anchors: Vec<Der>,
    /// The LDevID certificate and its chain, the leaf first.
    pub chain: Vec<Der>,
    /// The keyless copy of `running`, from before the roles were restarted, is the file descriptor
    /// passed beside this message.
    pub restored: bool,
}

/// What peer must know.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct PeerConfig {
    /// This gateway.
    pub node: NodeId,
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// Who may have signed a peer's certificate.
    pub anchors: Vec<Der>,
    /// The LDevID certificate and its chain, the leaf first.
    pub chain: Vec<Der>,
}

/// What qkd must know.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct QkdConfig {
    /// The KMEs beside this gateway, the preferred one first.
    pub kmes: Vec<KmeConfig>,
}

/// One KME and how it is spoken with.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct KmeConfig {
    /// Where it listens.
    pub address: SocketAddr,
    /// The `dNSName` of its certificate.
    pub name: NodeId,
    /// Who may have signed its certificate.
    pub anchors: Vec<Der>,
    /// Our name there.
    pub sae: SaeId,
    /// The certificate over the LDevID key that the KME knows us by, the leaf first.
    pub chain: Vec<Der>,
    /// The key agreement it may offer.
    pub groups: Groups,
    /// What is spoken with it.
    pub interface: KmeInterface,
    /// What that is spoken over.
    pub transport: KmeTransport,
    /// What both ends call the QKD link that it is at one end of: it stands before the names of its
    /// keys between gateways. Needed where a gateway has several KMEs, so that the peer asks the
    /// right one.
    pub link: Option<LinkName>,
    /// The least bits a second that a stream of 004 may be offered with.
    pub least_rate: u32,
}

/// What is spoken with a KME.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum KmeInterface {
    /// ETSI GS QKD 014 V1.1.1: REST.
    #[serde(rename = "etsi014")]
    Etsi014,
    /// ETSI GS QKD 004 V2.1.1 in its binary form.
    #[serde(rename = "etsi004-binary")]
    Etsi004Binary,
    /// ETSI GS QKD 004 V2.1.1 in its JSON form.
    #[serde(rename = "etsi004-json")]
    Etsi004Json,
}

/// What is beneath a KME's interface.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KmeTransport {
    /// TLS 1.3 with certificates of both.
    Tls,
    /// Nothing: whoever is on the wire reads the keys. For a KME of 004 in the same locked rack that
    /// knows no other, and nowhere else.
    Plain,
}

/// Which key agreement a TLS peer may choose.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Groups {
    /// X25519MLKEM768 or SecP256r1MLKEM768.
    HybridOnly,
    /// Classical groups too: for a KME that knows no other.
    ClassicalAllowed,
}

/// What bootstrap must know.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct BootstrapConfig {
    /// What it is to do.
    pub purpose: Purpose,
    /// Who signs vouchers for boxes of this make; both must have.
    pub manufacturer: VoucherRoots,
    /// Where to look, as far as it is known at the start.
    pub sources: Sources,
    /// `hw-model` (RFC 8572, 7.3).
    pub hw_model: String,
    /// `os-name`.
    pub os_name: String,
    /// `os-version`: dotted numbers.
    pub os_version: String,
}

/// Where an owner can be looked for (RFC 8572, 4); nothing of it is trusted.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Sources {
    /// Signed data from removable media or a file, if there is any.
    pub media: Option<Artifacts>,
    /// Bootstrap servers to ask, in this order; from networkd's leases first, then the image's. At
    /// most 32.
    pub servers: Vec<BootstrapServer>,
    /// DNS servers to find them by, from networkd's leases; at most 8.
    pub resolvers: Vec<IpAddr>,
    /// The domain that the leases name, if they name one: `_sztp._tcp` is looked up in it.
    pub domain: Option<String>,
}

/// What bootstrap is started for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Purpose {
    /// Find the owner and enrol.
    Enrol,
    /// The LDevID cannot be used: report to the owner under the IDevID, and nothing else.
    Quarantine {
        /// The owner's registrar.
        registrar: SocketAddr,
        /// The `dNSName` of its certificate.
        name: NodeId,
        /// Who may have signed it.
        anchors: Vec<Der>,
    },
}

/// The two roots of the image under which a voucher must verify.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct VoucherRoots {
    /// A root certificate with an ECDSA P-384 key.
    pub es384: Der,
    /// An ML-DSA-65 public key (FIPS 204): 1952 bytes.
    pub ml_dsa_65: Vec<u8>,
}

/// A bootstrap server (RFC 8572, 4), not trusted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct BootstrapServer {
    /// A DNS name or an IP address.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
}

/// Signed data (RFC 8572, 3), each one CMS, not checked yet; at most 48 KiB in all.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Artifacts {
    /// Conveyed information.
    pub conveyed_information: Vec<u8>,
    /// The owner's certificate and its chain.
    pub owner_certificate: Vec<u8>,
    /// The voucher (RFC 8366).
    pub ownership_voucher: Vec<u8>,
}
