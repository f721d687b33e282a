//! One tunnel: its policy, its generations, its keys and its deadlines.
//!
//! What a generation may do stands in [`crate::generation`], which of them sends in [`crate::wheel`].
//! Here the effects are carried out. The parts of a tunnel's work have their own files: how keys are
//! agreed ([`crate::handshake`]), what the peer says ([`crate::words`]), the kernel
//! ([`crate::kernel`]), when a successor is due ([`crate::succession`]).

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use bartizan_model::ids::{Epoch, NodeId, Reqid, Spi, TunnelId};
use bartizan_model::message::{PeerMessage, SaId, SaListed, Side};
use bartizan_model::policy::{Direction, Keying, Policy, Protect};
use bartizan_model::report::{Alarm, Notice};
use bartizan_model::time::BootTime;

use crate::desk::{Desk, Link};
use crate::generation::State;
use crate::handshake::Handshake;
use crate::kernel::overdue;
use crate::life::{Life, Removal, take_due};
use crate::lifetime::Span;
use crate::orders::Task;
use crate::pair::Place;
use crate::succession::Succession;
use crate::times::{DRAIN, SETTLE};
use crate::wheel::{Effect, Effects, Wheel, Word};

/// One tunnel.
#[derive(Debug)]
pub(crate) struct Tunnel {
    /// Its outbound entry; the inbound one mirrors it.
    pub(crate) entry: Arc<Policy>,
    pub(crate) protect: Protect,
    pub(crate) side: Side,
    pub(crate) wheel: Wheel,
    pub(crate) handshake: Option<Handshake>,
    pub(crate) lives: BTreeMap<Epoch, Life>,
    /// SAs of before the restart that the peer has not spoken about.
    pub(crate) orphans: BTreeMap<(Direction, Spi), Span>,
    /// We have said on this link what stands.
    pub(crate) told: bool,
    /// The peer has.
    pub(crate) heard: bool,
    /// The last that it said so was an answer.
    pub(crate) answered: bool,
    pub(crate) succession: Succession,
    pub(crate) alarm: Option<Alarm>,
    pub(crate) rekeys: u64,
}

impl Tunnel {
    /// A tunnel as its outbound entry asks for it; `last` is the highest epoch that was used under
    /// this reqid before, so that no reply to an order of then is taken for one of now.
    pub(crate) fn new(entry: Arc<Policy>, protect: Protect, node: &NodeId, last: Epoch) -> Self {
        let side = if *node < protect.keying.peer {
            Side::Initiator
        } else {
            Side::Responder
        };
        Self {
            entry,
            protect,
            side,
            wheel: Wheel::new(last),
            handshake: None,
            lives: BTreeMap::new(),
            orphans: BTreeMap::new(),
            told: false,
            heard: false,
            answered: false,
            succession: Succession::default(),
            alarm: None,
            rekeys: 0,
        }
    }

    pub(crate) fn reqid(&self) -> Reqid {
        self.entry.reqid
    }

    pub(crate) fn keying(&self) -> &Keying {
        &self.protect.keying
    }

    pub(crate) fn id(&self) -> TunnelId {
        self.protect.keying.tunnel
    }

    /// Whether SAs under the present entry also fit the other one: packets still find them, so they
    /// stay until a generation under the new entry takes over.
    pub(crate) fn outlives(&self, entry: &Policy, protect: &Protect) -> bool {
        self.entry.selector == entry.selector
            && self.protect.mode == protect.mode
            && self.protect.local == protect.local
            && self.protect.remote == protect.remote
            && self.id() == protect.keying.tunnel
            && self.keying().peer == protect.keying.peer
    }

    /// Takes a changed entry that [`Tunnel::outlives`] allows.
    pub(crate) fn change(&mut self, entry: Arc<Policy>, protect: Protect, desk: &mut Desk<'_>) {
        let same_keys = self.protect == protect;
        self.entry = entry;
        self.protect = protect;
        if same_keys {
            return;
        }
        if let Some(epoch) = self.wheel.next().map(|g| g.epoch) {
            self.act(desk, None, |wheel, effects| wheel.give_up(epoch, effects));
        }
        let hard = self.keying().hard.seconds;
        for life in self.lives.values_mut() {
            life.outbound.shorten(hard);
            if life.since.is_some() {
                life.soft_at = Some(desk.now);
            }
        }
    }

    /// Takes over the SAs that the kernel listed for this reqid, `at` that time, after a restart.
    pub(crate) fn restart(&mut self, mut listed: Vec<SaListed>, at: BootTime, desk: &mut Desk<'_>) {
        listed.sort_by_key(|sa| sa.age);
        let (mut inbound, mut outbound) = (Vec::new(), Vec::new());
        for sa in listed {
            let ends = (sa.source, sa.id.destination);
            let direction = if ends == (self.protect.remote, self.protect.local) {
                Direction::Inbound
            } else if ends == (self.protect.local, self.protect.remote) {
                Direction::Outbound
            } else {
                desk.order(Task::RemoveStray(sa.id));
                continue;
            };
            // One without an end is none of ours.
            let Some(remaining) = sa.remaining.map(Duration::from_secs) else {
                desk.order(Task::RemoveStray(sa.id));
                continue;
            };
            let age = Duration::from_secs(sa.age);
            let span = Span::listed(at, age, remaining, self.keying().hard.seconds);
            self.orphans.insert((direction, sa.id.spi), span);
            match direction {
                Direction::Inbound => {
                    desk.shared.spis.take_inbound(sa.id.spi);
                    inbound.push(sa.id.spi);
                }
                Direction::Outbound => {
                    desk.shared.spis.take_outbound(sa.id, self.reqid());
                    outbound.push(sa.id.spi);
                }
            }
        }
        self.act(desk, None, |wheel, effects| {
            wheel.restart(inbound, outbound, effects);
        });
    }

    /// Both ends have shown live leases on a new link: says what stands here.
    pub(crate) fn linked(&mut self, desk: &mut Desk<'_>) {
        self.told = false;
        self.heard = false;
        self.answered = false;
        self.introduce(desk);
    }

    /// Says what stands here, as soon as that is known.
    pub(crate) fn introduce(&mut self, desk: &mut Desk<'_>) {
        if !self.told && desk.link.granted && self.wheel.can_resume() {
            self.told = true;
            self.say_standings(false, desk);
        }
    }

    /// The link is gone.
    pub(crate) fn unlinked(&mut self, desk: &mut Desk<'_>) {
        self.told = false;
        self.heard = false;
        self.answered = false;
        for life in self.lives.values_mut() {
            life.asked = None;
        }
        self.act(desk, None, Wheel::disconnected);
        self.leave_place(desk);
    }

    /// Gives the place back; a link that is away must not hold it either.
    pub(crate) fn leave_place(&mut self, desk: &mut Desk<'_>) {
        let handshake = self.handshake.as_mut();
        if handshake.is_some_and(|handshake| core::mem::take(&mut handshake.placed)) {
            desk.shared.keying.give_back(desk.peer);
        }
    }

    /// Whether both ends know of each other's generations on this link.
    pub(crate) fn resumed(&self) -> bool {
        self.told && self.heard
    }

    /// The policy is taken out: everything goes, and the peer is told that nothing stands.
    pub(crate) fn withdraw(&mut self, desk: &mut Desk<'_>) {
        self.act(desk, None, Wheel::revoke);
        if self.told {
            let message = PeerMessage::Resume {
                tunnel: self.id(),
                last: self.wheel.last(),
                generations: Vec::new(),
                reply: false,
            };
            desk.say(message);
        }
        self.wipe(desk);
    }

    /// The lease is lost, and the kernel was ordered to drop every SA.
    pub(crate) fn wipe(&mut self, desk: &mut Desk<'_>) {
        self.drop_handshake(desk);
        self.wheel.clear();
        for (direction, spi) in core::mem::take(&mut self.orphans).into_keys() {
            self.free(direction, spi, desk);
        }
        self.forget_the_dead(desk);
        self.succession = Succession::default();
    }

    /// Does what is due by time.
    pub(crate) fn tick(&mut self, desk: &mut Desk<'_>) {
        self.tick_handshake(desk);
        let now = desk.now;
        let epochs: Vec<Epoch> = self.lives.keys().copied().collect();
        for epoch in epochs {
            let Some(life) = self.lives.get_mut(&epoch) else {
                continue;
            };
            if take_due(&mut life.settle_at, now) {
                self.act(desk, None, |wheel, effects| wheel.settled(epoch, effects));
            }
            let Some(life) = self.lives.get_mut(&epoch) else {
                continue;
            };
            if take_due(&mut life.drain_at, now) {
                self.act(desk, None, |wheel, effects| wheel.drained(epoch, effects));
            }
            self.tick_kernel(epoch, desk);
        }
    }

    /// When [`Tunnel::tick`] or [`Tunnel::review`] has something to do.
    pub(crate) fn deadline(&self, link: Link) -> Option<BootTime> {
        let up = link.granted && self.resumed();
        let handshake = self.handshake.as_ref();
        let handshake = handshake.and_then(|h| h.due(self.wheel.generation(h.epoch), up));
        let lives = self.lives.iter().filter_map(|(epoch, life)| {
            let generation = self.wheel.generation(*epoch);
            let overdue = generation.and_then(|g| overdue(g, life));
            [life.due(), overdue].into_iter().flatten().min()
        });
        lives.chain(handshake).chain(self.review_at()).min()
    }

    /// Lets something happen to the generations and carries out what follows from it. If the
    /// generation that is coming up dies of it, `alarm` says why.
    pub(crate) fn act(
        &mut self,
        desk: &mut Desk<'_>,
        alarm: Option<Alarm>,
        happen: impl FnOnce(&mut Wheel, &mut Effects),
    ) {
        let next = self.wheel.next().map(|g| g.epoch);
        let mut effects = Effects::new();
        happen(&mut self.wheel, &mut effects);
        for effect in effects {
            self.perform(effect, desk);
        }
        let died = next.is_some_and(|epoch| {
            let generation = self.wheel.generation(epoch);
            generation.is_none_or(|g| !g.has_sent() && g.state > State::OutboundSwitched)
        });
        if died {
            self.failed(alarm, desk);
        }
        self.forget_the_dead(desk);
    }

    fn perform(&mut self, effect: Effect, desk: &mut Desk<'_>) {
        match effect {
            // Done by who started the generation: it has the offer in hand.
            Effect::RequestSources(_) => {}
            Effect::Derive(epoch) => self.derive(epoch, desk),
            Effect::Install(epoch, direction) => {
                desk.order(Task::Install(self.reqid(), epoch, direction));
                self.await_kernel(desk.now);
            }
            Effect::Remove(epoch, direction) => self.remove(epoch, direction, desk),
            Effect::RemoveOrphan(direction, spi) => {
                let id = self.sa_id(direction, spi);
                desk.order(Task::RemoveOrphan(self.reqid(), direction, id));
            }
            Effect::Say(epoch, word) => {
                self.say_word(epoch, word, desk);
                if word == Word::InboundStands {
                    self.await_peer(desk);
                }
            }
            Effect::WipeKey(_) => self.drop_handshake(desk),
            Effect::Established(epoch) => self.established(epoch, desk),
            Effect::ArmSettle(epoch) => {
                if let Some(life) = self.lives.get_mut(&epoch) {
                    life.settle_at = Some(desk.now.after(SETTLE));
                }
            }
            Effect::ArmDrain(epoch) => {
                if let Some(life) = self.lives.get_mut(&epoch) {
                    life.drain_at = Some(desk.now.after(DRAIN));
                }
            }
        }
    }

    fn established(&mut self, epoch: Epoch, desk: &mut Desk<'_>) {
        let older = self.wheel.generations().iter().filter(|g| g.epoch < epoch);
        if older.filter(|g| g.has_sent()).count() > 0 {
            self.rekeys = self.rekeys.saturating_add(1);
        }
        let (soft_at, late_at) = (self.soft_at(desk), self.late_at(desk));
        let mut without = None;
        if let Some(life) = self.lives.get_mut(&epoch) {
            life.since = Some(desk.now);
            life.soft_at = soft_at;
            life.late_at = late_at;
            without = life.without;
            life.ask_at = life.outbound.half(desk.now);
        }
        self.succession.succeeded(desk.now);
        // A source that is optional is never missing in silence.
        match without {
            Some(refusal) => self.raise(Alarm::Qkd(refusal), desk),
            None => self.alarm = None,
        }
        if let Some(pair) = self.pair()
            && let Some(sources) = pair.sources
        {
            desk.shared.outbox.notice(Notice::Established {
                entry: self.entry.name.clone(),
                pair,
                mix: self.mix(sources),
            });
        }
    }

    fn say_word(&mut self, epoch: Epoch, word: Word, desk: &mut Desk<'_>) {
        // What is not said now stands in the next `Resume`.
        if !self.told {
            return;
        }
        let tunnel = self.id();
        let message = match word {
            Word::InboundStands => PeerMessage::InboundStands {
                tunnel,
                epoch,
                seconds: self.inbound_seconds(epoch, desk.now),
            },
            Word::Switched => PeerMessage::Switched { tunnel, epoch },
            Word::Abandoned => PeerMessage::Abandoned { tunnel, epoch },
        };
        desk.say(message);
    }

    pub(crate) fn inbound_seconds(&self, epoch: Epoch, now: BootTime) -> u64 {
        let life = self.lives.get(&epoch);
        life.map_or(0, |life| life.inbound.seconds(now))
    }

    pub(crate) fn remove(&mut self, epoch: Epoch, direction: Direction, desk: &mut Desk<'_>) {
        let Some(generation) = self.wheel.generation(epoch) else {
            return;
        };
        let Some(spi) = generation.sa(direction).spi else {
            return;
        };
        let id = self.sa_id(direction, spi);
        desk.order(Task::Remove(self.reqid(), epoch, direction, id));
        if let Some(life) = self.lives.get_mut(&epoch) {
            let removal = Removal { id, again: None };
            life.removals.insert(direction, removal);
        }
    }

    pub(crate) fn sa_id(&self, direction: Direction, spi: Spi) -> SaId {
        let destination = match direction {
            Direction::Inbound => self.protect.local,
            Direction::Outbound => self.protect.remote,
        };
        SaId { spi, destination }
    }

    pub(crate) fn free(&self, direction: Direction, spi: Spi, desk: &mut Desk<'_>) {
        match direction {
            Direction::Inbound => desk.shared.spis.free_inbound(spi),
            Direction::Outbound => {
                let id = self.sa_id(direction, spi);
                desk.shared.spis.free_outbound(id);
            }
        }
    }

    fn forget_the_dead(&mut self, desk: &mut Desk<'_>) {
        let wheel = &self.wheel;
        let spis = &mut desk.shared.spis;
        self.lives.retain(|epoch, life| {
            let lives = wheel.generation(*epoch).is_some();
            if !lives {
                if let Some(spi) = life.inbound_spi {
                    spis.free_inbound(spi);
                }
                if let Some(id) = life.outbound_id {
                    spis.free_outbound(id);
                }
            }
            lives
        });
    }

    pub(crate) fn stands(&self, epoch: Epoch, direction: Direction) -> bool {
        let generation = self.wheel.generation(epoch);
        generation.is_some_and(|g| g.sa(direction).place == Place::Stands)
    }
}
