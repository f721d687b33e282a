//! From a tunnel to the entries of both its ends, each the other's mirror.

use core::net::SocketAddr;

use bartizan_model::ids::{EntryName, NodeId, Reqid};
use bartizan_model::policy::{
    Action, Direction, Keying, Policy, Protect, QkdSource, TrafficSelector,
};

use super::{End, Plan, Tunnel, TunnelKey};

/// The priority of a node's first entry; the gateway numbers its entries likewise.
const FIRST_PRIORITY: u32 = 1000;

/// The entries of a node, in their order: for each of its tunnels the outbound and the inbound one.
///
/// `reqid` gives each tunnel its number, the same at both ends.
///
/// # Errors
///
/// The tunnel that `reqid` has no number for, or whose ends the plan does not know well enough.
pub fn policies(
    plan: &Plan,
    node: &NodeId,
    reqid: impl Fn(&TunnelKey) -> Option<Reqid>,
) -> Result<Vec<Policy>, TunnelKey> {
    let mut policies = Vec::new();
    for tunnel in plan.tunnels_of(node) {
        let key = tunnel.key();
        let (Some(reqid), Some(side)) = (reqid(&key), Side::of(plan, tunnel, node)) else {
            return Err(key);
        };
        for direction in [Direction::Outbound, Direction::Inbound] {
            let place = u32::try_from(policies.len()).unwrap_or(u32::MAX);
            let entry = side.entry(direction).ok_or_else(|| tunnel.key())?;
            policies.push(Policy {
                name: entry,
                priority: FIRST_PRIORITY.saturating_add(place),
                direction,
                reqid,
                selector: side.selector(),
                action: Action::Protect(Box::new(side.protect())),
            });
        }
    }
    Ok(policies)
}

/// The name of a tunnel's outbound entry at a node, by which the node reports on the tunnel.
pub fn outbound_entry(plan: &Plan, tunnel: &Tunnel, node: &NodeId) -> Option<EntryName> {
    Side::of(plan, tunnel, node)?.entry(Direction::Outbound)
}

/// A tunnel as one of its ends sees it.
struct Side<'plan> {
    tunnel: &'plan Tunnel,
    local: &'plan End,
    remote: &'plan End,
    peer_address: SocketAddr,
    qkd: Option<QkdSource>,
}

impl<'plan> Side<'plan> {
    fn of(plan: &'plan Plan, tunnel: &'plan Tunnel, node: &NodeId) -> Option<Self> {
        let [one, other] = &tunnel.ends;
        let (local, remote) = if one.node == *node {
            (one, other)
        } else {
            (other, one)
        };
        let peer = plan.nodes.get(&remote.node)?;
        // A source that is asked for is never left out for want of a name.
        let qkd = match (tunnel.qkd, &peer.sae) {
            (None, _) => None,
            (Some(_), None) => return None,
            (Some(need), Some(sae)) => Some(QkdSource {
                need,
                peer_sae: sae.clone(),
                priority: tunnel.qkd_priority,
                minimum: tunnel.qkd_minimum,
            }),
        };
        Some(Self {
            tunnel,
            local,
            remote,
            peer_address: SocketAddr::new(*peer.addresses.first()?, peer.peer_port),
            qkd,
        })
    }

    /// The name of a flow, the same at both its ends, in the form that controllers of RFC 9061 use;
    /// the tunnel's number tells those between the same addresses apart.
    fn entry(&self, direction: Direction) -> Option<EntryName> {
        let (source, destination) = match direction {
            Direction::Outbound => (self.local, self.remote),
            Direction::Inbound => (self.remote, self.local),
        };
        let (source, destination) = (source.endpoint, destination.endpoint);
        let name = format!("out/{source}/in/{destination}/{}", self.tunnel.id);
        EntryName::try_from(name).ok()
    }

    fn selector(&self) -> TrafficSelector {
        TrafficSelector {
            local: self.local.network,
            remote: self.remote.network,
            protocol: self.tunnel.protocol,
            local_port: self.local.port,
            remote_port: self.remote.port,
        }
    }

    fn protect(&self) -> Protect {
        let tunnel = self.tunnel;
        Protect {
            mode: tunnel.mode,
            local: self.local.endpoint,
            remote: self.remote.endpoint,
            df: tunnel.df,
            suite: tunnel.suite,
            replay_window: tunnel.replay_window,
            keying: Keying {
                tunnel: tunnel.id,
                peer: self.remote.node.clone(),
                peer_address: self.peer_address,
                dial: tunnel.dial,
                qkd: self.qkd.clone(),
                kem: tunnel.kem,
                classical: tunnel.classical,
                combiner: tunnel.combiner,
                soft: tunnel.soft,
                hard: tunnel.hard,
            },
        }
    }
}
