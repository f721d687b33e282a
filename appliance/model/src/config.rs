//! What each role is told at its start; no role reads a file.

use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, SaeId, Thumbprint};

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
    /// Whether a lease without attestation counts.
    pub unattested: Unattested,
}

/// The pinned public keys of the verifier; both sign every lease.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct VerifierKeys {
    /// ECDSA P-384, SEC 1 uncompressed: 97 bytes.
    pub es384: Vec<u8>,
    /// ML-DSA-65 (FIPS 204): 1952 bytes.
    pub ml_dsa_65: Vec<u8>,
}

/// What to do with a lease that says it rests on no attestation.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unattested {
    /// Refuse it: every shipped configuration.
    Refuse,
    /// Take it: the testbed alone.
    Accept,
}

/// What xfrm must let pass beside the policies.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct XfrmConfig {
    /// This gateway's own addresses.
    pub addresses: Vec<IpAddr>,
    /// The TCP port of the peer role, here and at every peer.
    pub peer_port: u16,
    /// TCP ends that this gateway opens connections to: the controller, the KMEs.
    pub services: Vec<SocketAddr>,
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
    /// The KME beside this gateway, if there is one.
    pub kme: Option<KmeConfig>,
}

/// One KME link (ETSI GS QKD 014).
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
