//! Every tunnel and the gate before them: what comes in goes to the tunnel it is about, what is to be
//! said waits until its neighbour can take it.
//!
//! Steering (`steering`), peers (`peering`) and the replies of the kernel and the
//! KME (`replies`) have their own files.

use std::collections::BTreeMap;

use bartizan_evidence::cose::KeyError;
use bartizan_model::config::EngineConfig;
use bartizan_model::identity::Farewell;
use bartizan_model::ids::{NodeId, Reqid};
use bartizan_model::message::{
    EngineToControl, EngineToXfrm, PeerMessage, RoleToSupervisor, SaListed,
};
use bartizan_model::report::Notice;
use bartizan_model::time::BootTime;
use bartizan_secret::Secret;

use crate::desk::{Desk, Link, Shared};
use crate::edit::Edit;
use crate::exchange::{Input, Output, Room};
use crate::lease::{Entropy, Keeper};
use crate::orders::Task;
use crate::pacing::QkdTold;
use crate::peers::Peer;
use crate::spd::Spd;
use crate::streams::Streams;
use crate::timers::{Timer, Timers};
use crate::times::FLUSH_WAIT;
use crate::tunnel::Tunnel;

/// The engine, without I/O, clock or randomness of its own.
///
/// After every [`Engine::handle`] poll [`Engine::poll_output`] until it says `None`, then wait until
/// [`Engine::deadline`] at most and hand it [`Input::Tick`].
#[derive(Debug)]
pub struct Engine {
    pub(crate) node: NodeId,
    pub(crate) now: BootTime,
    pub(crate) keeper: Keeper,
    pub(crate) shared: Shared,
    pub(crate) timers: Timers,
    pub(crate) tunnels: BTreeMap<Reqid, Tunnel>,
    pub(crate) peers: BTreeMap<NodeId, Peer>,
    pub(crate) spd: Spd,
    pub(crate) streams: Streams,
    pub(crate) qkd_told: QkdTold,
    pub(crate) edit: Option<Edit>,
    pub(crate) start: Start,
    pub(crate) flush: Flush,
    /// The owner ended the ownership: nothing counts any more.
    pub(crate) farewell: Option<Farewell>,
    /// Removals of SAs that no generation has, to be ordered again.
    pub(crate) retries: Vec<Task>,
    pub(crate) peer_end: bool,
    pub(crate) in_force: bool,
}

/// What is still open from the start.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// What the kernel has listed, by reqid, until its tunnel takes it over.
    pub(crate) listed: BTreeMap<u32, Vec<SaListed>>,
    /// When the list was complete; no tunnel speaks with its peer before.
    pub(crate) listed_at: Option<BootTime>,
    /// An edit was accepted.
    pub(crate) edited: bool,
}

/// The removal of all SAs when the lease is lost or the ownership ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Flush {
    /// None is under way.
    Idle,
    /// The kernel has been ordered, and the supervisor is to be told when it is done.
    Ordered,
}

impl Engine {
    /// Starts: asks the kernel which SAs stand, and for a lease.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if a pinned verifier key is none.
    pub fn new(
        config: &EngineConfig,
        now: BootTime,
        entropy: Entropy<'_>,
    ) -> Result<Self, KeyError> {
        let keeper = Keeper::new(config, now, entropy)?;
        let mut engine = Self {
            node: config.node.clone(),
            now,
            keeper,
            shared: Shared::default(),
            timers: Timers::default(),
            tunnels: BTreeMap::new(),
            peers: BTreeMap::new(),
            spd: Spd::default(),
            streams: Streams::default(),
            qkd_told: QkdTold::default(),
            edit: None,
            start: Start::default(),
            flush: Flush::Idle,
            farewell: None,
            retries: Vec::new(),
            peer_end: false,
            in_force: false,
        };
        engine.shared.orders.push_urgent(Task::List);
        engine.tell_nonce();
        Ok(engine)
    }

    /// Takes one input, after every deadline that has passed.
    pub fn handle(&mut self, now: BootTime, input: Input, entropy: Entropy<'_>) {
        self.now = self.now.max(now);
        while let Some(timer) = self.timers.pop(self.now) {
            self.due(timer, entropy);
        }
        match input {
            Input::Control(message) => self.handle_control(message, entropy),
            Input::Xfrm(message) => self.handle_xfrm(message, entropy),
            Input::Peer(message) => self.handle_peer(message, entropy),
            Input::Qkd(message, key) => self.handle_qkd(message, key, entropy),
            Input::PeerEnd => self.grant_peer_end(),
            Input::QkdEnd => self.shared.qkd.set_available(),
            Input::Tick => {}
        }
        while let Some(reqid) = self.shared.keying.next() {
            self.with_tunnel(reqid, entropy, |tunnel, _| tunnel.succession.unqueue());
        }
        self.follow_budget(entropy);
    }

    /// Gives the next message for a neighbour that can take it. An SA's seconds count from `now`.
    pub fn poll_output(&mut self, now: BootTime, room: Room) -> Option<Output> {
        self.now = self.now.max(now);
        if room.xfrm
            && let Some((order, key)) = self.next_order()
        {
            return Some(Output::Xfrm(order, key));
        }
        if room.supervisor
            && let Some(message) = self.next_for_supervisor()
        {
            return Some(Output::Supervisor(message));
        }
        if room.control
            && let Some(message) = self.next_for_control()
        {
            return Some(Output::Control(message));
        }
        let outbox = &mut self.shared.outbox;
        if room.peer
            && let Some(order) = outbox.peer.pop_front()
        {
            return Some(Output::Peer(order));
        }
        if room.qkd
            && let Some(order) = outbox.qkd.pop_front()
        {
            return Some(Output::Qkd(order));
        }
        None
    }

    /// When [`Input::Tick`] is due at the latest.
    pub fn deadline(&self) -> Option<BootTime> {
        self.timers.first()
    }

    /// Lets something happen to a tunnel, then everything that follows from it.
    pub(crate) fn with_tunnel<T>(
        &mut self,
        reqid: Reqid,
        entropy: Entropy<'_>,
        happen: impl FnOnce(&mut Tunnel, &mut Desk<'_>) -> T,
    ) -> Option<T> {
        let tunnel = self.tunnels.get_mut(&reqid)?;
        let (peer, link) = match self.peers.get(&tunnel.keying().peer) {
            Some(peer) => (&peer.how.node, peer.link),
            None => (&self.node, Link::default()),
        };
        let before = tunnel.aspect();
        let mut desk = Desk {
            now: self.now,
            node: &self.node,
            peer,
            lease: self.keeper.live(self.now),
            link,
            shared: &mut self.shared,
            entropy,
        };
        let outcome = happen(tunnel, &mut desk);
        tunnel.review(&mut desk);
        self.timers.set(Timer::Tunnel(reqid), tunnel.deadline(link));
        if tunnel.aspect() != before {
            self.shared.outbox.tunnel_changed(reqid);
        }
        Some(outcome)
    }

    /// The same for every tunnel.
    pub(crate) fn with_every_tunnel(
        &mut self,
        entropy: Entropy<'_>,
        mut happen: impl FnMut(&mut Tunnel, &mut Desk<'_>),
    ) {
        let reqids: Vec<Reqid> = self.tunnels.keys().copied().collect();
        for reqid in reqids {
            self.with_tunnel(reqid, entropy, &mut happen);
        }
    }

    /// The same for every tunnel with one peer.
    pub(crate) fn with_tunnels_of(
        &mut self,
        peer: &NodeId,
        entropy: Entropy<'_>,
        mut happen: impl FnMut(&mut Tunnel, &mut Desk<'_>),
    ) {
        let peer = self.peers.get(peer);
        let reqids: Vec<Reqid> = peer
            .map(|peer| peer.tunnels.values().copied().collect())
            .unwrap_or_default();
        for reqid in reqids {
            self.with_tunnel(reqid, entropy, &mut happen);
        }
    }

    pub(crate) fn tell_nonce(&mut self) {
        let nonce = EngineToControl::LeaseNonce(self.keeper.nonce());
        self.shared.outbox.control.push_back(nonce);
        let due = self.keeper.nonce_due();
        self.timers.set(Timer::Nonce, Some(due));
    }

    /// No lease is live: every key is wiped, every SA removed; when the kernel has done so, or has
    /// had its time, the supervisor is told. Peers are told that nothing stands here, so that they
    /// need not find out.
    pub(crate) fn lose_lease(&mut self, entropy: Entropy<'_>) {
        self.keeper.drop_lease();
        self.timers.set(Timer::Lease, None);
        self.shared.orders.clear_sas();
        self.shared.orders.push_urgent(Task::RemoveAll);
        self.with_every_tunnel(entropy, |tunnel, desk| {
            tunnel.withdraw(desk);
            tunnel.unlinked(desk);
        });
        // What the tunnels have just ordered goes with all the rest.
        self.shared.orders.clear_sas();
        self.start.listed.clear();
        for peer in self.peers.values_mut() {
            peer.link = Link {
                connected: peer.link.connected,
                ..Link::default()
            };
        }
        self.flush = Flush::Ordered;
        let until = self.now.after(FLUSH_WAIT);
        self.timers.set(Timer::Flush, Some(until));
    }

    pub(crate) fn flushed(&mut self) {
        if self.flush == Flush::Ordered {
            self.flush = Flush::Idle;
            self.timers.set(Timer::Flush, None);
            let word = match self.farewell {
                Some(farewell) => RoleToSupervisor::Ordered(farewell),
                None => RoleToSupervisor::LeaseLost,
            };
            self.shared.outbox.supervisor.push_back(word);
        }
    }

    fn due(&mut self, timer: Timer, entropy: Entropy<'_>) {
        match timer {
            Timer::Lease => self.lose_lease(entropy),
            Timer::Nonce => {
                self.keeper.renew_nonce(self.now, entropy);
                self.tell_nonce();
            }
            Timer::Flush => self.flushed(),
            Timer::Retries => {
                for task in core::mem::take(&mut self.retries) {
                    self.shared.orders.push(task);
                }
            }
            Timer::Budget => self.shared.budget.tick(self.now),
            Timer::Tunnel(reqid) => {
                self.with_tunnel(reqid, entropy, Tunnel::tick);
            }
        }
    }

    fn next_order(&mut self) -> Option<(EngineToXfrm, Option<Secret>)> {
        while let Some(task) = self.shared.orders.next() {
            if let Some(order) = self.write_order(task) {
                return Some(order);
            }
        }
        if !self.shared.orders.has_window() {
            return None;
        }
        let orders = &mut self.shared.orders;
        let busy = orders.programs();
        let order = self.spd.next(|task| orders.sent(task), busy);
        if let Some(entries) = self.spd.take_programmed(orders.programs()) {
            let entries = u32::try_from(entries).unwrap_or(u32::MAX);
            let notice = Notice::Programmed { entries };
            self.shared.outbox.notice(notice);
        }
        order.map(|order| (order, None))
    }

    /// An order about an SA, as xfrm takes it; `None` if it has become void. One that is void for lack
    /// of a lease is found by its generation's deadline.
    fn write_order(&mut self, task: Task) -> Option<(EngineToXfrm, Option<Secret>)> {
        let now = self.now;
        let orders = &mut self.shared.orders;
        Some(match task {
            Task::Install(reqid, epoch, direction) => {
                let tunnel = self.tunnels.get_mut(&reqid)?;
                let peer = self.peers.get(&tunnel.keying().peer)?;
                let gate = peer.link.gate(self.keeper.live(now), now)?;
                let (sa, key) = tunnel.install_order(epoch, direction, now, gate)?;
                let order = orders.sent(Task::Installing(reqid, epoch, direction, sa.id));
                let sa = Box::new(sa);
                self.reschedule(reqid);
                (EngineToXfrm::InstallSa { order, sa }, Some(key))
            }
            Task::Extend(reqid, epoch, direction, until) => {
                let tunnel = self.tunnels.get_mut(&reqid)?;
                let peer = self.peers.get(&tunnel.keying().peer)?;
                let gate = peer.link.gate(self.keeper.live(now), now)?;
                let sa = tunnel.extend_order(epoch, direction, until, now, gate)?;
                let order = orders.sent(Task::Extending(reqid, epoch, direction, sa.id));
                let sa = Box::new(sa);
                (EngineToXfrm::ExtendSa { order, sa }, None)
            }
            Task::Remove(_, _, _, sa) | Task::RemoveOrphan(_, _, sa) | Task::RemoveStray(sa) => {
                let order = orders.sent(task);
                (EngineToXfrm::RemoveSa { order, sa }, None)
            }
            Task::RemoveAll => {
                let order = orders.sent(task);
                (EngineToXfrm::RemoveAllSas { order }, None)
            }
            Task::List => {
                let order = orders.sent(task);
                (EngineToXfrm::ListSas { order }, None)
            }
            // Never queued: these are written by the SPD, or only ever on their way.
            Task::Installing(..)
            | Task::Extending(..)
            | Task::InstallPolicy(_)
            | Task::RemovePolicy(_)
            | Task::RemoveOtherPolicies => return None,
        })
    }

    fn reschedule(&mut self, reqid: Reqid) {
        if let Some(tunnel) = self.tunnels.get(&reqid) {
            let peer = self.peers.get(&tunnel.keying().peer);
            let link = peer.map(|peer| peer.link).unwrap_or_default();
            self.timers.set(Timer::Tunnel(reqid), tunnel.deadline(link));
        }
    }

    fn next_for_supervisor(&mut self) -> Option<RoleToSupervisor> {
        let outbox = &mut self.shared.outbox;
        if let Some(message) = outbox.supervisor.pop_front() {
            return Some(message);
        }
        if let Some((name, total)) = outbox.counters.take_changed() {
            let name = String::from(name);
            return Some(RoleToSupervisor::Counted { name, total });
        }
        let Some(reqid) = outbox.changed_for_supervisor() else {
            return self.qkd_for_supervisor();
        };
        Some(match self.tunnels.get(&reqid) {
            Some(tunnel) => RoleToSupervisor::Tunnel(Box::new(tunnel.report())),
            None => RoleToSupervisor::TunnelGone(reqid),
        })
    }

    fn next_for_control(&mut self) -> Option<EngineToControl> {
        let outbox = &mut self.shared.outbox;
        if let Some(message) = outbox.control.pop_front() {
            return Some(message);
        }
        let Some(reqid) = outbox.changed_for_control() else {
            return self.qkd_for_control();
        };
        Some(match self.tunnels.get(&reqid) {
            Some(tunnel) => EngineToControl::Tunnel(Box::new(tunnel.report())),
            None => EngineToControl::TunnelGone(reqid),
        })
    }

    /// Says our lease to a connected peer.
    pub(crate) fn present_lease(&mut self, to: &NodeId) {
        if let Some(lease) = self.keeper.live(self.now) {
            let message = PeerMessage::Lease(lease.bytes().to_vec());
            self.shared.outbox.say(to, message);
        }
    }
}
