//! What the peer role brings: links, and what peers say over them.

use bartizan_model::ids::{NodeId, Thumbprint};
use bartizan_model::message::{EngineToPeer, PeerMessage, PeerToEngine};

use crate::counters::Count;
use crate::desk::Link;
use crate::engine::Engine;
use crate::lease::Entropy;
use crate::tunnel::Tunnel;
use crate::words::Heard;

impl Engine {
    pub(crate) fn handle_peer(&mut self, message: PeerToEngine, entropy: Entropy<'_>) {
        match message {
            PeerToEngine::Connected { node, ldevid } => self.connected(&node, ldevid, entropy),
            PeerToEngine::Disconnected(node) => self.disconnected(&node, entropy),
            PeerToEngine::Received { from, message } => {
                let heard = self.hear(&from, *message, entropy);
                self.judge(&from, heard);
            }
        }
    }

    /// The end of the peer edge is there: every link is ordered.
    pub(crate) fn grant_peer_end(&mut self) {
        self.peer_end = true;
        let links = self.peers.values().map(|peer| peer.how.clone());
        let orders = links.map(EngineToPeer::Link);
        self.shared.outbox.peer = orders.collect();
    }

    /// Presents our lease; from the first time on what the peer says counts as said after it.
    pub(crate) fn present_lease_on_link(&mut self, node: &NodeId) {
        if self.keeper.live(self.now).is_none() {
            return;
        }
        self.present_lease(node);
        if let Some(peer) = self.peers.get_mut(node) {
            peer.link.presented.get_or_insert(self.now);
        }
    }

    fn connected(&mut self, node: &NodeId, ldevid: Thumbprint, entropy: Entropy<'_>) {
        if !self.peers.contains_key(node) {
            return;
        }
        self.disconnected(node, entropy);
        if let Some(peer) = self.peers.get_mut(node) {
            peer.ldevid = Some(ldevid);
            peer.link = Link {
                connected: true,
                ..Link::default()
            };
        }
        self.present_lease_on_link(node);
    }

    fn disconnected(&mut self, node: &NodeId, entropy: Entropy<'_>) {
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        if !peer.link.connected {
            return;
        }
        peer.link = Link::default();
        peer.ldevid = None;
        self.shared.outbox.unsay(node);
        self.with_tunnels_of(node, entropy, Tunnel::unlinked);
    }

    fn hear(&mut self, from: &NodeId, message: PeerMessage, entropy: Entropy<'_>) -> Heard {
        let Some(peer) = self.peers.get(from).filter(|peer| peer.link.connected) else {
            return Heard::Stale;
        };
        let tunnel = match &message {
            PeerMessage::Lease(bytes) => return self.hear_lease(from, bytes, entropy),
            PeerMessage::Resume { tunnel, .. }
            | PeerMessage::RekeyWanted { tunnel, .. }
            | PeerMessage::Confirm { tunnel, .. }
            | PeerMessage::InboundStands { tunnel, .. }
            | PeerMessage::ExtendWanted { tunnel, .. }
            | PeerMessage::Switched { tunnel, .. }
            | PeerMessage::Abandoned { tunnel, .. } => *tunnel,
            PeerMessage::Offer(offer) => offer.tunnel,
            PeerMessage::Answer(answer) => answer.tunnel,
            PeerMessage::Stream(stream) => return self.hear_stream(from, stream.clone()),
        };
        // Nothing counts before the peer has shown a live lease on this link.
        if !peer.link.granted {
            return Heard::Stale;
        }
        match peer.tunnels.get(&tunnel).copied() {
            Some(reqid) => self
                .with_tunnel(reqid, entropy, |tunnel, desk| tunnel.hear(message, desk))
                .unwrap_or(Heard::Stale),
            None => Heard::Stale,
        }
    }

    fn hear_lease(&mut self, from: &NodeId, bytes: &[u8], entropy: Entropy<'_>) -> Heard {
        let Some(peer) = self.peers.get_mut(from) else {
            return Heard::Stale;
        };
        let (Some(own), Some(ldevid)) = (self.keeper.live(self.now), peer.ldevid) else {
            return Heard::Stale;
        };
        let judged = self.keeper.judge(bytes, from, ldevid, own, self.now);
        let Ok(lease) = judged else {
            self.shared.outbox.counters.add(Count::PeerLeaseRefused);
            return Heard::Nonsense;
        };
        // The later of two counts: each is the verifier's word.
        peer.link.lease = peer.link.lease.max(Some(lease));
        if peer.link.granted {
            self.with_tunnels_of(from, entropy, Tunnel::lease_renewed);
        } else {
            peer.link.granted = true;
            self.announce_streams(from);
            if self.start.listed_at.is_some() {
                self.with_tunnels_of(from, entropy, Tunnel::linked);
            }
        }
        Heard::Taken
    }

    fn judge(&mut self, from: &NodeId, heard: Heard) {
        let counters = &mut self.shared.outbox.counters;
        match heard {
            Heard::Taken => return,
            Heard::Stale => counters.add(Count::PeerStale),
            Heard::Nonsense => counters.add(Count::PeerRefused),
        }
        let Some(peer) = self.peers.get_mut(from) else {
            return;
        };
        if peer.refuses(heard, self.now) {
            counters.add(Count::PeerClosed);
            let order = EngineToPeer::Close(from.clone());
            self.shared.outbox.peer.push_back(order);
        }
    }

    /// The list of SAs is complete: tunnels may speak with peers that are linked already.
    pub(crate) fn introduce_all(&mut self, entropy: Entropy<'_>) {
        self.with_every_tunnel(entropy, Tunnel::introduce);
    }
}
