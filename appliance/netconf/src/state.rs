//! What the gateway tells about itself: the container `gateway`.

use core::time::Duration;

use bartizan_model::ids::{EntryName, Epoch, NodeId, Nonce, Reqid, Spi, TunnelId};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::report::{NetworkState, PairReport, TunnelReport};
use bartizan_model::time::BootTime;
use base64ct::{Base64, Encoding as _};

use crate::edit::Grant;
use crate::error::RpcError;
use crate::policy::View;
use crate::schema::{
    ALARMS, GATEWAY, LDEVID_CHAIN, LIFECYCLES, NETWORKS, SOURCES, STATES, STREAMS, binary,
};
use crate::tree::Tree;
use crate::words::word;

/// The leaves of the container.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Leaves<'a> {
    pub(crate) lease: Option<&'a Grant>,
    pub(crate) nonce: Option<Nonce>,
    pub(crate) node: Option<&'a NodeId>,
    pub(crate) lifecycle: Option<Lifecycle>,
    pub(crate) network: Option<NetworkState>,
}

/// Writes the leaves.
pub(crate) fn leaves(leaves: &Leaves<'_>) -> Vec<Tree> {
    let mut gateway = Tree::empty(&GATEWAY);
    if let Some(grant) = leaves.lease {
        gateway.set("lease", Base64::encode_string(&grant.lease));
        for certificate in &grant.ldevid {
            gateway.set(LDEVID_CHAIN.name, Base64::encode_string(&certificate.0));
        }
    }
    if let Some(Nonce(nonce)) = leaves.nonce {
        gateway.set("lease-nonce", Base64::encode_string(&nonce));
    }
    if let Some(node) = leaves.node {
        gateway.set("node", node);
    }
    if let Some(lifecycle) = leaves.lifecycle {
        gateway.set("lifecycle", word(LIFECYCLES, lifecycle));
    }
    if let Some(network) = leaves.network {
        gateway.set("network", word(NETWORKS, network));
    }
    gateway.children().to_vec()
}

/// Writes a tunnel.
pub(crate) fn tunnel(report: &TunnelReport) -> Option<Tree> {
    let mut tunnel = Tree::empty(GATEWAY.child("tunnel")?);
    tunnel.set("entry", &report.entry);
    tunnel.set("tunnel-id", report.tunnel);
    tunnel.set("peer-node", &report.peer);
    tunnel.set("reqid", report.reqid);
    tunnel.set("state", word(STATES, report.state));
    if let Some(current) = &report.current {
        tunnel.add("current", |tree| write_pair(current, tree));
    }
    tunnel.set("rekeys", report.rekeys);
    if let Some(alarm) = report.alarm {
        tunnel.set("alarm", word(ALARMS, alarm));
    }
    Some(tunnel)
}

/// Reads a tunnel.
///
/// # Errors
///
/// [`RpcError`] if it lacks something.
pub(crate) fn read_tunnel(tree: &Tree) -> Result<TunnelReport, RpcError> {
    let tunnel = View::root(tree);
    let current = tunnel.below("current");
    Ok(TunnelReport {
        entry: entry(&tunnel)?,
        tunnel: TunnelId(tunnel.required_value("tunnel-id")?),
        peer: NodeId::try_from(tunnel.required("peer-node")?)
            .map_err(|_| tunnel.invalid("peer-node", "no node id"))?,
        reqid: Reqid::try_from(tunnel.required_value::<u32>("reqid")?)
            .map_err(|_| tunnel.invalid("reqid", "no reqid"))?,
        state: tunnel.required_word("state", STATES)?,
        current: current.exists().then(|| read_pair(&current)).transpose()?,
        rekeys: tunnel.required_value("rekeys")?,
        alarm: tunnel.word("alarm", ALARMS)?,
    })
}

/// Writes a pair of SAs.
pub(crate) fn write_pair(pair: &PairReport, tree: &mut Tree) {
    tree.set("epoch", pair.epoch);
    tree.set("inbound-spi", u32::from(pair.inbound));
    tree.set("outbound-spi", u32::from(pair.outbound));
    if let Some(sources) = pair.sources {
        tree.set("sources", word(SOURCES, sources));
    }
    tree.set("since", pair.since.0.as_millis());
}

/// Reads a pair of SAs.
///
/// # Errors
///
/// [`RpcError`] if it lacks something.
pub(crate) fn read_pair(pair: &View<'_>) -> Result<PairReport, RpcError> {
    let spi = |name| {
        let spi: u32 = pair.required_value(name)?;
        Spi::try_from(spi).map_err(|_| pair.invalid(name, "a reserved SPI"))
    };
    Ok(PairReport {
        epoch: Epoch(pair.required_value("epoch")?),
        inbound: spi("inbound-spi")?,
        outbound: spi("outbound-spi")?,
        sources: pair.word("sources", SOURCES)?,
        since: BootTime(Duration::from_millis(pair.required_value("since")?)),
    })
}

/// Reads the name of an entry.
///
/// # Errors
///
/// [`RpcError`] if it is missing or none.
pub(crate) fn entry(view: &View<'_>) -> Result<EntryName, RpcError> {
    EntryName::try_from(view.required("entry")?)
        .map_err(|_| view.invalid("entry", "not the name of an entry"))
}

/// Reads a nonce's text.
pub(crate) fn read_nonce(text: &str) -> Option<Nonce> {
    let bytes = binary(text, 32)?;
    Some(Nonce(bytes.try_into().ok()?))
}

/// The streams that can be subscribed to.
pub(crate) fn streams() -> Tree {
    let mut streams = Tree::empty(&STREAMS);
    streams.add("streams", |streams| {
        streams.add("stream", |stream| {
            stream.set("name", "NETCONF");
            stream.set("description", "all notifications of the gateway");
            stream.set("replaySupport", false);
        });
    });
    streams
}
