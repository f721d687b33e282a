//! What the owner wants: nodes, and the tunnels between them.
//!
//! A [`Plan`] is a checked [`Document`]; whoever holds one may turn it into policies. It is the
//! whole will of the owner: what a new plan does not name is taken out.

mod check;
mod document;
mod mirror;

use core::fmt;
use core::net::IpAddr;
use std::collections::BTreeMap;

use bartizan_model::ids::{NodeId, SaeId, TunnelId};
use bartizan_model::policy::{
    Combiner, Dial, DontFragment, KemSource, Lifetime, Mode, Need, Prefix, QkdPriority, Suite,
};

pub use document::Document;
pub use mirror::{outbound_entry, policies};

/// Nodes and tunnels that fit together.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// The nodes by name.
    pub nodes: BTreeMap<NodeId, Node>,
    /// The tunnels in the order of the document, which is the order of their policies.
    pub tunnels: Vec<Tunnel>,
}

/// A gateway as its peers must know it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    /// Its own addresses; the first is where its peers dial.
    pub addresses: Vec<IpAddr>,
    /// The TCP port of its peer role.
    pub peer_port: u16,
    /// Its name at the KMEs.
    pub sae: Option<SaeId>,
}

/// Two ends and how the packets between them are protected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tunnel {
    /// Its number, unique within its pair of nodes.
    pub id: TunnelId,
    /// Its ends, as the document orders them.
    pub ends: [End; 2],
    /// Tunnel or transport.
    pub mode: Mode,
    /// The protocol above IP; `None` is any.
    pub protocol: Option<u8>,
    /// The Don't Fragment bit of the outer header.
    pub df: DontFragment,
    /// The algorithms.
    pub suite: Suite,
    /// In packets.
    pub replay_window: u32,
    /// Which end opens the connection of the pair.
    pub dial: Dial,
    /// Whether QKD keys are a source, and how much they are needed.
    pub qkd: Option<Need>,
    /// Its place among those that need the link's keys as it does.
    pub qkd_priority: QkdPriority,
    /// Keys an hour below which its rekeys are not put off.
    pub qkd_minimum: u32,
    /// Whether ML-KEM is a source.
    pub kem: Option<KemSource>,
    /// Whether X25519 is a source.
    pub classical: Option<Need>,
    /// How the sources become one key.
    pub combiner: Combiner,
    /// When an SA's successor is begun.
    pub soft: Lifetime,
    /// When an SA ends.
    pub hard: Lifetime,
}

/// One end of a tunnel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct End {
    /// The gateway.
    pub node: NodeId,
    /// Its address in the outer header.
    pub endpoint: IpAddr,
    /// The addresses behind it.
    pub network: Prefix,
    /// The port on its side; `None` is any.
    pub port: Option<u16>,
}

/// A tunnel's name in the fleet: its nodes, the lower one first, and its number.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct TunnelKey {
    /// The lower node id.
    pub lower: NodeId,
    /// The higher node id.
    pub higher: NodeId,
    /// The number within the pair.
    pub id: TunnelId,
}

/// Every fault of a document, each with the key it is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlanErrors(Vec<PlanError>);

/// One fault of a document.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{key}: {fault}")]
pub struct PlanError {
    /// Where in the document.
    pub key: String,
    /// What is wrong there.
    pub fault: String,
}

impl Plan {
    /// Reads and checks a document (TOML).
    ///
    /// # Errors
    ///
    /// [`PlanErrors`]: what TOML says of a document that is none, or every fault of one.
    pub fn parse(text: &str) -> Result<(Document, Self), PlanErrors> {
        let document: Document =
            toml::from_str(text).map_err(|error| PlanErrors::of("TOML", &error))?;
        let plan = Self::try_from(&document)?;
        Ok((document, plan))
    }

    /// The tunnels that end at a node.
    pub fn tunnels_of<'plan>(
        &'plan self,
        node: &'plan NodeId,
    ) -> impl Iterator<Item = &'plan Tunnel> {
        let ends_here = |tunnel: &&Tunnel| tunnel.ends.iter().any(|end| end.node == *node);
        self.tunnels.iter().filter(ends_here)
    }
}

impl Tunnel {
    /// Its name in the fleet.
    pub fn key(&self) -> TunnelKey {
        let [one, other] = &self.ends;
        let (lower, higher) = if one.node < other.node {
            (one, other)
        } else {
            (other, one)
        };
        TunnelKey {
            lower: lower.node.clone(),
            higher: higher.node.clone(),
            id: self.id,
        }
    }
}

impl fmt::Display for TunnelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} - {} #{}", self.lower, self.higher, self.id)
    }
}

impl PlanErrors {
    /// One fault alone.
    pub fn of(key: impl Into<String>, fault: impl fmt::Display) -> Self {
        Self(vec![PlanError {
            key: key.into(),
            fault: fault.to_string(),
        }])
    }

    /// The faults.
    pub fn all(&self) -> &[PlanError] {
        &self.0
    }
}

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl core::error::Error for PlanErrors {}
