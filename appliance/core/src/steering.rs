//! What control brings: edits of the entries, and leases.

use std::collections::BTreeMap;
use std::sync::Arc;

use bartizan_model::ids::{EditId, EntryName, Epoch, NodeId, Reqid};
use bartizan_model::message::{
    ControlToEngine, EditRefusal, EngineToControl, EngineToPeer, LeaseRefusal, PeerLink,
    RoleToSupervisor,
};
use bartizan_model::policy::{Policy, Protect};

use crate::counters::Count;
use crate::edit::{Edit, EditKind, tunnels};
use crate::engine::Engine;
use crate::lease::Entropy;
use crate::orders::Task;
use crate::peers::{Peer, how};
use crate::timers::Timer;
use crate::tunnel::Tunnel;

impl Engine {
    pub(crate) fn handle_control(&mut self, message: ControlToEngine, entropy: Entropy<'_>) {
        match message {
            ControlToEngine::BeginEdit(id) => self.edit = Some(Edit::new(id, EditKind::Steering)),
            ControlToEngine::BeginRestore(id) => {
                self.edit = Some(Edit::new(id, EditKind::Restoring));
            }
            ControlToEngine::Put(policy) => {
                if let Some(edit) = &mut self.edit {
                    edit.change(policy.name.clone(), Some(*policy));
                }
            }
            ControlToEngine::Remove(name) => {
                if let Some(edit) = &mut self.edit {
                    edit.change(name, None);
                }
            }
            ControlToEngine::CommitEdit(id) => {
                let answer = match self.commit(id, entropy) {
                    Ok(()) => EngineToControl::EditAccepted(id),
                    Err((entry, reason)) => {
                        self.shared.outbox.counters.add(Count::EditRefused);
                        EngineToControl::EditRefused {
                            edit: id,
                            entry,
                            reason,
                        }
                    }
                };
                self.shared.outbox.control.push_back(answer);
            }
            ControlToEngine::Lease(bytes) => self.take_lease(bytes, entropy),
            ControlToEngine::Order(bytes) => self.take_order(&bytes, entropy),
        }
    }

    /// An edit without a change is taken as it is: nothing comes of it.
    fn commit(&mut self, id: EditId, entropy: Entropy<'_>) -> Result<(), (EntryName, EditRefusal)> {
        let Some(edit) = self.edit.take() else {
            return Ok(());
        };
        let Some(first) = edit.first().cloned() else {
            return Ok(());
        };
        if edit.id != id {
            return Err((first, EditRefusal::NotBegun));
        }
        // `running` of before a restart is what the controller last ordered, and policies only drop:
        // it is taken without a lease, once, before anything else.
        let restores = edit.kind == EditKind::Restoring && !self.start.edited;
        if !restores && self.keeper.live(self.now).is_none() {
            return Err((first, EditRefusal::NotAttested));
        }
        let entries = edit.apply(&self.node, self.spd.wanted())?;
        self.start.edited = true;
        self.spd.want(entries);
        self.follow_entries(entropy);
        Ok(())
    }

    /// Brings tunnels and peers in line with the entries.
    fn follow_entries(&mut self, entropy: Entropy<'_>) {
        let wanted: BTreeMap<Reqid, (Arc<Policy>, Protect)> = tunnels(self.spd.wanted())
            .into_iter()
            .map(|(reqid, (entry, protect))| (reqid, (Arc::clone(entry), protect.clone())))
            .collect();

        let gone: Vec<Reqid> = self
            .tunnels
            .iter()
            .filter(|(reqid, tunnel)| {
                let wanted = wanted.get(*reqid);
                !wanted.is_some_and(|(entry, protect)| tunnel.outlives(entry, protect))
            })
            .map(|(reqid, _)| *reqid)
            .collect();
        let mut lasts: BTreeMap<Reqid, Epoch> = BTreeMap::new();
        for reqid in gone {
            lasts.extend(self.withdraw(reqid, entropy).map(|last| (reqid, last)));
        }

        self.follow_peers(&wanted);
        for (reqid, (_, protect)) in &wanted {
            let source = protect.keying.qkd.as_ref();
            self.shared.budget.follow(*reqid, source);
        }
        for (reqid, (entry, protect)) in wanted {
            if let Some(tunnel) = self.tunnels.get(&reqid) {
                if tunnel.entry != entry || tunnel.protect != protect {
                    self.shared.outbox.tunnel_changed(reqid);
                    self.with_tunnel(reqid, entropy, |tunnel, desk| {
                        tunnel.change(entry, protect, desk);
                    });
                }
            } else {
                let last = lasts.get(&reqid).copied().unwrap_or_default();
                self.add_tunnel(entry, protect, last, entropy);
            }
        }
        self.adopt_listed(entropy);
    }

    fn withdraw(&mut self, reqid: Reqid, entropy: Entropy<'_>) -> Option<Epoch> {
        self.with_tunnel(reqid, entropy, Tunnel::withdraw);
        let tunnel = self.tunnels.remove(&reqid)?;
        self.timers.set(Timer::Tunnel(reqid), None);
        self.shared.budget.follow(reqid, None);
        if let Some(peer) = self.peers.get_mut(&tunnel.keying().peer)
            && peer.tunnels.get(&tunnel.id()) == Some(&reqid)
        {
            peer.tunnels.remove(&tunnel.id());
        }
        self.shared.outbox.tunnel_changed(reqid);
        Some(tunnel.wheel.last())
    }

    fn add_tunnel(
        &mut self,
        entry: Arc<Policy>,
        protect: Protect,
        last: Epoch,
        entropy: Entropy<'_>,
    ) {
        let reqid = entry.reqid;
        let tunnel = Tunnel::new(entry, protect, &self.node, last);
        if let Some(peer) = self.peers.get_mut(&tunnel.keying().peer) {
            peer.tunnels.insert(tunnel.id(), reqid);
        }
        self.tunnels.insert(reqid, tunnel);
        self.shared.outbox.tunnel_changed(reqid);
        if self.start.listed_at.is_some() {
            self.take_over_listed(reqid, entropy);
            self.with_tunnel(reqid, entropy, Tunnel::introduce);
        }
    }

    fn follow_peers(&mut self, wanted: &BTreeMap<Reqid, (Arc<Policy>, Protect)>) {
        let links: BTreeMap<NodeId, PeerLink> = wanted
            .values()
            .map(|(_, protect)| how(&self.node, &protect.keying))
            .map(|how| (how.node.clone(), how))
            .collect();
        let lost: Vec<NodeId> = self
            .peers
            .keys()
            .filter(|node| !links.contains_key(*node))
            .cloned()
            .collect();
        for node in lost {
            self.peers.remove(&node);
            self.order_peer(EngineToPeer::Unlink(node));
        }
        for (node, how) in links {
            let changed = match self.peers.get_mut(&node) {
                Some(peer) if peer.how == how => false,
                Some(peer) => {
                    peer.how = how.clone();
                    true
                }
                None => {
                    self.peers.insert(node, Peer::new(how.clone()));
                    true
                }
            };
            if changed {
                self.order_peer(EngineToPeer::Link(how));
            }
        }
    }

    /// Before the end of the edge is granted nothing is queued: it begins with all links.
    fn order_peer(&mut self, order: EngineToPeer) {
        if self.peer_end {
            self.shared.outbox.peer.push_back(order);
        }
    }

    fn take_lease(&mut self, bytes: Vec<u8>, entropy: Entropy<'_>) {
        let outcome = match self.farewell {
            // No nonce is outstanding any more.
            Some(_) => Err(LeaseRefusal::Nonce),
            None => self
                .keeper
                .accept(bytes, self.now, entropy)
                .map(|lease| (lease.end(), lease.owner_moment())),
        };
        match outcome {
            Ok((end, moment)) => {
                let lives = end.since(self.now);
                self.timers.set(Timer::Lease, Some(end));
                // First: whoever the lease lets begin must know the time.
                let time = RoleToSupervisor::OwnerTime(moment);
                self.shared.outbox.supervisor.push_back(time);
                let accepted = EngineToControl::LeaseAccepted(lives);
                self.shared.outbox.control.push_back(accepted);
                let accepted = RoleToSupervisor::LeaseAccepted(lives);
                self.shared.outbox.supervisor.push_back(accepted);
                self.present_lease_to_all();
                self.with_every_tunnel(entropy, Tunnel::lease_renewed);
            }
            Err(refusal) => {
                self.shared.outbox.counters.add(Count::LeaseRefused);
                let refused = EngineToControl::LeaseRefused(refusal);
                self.shared.outbox.control.push_back(refused);
                // Signed by the verifier over our own nonce: it has looked, and does not affirm.
                if refusal == LeaseRefusal::Status {
                    self.lose_lease(entropy);
                }
            }
        }
        if self.farewell.is_none() {
            self.tell_nonce();
        }
    }

    /// The owner ends the ownership: what a lost lease does, and nothing counts any more. Once the
    /// SAs are out of the kernel the supervisor is told, and the owner's keys go from the TPM.
    fn take_order(&mut self, bytes: &[u8], entropy: Entropy<'_>) {
        let outcome = match self.farewell {
            Some(_) => Err(LeaseRefusal::Nonce),
            None => self.keeper.obey(bytes, self.now, entropy),
        };
        match outcome {
            Ok(farewell) => {
                self.farewell = Some(farewell);
                self.timers.set(Timer::Nonce, None);
                let accepted = EngineToControl::OrderAccepted;
                self.shared.outbox.control.push_back(accepted);
                self.lose_lease(entropy);
            }
            Err(refusal) => {
                self.shared.outbox.counters.add(Count::OrderRefused);
                let refused = EngineToControl::OrderRefused(refusal);
                self.shared.outbox.control.push_back(refused);
            }
        }
    }

    fn present_lease_to_all(&mut self) {
        let connected: Vec<NodeId> = self
            .peers
            .values()
            .filter(|peer| peer.link.connected)
            .map(|peer| peer.how.node.clone())
            .collect();
        for node in connected {
            self.present_lease_on_link(&node);
        }
    }

    /// Gives every listed SA to its tunnel, once the list is complete; what belongs to no tunnel goes
    /// as soon as the tunnels are known.
    pub(crate) fn adopt_listed(&mut self, entropy: Entropy<'_>) {
        if self.start.listed_at.is_none() {
            return;
        }
        let reqids: Vec<Reqid> = self.tunnels.keys().copied().collect();
        for reqid in reqids {
            self.take_over_listed(reqid, entropy);
        }
        if self.start.edited {
            let strays = core::mem::take(&mut self.start.listed);
            for stray in strays.into_values().flatten() {
                self.shared.orders.push(Task::RemoveStray(stray.id));
            }
        }
    }

    fn take_over_listed(&mut self, reqid: Reqid, entropy: Entropy<'_>) {
        let listed = self.start.listed.remove(&u32::from(reqid));
        if let (Some(listed), Some(at)) = (listed, self.start.listed_at) {
            self.with_tunnel(reqid, entropy, |tunnel, desk| {
                tunnel.restart(listed, at, desk);
            });
        }
    }
}
