//! From a document to a plan: every rule, each with the key that breaks it.

use core::fmt::Display;
use core::net::IpAddr;
use std::collections::BTreeMap;

use bartizan_model::ids::{NodeId, SaeId, TunnelId};
use bartizan_model::policy::{
    Combiner, Dial, DontFragment, KemSource, Lifetime, Mode, Need, ParameterSet, Prefix,
    QkdPriority, Suite,
};
use bartizan_netconf::limits;

use super::document::{
    CombinerWord, DfWord, DialWord, Document, KemDocument, LifetimeDocument, ModeWord, NeedWord,
    NodeDocument, ParameterSetWord, TunnelDocument,
};
use super::{End, Node, Plan, PlanError, PlanErrors, Tunnel};

impl TryFrom<&Document> for Plan {
    type Error = PlanErrors;

    fn try_from(document: &Document) -> Result<Self, PlanErrors> {
        let mut faults = Vec::new();
        let nodes = nodes(document, &mut faults);
        let tunnels = tunnels(document, &nodes, &mut faults);
        if faults.is_empty() {
            Ok(Self { nodes, tunnels })
        } else {
            Err(PlanErrors(faults))
        }
    }
}

/// IANA protocol numbers whose headers begin with two ports: TCP, UDP, DCCP, SCTP.
const WITH_PORTS: [u8; 4] = [6, 17, 33, 132];

fn nodes(document: &Document, faults: &mut Vec<PlanError>) -> BTreeMap<NodeId, Node> {
    let mut nodes = BTreeMap::new();
    let mut taken = BTreeMap::new();
    for (name, node) in &document.node {
        let key = format!("node.{name}");
        match check_node(&key, name, node) {
            Ok((id, node)) => {
                for address in &node.addresses {
                    if let Some(other) = taken.insert(*address, id.clone()) {
                        let fault = format!("{address} is an address of {other} too");
                        faults.push(error(format!("{key}.addresses"), fault));
                    }
                }
                nodes.insert(id, node);
            }
            Err(fault) => faults.push(fault),
        }
    }
    nodes
}

fn check_node(key: &str, name: &str, node: &NodeDocument) -> Result<(NodeId, Node), PlanError> {
    let id = NodeId::try_from(name).map_err(|fault| error(key, fault))?;
    if node.addresses.is_empty() {
        return Err(error(format!("{key}.addresses"), "a node has an address"));
    }
    for address in &node.addresses {
        if address.is_unspecified() || address.is_multicast() {
            let fault = format!("{address} is no node's own");
            return Err(error(format!("{key}.addresses"), fault));
        }
    }
    if node.peer_port == 0 {
        return Err(error(format!("{key}.peer-port"), "no such port"));
    }
    let sae = node.sae.as_deref().map(SaeId::try_from).transpose();
    let sae = sae.map_err(|fault| error(format!("{key}.sae"), fault))?;
    let node = Node {
        addresses: node.addresses.clone(),
        peer_port: node.peer_port,
        sae,
    };
    Ok((id, node))
}

fn tunnels(
    document: &Document,
    nodes: &BTreeMap<NodeId, Node>,
    faults: &mut Vec<PlanError>,
) -> Vec<Tunnel> {
    let mut tunnels = Vec::new();
    let mut fleet = Fleet::default();
    for (index, tunnel) in document.tunnel.iter().enumerate() {
        let key = format!("tunnel[{index}]");
        let checked = check_tunnel(&key, tunnel, document, nodes)
            .and_then(|tunnel| fleet.add(&key, &tunnel).map(|()| tunnel));
        match checked {
            Ok(tunnel) => tunnels.push(tunnel),
            Err(fault) => faults.push(fault),
        }
    }
    tunnels
}

/// What must be so among all tunnels; the engine would refuse the edit otherwise.
#[derive(Default)]
struct Fleet {
    keys: BTreeMap<super::TunnelKey, String>,
    selectors: BTreeMap<(NodeId, [Side; 2], Option<u8>), String>,
    dials: BTreeMap<(NodeId, NodeId), Dial>,
    entries: BTreeMap<NodeId, usize>,
}

type Side = (Prefix, Option<u16>);

impl Fleet {
    fn add(&mut self, key: &str, tunnel: &Tunnel) -> Result<(), PlanError> {
        if let Some(other) = self.keys.insert(tunnel.key(), key.to_owned()) {
            let fault = format!("{other} of the same pair has this number");
            return Err(error(format!("{key}.id"), fault));
        }
        let pair = (tunnel.key().lower, tunnel.key().higher);
        if *self.dials.entry(pair).or_insert(tunnel.dial) != tunnel.dial {
            let fault = "another tunnel of the pair says otherwise";
            return Err(error(format!("{key}.dial"), fault));
        }
        let [one, other] = &tunnel.ends;
        for (local, remote) in [(one, other), (other, one)] {
            let sides = [local, remote].map(|end| (end.network, end.port));
            let selector = (local.node.clone(), sides, tunnel.protocol);
            if let Some(other) = self.selectors.insert(selector, key.to_owned()) {
                let fault = format!("{other} takes the same packets at {}", local.node);
                return Err(error(format!("{key}.networks"), fault));
            }
            let entries = self.entries.entry(local.node.clone()).or_default();
            *entries = entries.saturating_add(2);
            if *entries > limits::ENTRIES {
                let fault = format!(
                    "{} would have more than {} entries",
                    local.node,
                    limits::ENTRIES
                );
                return Err(error(key, fault));
            }
        }
        Ok(())
    }
}

fn check_tunnel(
    key: &str,
    tunnel: &TunnelDocument,
    document: &Document,
    nodes: &BTreeMap<NodeId, Node>,
) -> Result<Tunnel, PlanError> {
    let at = |name: &str| format!("{key}.{name}");
    let mode = match tunnel.mode {
        ModeWord::Tunnel => Mode::Tunnel,
        ModeWord::Transport => Mode::Transport,
    };
    let ends = ends(key, tunnel, document, nodes, mode)?;
    if tunnel.protocol == Some(0) {
        return Err(error(at("protocol"), "to mean any, leave it out"));
    }
    let has_ports = ends.iter().any(|end| end.port.is_some());
    let takes_ports = tunnel
        .protocol
        .is_some_and(|protocol| WITH_PORTS.contains(&protocol));
    if has_ports && !takes_ports {
        return Err(error(at("ports"), "a port needs a protocol that has ports"));
    }
    if !(32..=4096).contains(&tunnel.replay_window) || !tunnel.replay_window.is_multiple_of(32) {
        let fault = "a replay window is a multiple of 32, from 32 to 4096";
        return Err(error(at("replay-window"), fault));
    }
    if tunnel.qkd.is_none() && tunnel.kem.is_none() && tunnel.x25519.is_none() {
        return Err(error(key, "a key needs a source: qkd, kem or x25519"));
    }
    if tunnel.qkd.is_some() {
        for end in &ends {
            if nodes.get(&end.node).is_none_or(|node| node.sae.is_none()) {
                let fault = format!("{} has no sae", end.node);
                return Err(error(at("qkd"), fault));
            }
        }
    }
    let qkd_priority = qkd_priority(key, tunnel)?;
    let soft = lifetime(&at("soft"), &tunnel.soft)?;
    let hard = lifetime(&at("hard"), &tunnel.hard)?;
    check_order(&at("soft"), soft, hard)?;
    Ok(Tunnel {
        id: TunnelId(tunnel.id),
        ends,
        mode,
        protocol: tunnel.protocol,
        df: match tunnel.df_bit {
            DfWord::Clear => DontFragment::Clear,
            DfWord::Copy => DontFragment::Copy,
        },
        suite: Suite::AesGcm256,
        replay_window: tunnel.replay_window,
        dial: match tunnel.dial {
            DialWord::Lower => Dial::Lower,
            DialWord::Higher => Dial::Higher,
        },
        qkd: tunnel.qkd.map(need),
        qkd_priority,
        qkd_minimum: tunnel.qkd_minimum_keys_per_hour.unwrap_or_default(),
        kem: tunnel.kem.as_ref().map(kem),
        classical: tunnel.x25519.map(need),
        combiner: match tunnel.combiner {
            CombinerWord::Hmac => Combiner::Hmac,
            CombinerWord::Xor => Combiner::Xor,
            CombinerWord::Xorhmac => Combiner::XorHmac,
        },
        soft,
        hard,
    })
}

/// What says how keys of a QKD link are shared out means nothing without one.
fn qkd_priority(key: &str, tunnel: &TunnelDocument) -> Result<QkdPriority, PlanError> {
    let at = |name: &str| format!("{key}.{name}");
    let without = "means nothing without qkd";
    if tunnel.qkd.is_none() {
        if tunnel.qkd_priority.is_some() {
            return Err(error(at("qkd-priority"), without));
        }
        if tunnel.qkd_minimum_keys_per_hour.is_some() {
            return Err(error(at("qkd-minimum-keys-per-hour"), without));
        }
    }
    match tunnel.qkd_priority {
        Some(priority) => {
            QkdPriority::try_from(priority).map_err(|fault| error(at("qkd-priority"), fault))
        }
        None => Ok(QkdPriority::DEFAULT),
    }
}

fn ends(
    key: &str,
    tunnel: &TunnelDocument,
    document: &Document,
    nodes: &BTreeMap<NodeId, Node>,
    mode: Mode,
) -> Result<[End; 2], PlanError> {
    let at = |name: &str| format!("{key}.{name}");
    let known = |name: &String| {
        let node = NodeId::try_from(name.as_str()).ok();
        let node = node.and_then(|id| nodes.get_key_value(&id));
        // A node with a fault of its own is reported once, at the node.
        node.ok_or_else(|| {
            let fault = if document.node.contains_key(name) {
                "names a node that has a fault"
            } else {
                "names a node that is not there"
            };
            error(at("between"), format!("{name}: {fault}"))
        })
    };
    let [one, other] = &tunnel.between;
    let (one, other) = (known(one)?, known(other)?);
    if one.0 == other.0 {
        return Err(error(at("between"), "a tunnel has two different ends"));
    }
    let endpoints = match tunnel.endpoints {
        Some(endpoints) => endpoints,
        None => [first_address(key, one)?, first_address(key, other)?],
    };
    for ((node, own), endpoint) in [one, other].into_iter().zip(endpoints) {
        if !own.addresses.contains(&endpoint) {
            let fault = format!("{endpoint} is no address of {node}");
            return Err(error(at("endpoints"), fault));
        }
    }
    let [near, far] = endpoints;
    if near.is_ipv4() != far.is_ipv4() {
        return Err(error(at("endpoints"), "not of one family"));
    }
    let networks = networks(key, tunnel, endpoints, mode)?;
    let ports = tunnel.ports.unwrap_or_default();
    let [near_network, far_network] = networks;
    let [near_port, far_port] = ports.map(|port| (port != 0).then_some(port));
    Ok([
        End {
            node: one.0.clone(),
            endpoint: near,
            network: near_network,
            port: near_port,
        },
        End {
            node: other.0.clone(),
            endpoint: far,
            network: far_network,
            port: far_port,
        },
    ])
}

fn first_address(key: &str, (node, own): (&NodeId, &Node)) -> Result<IpAddr, PlanError> {
    let first = own.addresses.first().copied();
    first.ok_or_else(|| error(key, format!("{node} has no address")))
}

fn networks(
    key: &str,
    tunnel: &TunnelDocument,
    endpoints: [IpAddr; 2],
    mode: Mode,
) -> Result<[Prefix; 2], PlanError> {
    let at = || format!("{key}.networks");
    let hosts = endpoints.map(Prefix::host);
    let Some([near, far]) = &tunnel.networks else {
        return match mode {
            Mode::Transport => Ok(hosts),
            Mode::Tunnel => Err(error(at(), "a tunnel names the networks behind its ends")),
        };
    };
    let networks = [prefix(&at(), near)?, prefix(&at(), far)?];
    let [near, far] = networks;
    if near.address().is_ipv4() != far.address().is_ipv4() {
        return Err(error(at(), "not of one family"));
    }
    if mode == Mode::Transport && networks != hosts {
        let fault = "transport mode protects between the two endpoints alone";
        return Err(error(at(), fault));
    }
    Ok(networks)
}

fn prefix(key: &str, text: &str) -> Result<Prefix, PlanError> {
    let parts = text.split_once('/');
    let parts =
        parts.and_then(|(address, length)| Some((address.parse().ok()?, length.parse().ok()?)));
    let (address, length) = parts.ok_or_else(|| error(key, format!("{text} is no prefix")))?;
    Prefix::new(address, length).map_err(|fault| error(key, format!("{text}: {fault}")))
}

fn need(need: NeedWord) -> Need {
    match need {
        NeedWord::Required => Need::Required,
        NeedWord::Optional => Need::Optional,
    }
}

fn kem(kem: &KemDocument) -> KemSource {
    KemSource {
        need: need(kem.need),
        parameter_set: match kem.parameter_set {
            ParameterSetWord::MlKem512 => ParameterSet::MlKem512,
            ParameterSetWord::MlKem768 => ParameterSet::MlKem768,
            ParameterSetWord::MlKem1024 => ParameterSet::MlKem1024,
        },
    }
}

fn lifetime(key: &str, lifetime: &LifetimeDocument) -> Result<Lifetime, PlanError> {
    let limit = |name: &str, limit| match limit {
        Some(0) => Err(error(format!("{key}.{name}"), "a limit is at least 1")),
        limit => Ok(limit),
    };
    Ok(Lifetime {
        seconds: limit("seconds", lifetime.seconds)?,
        bytes: limit("bytes", lifetime.bytes)?,
        packets: limit("packets", lifetime.packets)?,
    })
}

/// Checks that a successor is begun before an SA ends.
fn check_order(key: &str, soft: Lifetime, hard: Lifetime) -> Result<(), PlanError> {
    for (name, soft, hard) in [
        ("seconds", soft.seconds, hard.seconds),
        ("bytes", soft.bytes, hard.bytes),
        ("packets", soft.packets, hard.packets),
    ] {
        if let Some(hard) = hard
            && soft.is_none_or(|soft| soft >= hard)
        {
            let fault = format!("the soft limit is below the hard one, {hard}");
            return Err(error(format!("{key}.{name}"), fault));
        }
    }
    Ok(())
}

fn error(key: impl Into<String>, fault: impl Display) -> PlanError {
    PlanError {
        key: key.into(),
        fault: fault.to_string(),
    }
}
