//! Streams of keys (ETSI GS QKD 004): one end opens them, the other is told by this link and joins.

use core::time::Duration;
use std::collections::BTreeMap;

use bartizan_model::ids::{NodeId, SaeId, StreamName};
use bartizan_model::message::{EngineToQkd, PeerMessage};
use bartizan_model::time::BootTime;

use crate::engine::Engine;
use crate::words::Heard;

/// How soon a peer may speak of another stream of a link, or of the same once more. The qkd role
/// repeats itself more slowly.
const GAP: Duration = Duration::from_millis(500);

/// The most links with one peer: as many as a gateway has KMEs.
const LINKS_MAX: usize = 4;

/// The streams of this gateway, and when peers spoke of theirs.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    open: BTreeMap<SaeId, BTreeMap<String, StreamName>>,
    heard: BTreeMap<NodeId, BTreeMap<String, BootTime>>,
}

impl Engine {
    /// The KME has opened a stream: its peer is told.
    pub(crate) fn stream_open(&mut self, peer: SaeId, stream: StreamName) {
        let node = self
            .tunnels
            .values()
            .map(crate::tunnel::Tunnel::keying)
            .find(|keying| keying.qkd.as_ref().is_some_and(|qkd| qkd.peer_sae == peer))
            .map(|keying| keying.peer.clone());
        // No tunnel needs it any more.
        let Some(node) = node else {
            self.streams.open.remove(&peer);
            return;
        };
        let streams = self.streams.open.entry(peer).or_default();
        let link = link(&stream);
        if streams.len() >= LINKS_MAX && !streams.contains_key(&link) {
            return;
        }
        streams.insert(link, stream.clone());
        if self.peers.get(&node).is_some_and(|peer| peer.link.granted) {
            let word = PeerMessage::Stream(stream);
            self.shared.outbox.say(&node, word);
        }
    }

    /// The link is back, and the peer forgot what it was told, if it was restarted.
    pub(crate) fn announce_streams(&mut self, node: &NodeId) {
        self.streams.heard.remove(node);
        let streams = self
            .sae_of(node)
            .and_then(|sae| self.streams.open.get(&sae));
        for stream in streams.into_iter().flat_map(BTreeMap::values) {
            let word = PeerMessage::Stream(stream.clone());
            self.shared.outbox.say(node, word);
        }
    }

    /// A peer speaks of a stream: the KME is to join it.
    pub(crate) fn hear_stream(&mut self, from: &NodeId, stream: StreamName) -> Heard {
        if !self.peers.get(from).is_some_and(|peer| peer.link.granted) {
            return Heard::Stale;
        }
        // The end that names no keys opens no streams.
        if *from > self.node {
            return Heard::Nonsense;
        }
        let Some(peer) = self.sae_of(from).filter(|_| self.shared.qkd.is_available()) else {
            return Heard::Stale;
        };
        let now = self.now;
        let heard = self.streams.heard.entry(from.clone()).or_default();
        let link = link(&stream);
        let full = heard.len() >= LINKS_MAX && !heard.contains_key(&link);
        if full || heard.get(&link).is_some_and(|at| now.since(*at) < GAP) {
            return Heard::Stale;
        }
        heard.insert(link, now);
        let join = EngineToQkd::Join { peer, stream };
        self.shared.outbox.qkd.push_back(join);
        Heard::Taken
    }

    /// What the KMEs call a node.
    fn sae_of(&self, node: &NodeId) -> Option<SaeId> {
        let peer = self.peers.get(node)?;
        let tunnels = peer.tunnels.values();
        tunnels
            .filter_map(|reqid| self.tunnels.get(reqid)?.keying().qkd.as_ref())
            .map(|qkd| qkd.peer_sae.clone())
            .next()
    }
}

/// The link's name before the stream's; nothing where it has none.
fn link(stream: &StreamName) -> String {
    let link = stream.as_str().split_once(':');
    link.map(|(link, _)| link.to_owned()).unwrap_or_default()
}
