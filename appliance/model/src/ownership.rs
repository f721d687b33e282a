//! What a box knows of its owner: learned when it enrols, kept by the supervisor.

use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::config::{Der, KmeConfig, VerifierKeys};
use crate::ids::NodeId;
use crate::policy::Prefix;

mod rules;

pub use rules::Broken;

/// Everything that an owned box works by and that is not in its image; no secret.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Ownership {
    /// The owner's name for this gateway: the only `dNSName` of its LDevID certificate.
    pub node: NodeId,
    /// The epoch of the voucher that this ownership rests on.
    pub epoch: u64,
    /// The owner's CA: who certifies the controller, the peers and this gateway.
    pub anchors: Vec<Der>,
    /// The owner's pinned verifier.
    pub verifier: VerifierKeys,
    /// Where to call home (RFC 8071).
    pub call_home: SocketAddr,
    /// Where to enrol, and where a box in quarantine reports.
    pub registrar: SocketAddr,
    /// The `dNSName` of both.
    pub controller: NodeId,
    /// The LDevID certificate and its chain, the leaf first.
    pub ldevid: Vec<Der>,
    /// This gateway's own addresses.
    pub addresses: Vec<IpAddr>,
    /// The TCP port of the peer role, here and at every peer.
    pub peer_port: u16,
    /// The KMEs beside this gateway, the preferred one first; at most 4.
    pub kmes: Vec<KmeConfig>,
    /// How its interfaces are configured.
    pub network: SiteNetwork,
}

/// The network of a site (a subset of RFC 8343 and RFC 8344).
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct SiteNetwork {
    /// At most one for each [`Port`].
    pub interfaces: Vec<Interface>,
    /// Static routes, at most 64.
    pub routes: Vec<Route>,
    /// DNS servers, at most 4.
    pub dns: Vec<IpAddr>,
    /// NTP servers, at most 4.
    pub ntp: Vec<IpAddr>,
}

/// An interface of the box, by its use.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Port {
    /// Towards the controller: `mgmt0`.
    Mgmt0,
    /// Towards the peers: `wan0`.
    Wan0,
    /// What is protected: `lan0`.
    Lan0,
    /// Towards the KMEs: `qkd0`.
    Qkd0,
}

/// One interface.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// Which.
    pub port: Port,
    /// Its addresses with the length of their prefixes, at most 8; none if by DHCP.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Whether it gets its addresses by DHCP or router advertisements.
    pub dhcp: bool,
}

/// A static route.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub destination: Prefix,
    /// Through which router.
    pub gateway: IpAddr,
    /// Out of which interface.
    pub port: Port,
}
