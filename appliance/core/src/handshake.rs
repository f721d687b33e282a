//! How both ends of a tunnel come to the same key: offer, answer, tags.
//!
//! The initiator takes a QKD key, if the policy has one, and offers its name with an encapsulation
//! key. The responder takes the same key, encapsulates and answers with the sources that both have;
//! what the policy requires must be among them at either end. Both derive, and show by a tag that
//! they derived the same before anything is installed.

use bartizan_model::ids::{Epoch, KeyId, OrderId};
use bartizan_model::message::{Answer, EngineToQkd, Offer, PeerMessage, Side};
use bartizan_model::policy::Direction;
use bartizan_model::report::{Alarm, QkdRefusal};
use bartizan_model::time::BootTime;
use bartizan_secret::Secret;

use crate::budget::Fate;
use crate::classical;
use crate::counters::Count;
use crate::desk::{Desk, Gate};
use crate::generation::State;
use crate::hybrid::{Context, DeriveError, Derived, Shares, derive};
use crate::kem::Initiator;
use crate::life::Life;
use crate::pacing::Leave;
use crate::pair::Generation;
use crate::times::{CONFIRM_WAIT, KERNEL_WAIT, PEER_WAIT, SOURCES_WAIT};
use crate::tunnel::Tunnel;
use crate::words::Heard;

/// The secrets of the generation that is coming up, and what they are bound to.
#[derive(Debug)]
pub(crate) struct Handshake {
    pub(crate) epoch: Epoch,
    deadline: BootTime,
    /// It holds a place among those that exchange keys.
    pub(crate) placed: bool,
    pub(crate) qkd: QkdShare,
    pub(crate) initiator: Option<Initiator>,
    pub(crate) exchange: Option<classical::Initiator>,
    pub(crate) offer: Option<Offer>,
    pub(crate) answer: Option<Answer>,
    pub(crate) kem: Option<Secret>,
    pub(crate) classical: Option<Secret>,
    derived: Option<Derived>,
    keys: Keys,
    confirmed_at: Option<BootTime>,
    /// The moment until which the peer's inbound SA stands for certain.
    pub(crate) peer_until: Option<BootTime>,
}

/// The SA keys, from the tag to the kernel.
#[derive(Debug, Default)]
struct Keys {
    inbound: Option<Secret>,
    outbound: Option<Secret>,
}

/// The QKD key on its way.
#[derive(Debug)]
pub(crate) enum QkdShare {
    /// Not asked for: the policy or the offer is without.
    Unused,
    /// The KME link was asked.
    Asked {
        /// By this order.
        order: OrderId,
        /// It may take so long.
        until: BootTime,
    },
    /// It is there.
    Got(KeyId, Secret),
    /// It did not come.
    Missing(QkdRefusal),
}

impl Handshake {
    fn new(epoch: Epoch, now: BootTime) -> Self {
        Self {
            epoch,
            deadline: now.after(SOURCES_WAIT),
            placed: true,
            qkd: QkdShare::Unused,
            initiator: None,
            exchange: None,
            offer: None,
            answer: None,
            kem: None,
            classical: None,
            derived: None,
            keys: Keys::default(),
            confirmed_at: None,
            peer_until: None,
        }
    }

    /// When something is to be done. While the peer may already send, a missing link stops the
    /// clock: the key is still wanted when the link is back.
    pub(crate) fn due(&self, generation: Option<&Generation>, up: bool) -> Option<BootTime> {
        let waits = generation.is_some_and(|g| g.state == State::InboundInstalled) && !up;
        let deadline = (!waits).then_some(self.deadline);
        let qkd = match self.qkd {
            QkdShare::Asked { until, .. } => Some(until),
            QkdShare::Unused | QkdShare::Got(..) | QkdShare::Missing(_) => None,
        };
        [deadline, qkd].into_iter().flatten().min()
    }

    /// The key of one direction, once.
    pub(crate) fn take_key(&mut self, direction: Direction) -> Option<Secret> {
        match direction {
            Direction::Inbound => self.keys.inbound.take(),
            Direction::Outbound => self.keys.outbound.take(),
        }
    }

    /// When the tag was sent: before the peer installed anything.
    pub(crate) fn confirmed_at(&self) -> Option<BootTime> {
        self.confirmed_at
    }
}

impl Tunnel {
    /// Starts a generation as the initiator.
    pub(crate) fn start(&mut self, desk: &mut Desk<'_>) {
        let Some(gate) = desk.gate() else {
            return;
        };
        if !desk.shared.keying.take(desk.peer) {
            self.succession.queue();
            desk.shared.keying.wait(self.reqid());
            return;
        }
        let leave = self.ask_budget(desk);
        if leave == Leave::Later {
            desk.shared.keying.give_back(desk.peer);
            return;
        }
        self.succession.begun();
        let Some(epoch) = self.wheel.last().next() else {
            // 2^64 generations: only a peer's word can have brought it here, and that is bounded.
            desk.shared.keying.give_back(desk.peer);
            self.settle_budget(Fate::Unknown, desk);
            self.failed(Some(Alarm::PeerMismatch), desk);
            return;
        };
        if !self.begin(epoch, desk) {
            self.settle_budget(Fate::Unknown, desk);
            return;
        }
        if leave == Leave::Without {
            if let Some(handshake) = &mut self.handshake {
                handshake.qkd = QkdShare::Missing(QkdRefusal::Budget);
            }
        } else {
            let source = self.keying().qkd.clone();
            self.fetch(source.map(|source| (source, None)), gate.lease, desk);
        }
        self.go_on(desk);
    }

    /// The KME link answered; `None` is no reply in time.
    pub(crate) fn qkd_answered(
        &mut self,
        order: OrderId,
        outcome: Result<(KeyId, Secret), QkdRefusal>,
        desk: &mut Desk<'_>,
    ) {
        let Some(handshake) = &mut self.handshake else {
            return;
        };
        if !matches!(handshake.qkd, QkdShare::Asked { order: asked, .. } if asked == order) {
            return;
        }
        let fate = match &outcome {
            Ok(_) => Fate::Delivered,
            Err(refusal) => Fate::Refused(*refusal),
        };
        handshake.qkd = match outcome {
            Ok((id, key)) => QkdShare::Got(id, key),
            Err(refusal) => {
                desk.count(Count::QkdRefused);
                QkdShare::Missing(refusal)
            }
        };
        self.settle_budget(fate, desk);
        self.go_on(desk);
    }

    /// The initiator's half has come.
    pub(crate) fn hear_offer(&mut self, offer: Offer, desk: &mut Desk<'_>) -> Heard {
        let Some(gate) = desk.gate().filter(|_| self.resumed()) else {
            return Heard::Stale;
        };
        let epoch = offer.epoch;
        if self.initiates() || offer.side != Side::Initiator || !self.is_near(epoch) {
            return Heard::Nonsense;
        }
        // What comes while there is no room is refused in words, so that nobody waits for a deadline.
        let refused = PeerMessage::Abandoned {
            tunnel: self.id(),
            epoch,
        };
        let known = epoch <= self.wheel.last();
        if known || !self.wheel.has_room() {
            self.wheel.heard_of(epoch);
            desk.say(refused);
            return Heard::Stale;
        }
        if !self.fits(&offer) {
            self.wheel.heard_of(epoch);
            desk.say(refused);
            self.failed(Some(Alarm::PeerMismatch), desk);
            return Heard::Nonsense;
        }
        let outbound = self.sa_id(Direction::Outbound, offer.spi);
        if !desk.shared.keying.take_to_answer(desk.peer) {
            self.wheel.heard_of(epoch);
            desk.say(refused);
            return Heard::Stale;
        }
        if !desk.shared.spis.take_outbound(outbound, self.reqid()) {
            self.wheel.heard_of(epoch);
            desk.shared.keying.give_back(desk.peer);
            desk.say(refused);
            return Heard::Nonsense;
        }
        if !self.begin(epoch, desk) {
            desk.shared.spis.free_outbound(outbound);
            desk.say(refused);
            return Heard::Taken;
        }
        self.wheel.set_outbound_spi(epoch, offer.spi);
        if let Some(life) = self.lives.get_mut(&epoch) {
            life.outbound_id = Some(outbound);
        }
        let source = self.keying().qkd.clone().zip(Some(offer.qkd_key.clone()));
        let wanted = source.filter(|_| offer.sources.qkd);
        if let Some(handshake) = &mut self.handshake {
            handshake.offer = Some(offer);
        }
        self.fetch(wanted, gate.lease, desk);
        self.go_on(desk);
        Heard::Taken
    }

    /// The responder's half has come.
    pub(crate) fn hear_answer(&mut self, answer: Answer, desk: &mut Desk<'_>) -> Heard {
        let Some(handshake) = &mut self.handshake else {
            return Heard::Stale;
        };
        let epoch = handshake.epoch;
        let waits = handshake
            .offer
            .as_ref()
            .filter(|_| handshake.answer.is_none());
        let Some(offer) = waits.filter(|_| answer.epoch == epoch && self.side == Side::Initiator)
        else {
            return Heard::Stale;
        };
        let within = (offer.sources.qkd || !answer.sources.qkd)
            && (offer.sources.kem || !answer.sources.kem);
        let same_key = !answer.sources.qkd || answer.qkd_key == offer.qkd_key;
        let outbound = self.sa_id(Direction::Outbound, answer.spi);
        if !within
            || !same_key
            || answer.side != Side::Responder
            || !self.suffices(answer.sources)
            || !self.is_answered_by(&answer)
            || !desk.shared.spis.take_outbound(outbound, self.reqid())
        {
            self.give_up(epoch, Alarm::PeerMismatch, desk);
            return Heard::Nonsense;
        }
        self.wheel.set_outbound_spi(epoch, answer.spi);
        if let Some(life) = self.lives.get_mut(&epoch) {
            life.outbound_id = Some(outbound);
        }
        if !answer.sources.qkd {
            self.tell_unused(epoch, desk);
        }
        if let Err(alarm) = self.take_answer(answer) {
            self.give_up(epoch, alarm, desk);
            return Heard::Nonsense;
        }
        self.complete(epoch, desk);
        Heard::Taken
    }

    /// The peer's tag has come.
    pub(crate) fn hear_confirm(
        &mut self,
        epoch: Epoch,
        tag: &[u8; 32],
        desk: &mut Desk<'_>,
    ) -> Heard {
        let Some(handshake) = self.handshake.as_mut().filter(|h| h.epoch == epoch) else {
            return Heard::Stale;
        };
        let Some(derived) = handshake.derived.take() else {
            return Heard::Nonsense;
        };
        if !derived.confirmed_by(tag) {
            desk.count(Count::TagMismatch);
            self.give_up(epoch, Alarm::TagMismatch, desk);
            return Heard::Taken;
        }
        let Derived {
            inbound, outbound, ..
        } = derived;
        handshake.keys = Keys {
            inbound: Some(inbound),
            outbound: Some(outbound),
        };
        // `derived` is there in the one state that takes this.
        self.act(desk, Some(Alarm::Kernel), |wheel, effects| {
            let _taken = wheel.peer_confirmed(epoch, effects);
        });
        Heard::Taken
    }

    /// Derives the key and shows the peer the tag.
    pub(crate) fn derive(&mut self, epoch: Epoch, desk: &mut Desk<'_>) {
        let Some(gate) = desk.gate() else {
            self.give_up(epoch, Alarm::PeerNoLease, desk);
            return;
        };
        match self.combine(epoch, gate, desk) {
            Ok(tag) => {
                let tunnel = self.id();
                desk.say(PeerMessage::Confirm { tunnel, epoch, tag });
            }
            Err(DeriveError::Lock(_)) => self.give_up(epoch, Alarm::LockedMemory, desk),
            Err(
                DeriveError::NoSource
                | DeriveError::SetMismatch
                | DeriveError::ExchangeMismatch
                | DeriveError::UnequalLengths
                | DeriveError::ZeroShare
                | DeriveError::Length,
            ) => self.give_up(epoch, Alarm::PeerMismatch, desk),
        }
    }

    /// Does what is due by time.
    pub(crate) fn tick_handshake(&mut self, desk: &mut Desk<'_>) {
        let Some(handshake) = &self.handshake else {
            return;
        };
        let now = desk.now;
        let epoch = handshake.epoch;
        if let QkdShare::Asked { order, until } = handshake.qkd
            && until <= now
        {
            if desk.shared.qkd.forget(order) {
                desk.shared.outbox.qkd.push_back(EngineToQkd::Cancel(order));
            }
            self.qkd_answered(order, Err(QkdRefusal::TimedOut), desk);
        }
        let up = desk.link.granted && self.resumed();
        let generation = self.wheel.generation(epoch);
        let due = self.handshake.as_ref().and_then(|h| h.due(generation, up));
        if due.is_some_and(|due| due <= now) {
            let alarm = match generation.map(|g| g.state) {
                Some(State::KeyConfirmed | State::PeerReady) => Alarm::Kernel,
                _ => Alarm::TimedOut,
            };
            self.give_up(epoch, alarm, desk);
        }
    }

    /// The generation that is coming up fails at this end.
    pub(crate) fn give_up(&mut self, epoch: Epoch, alarm: Alarm, desk: &mut Desk<'_>) {
        self.act(desk, Some(alarm), |wheel, effects| {
            wheel.give_up(epoch, effects);
        });
    }

    /// The state that was just entered waits for the kernel.
    pub(crate) fn await_kernel(&mut self, now: BootTime) {
        if let Some(handshake) = &mut self.handshake {
            handshake.deadline = now.after(KERNEL_WAIT);
        }
    }

    /// Our inbound SA stands, on this link or since before it: the peer has so long to say that its own
    /// does. The responder gives its place to whoever waits for one; the initiator only with its keys,
    /// or it would offer again before the responder had given back its own, and be refused.
    pub(crate) fn await_peer(&mut self, desk: &mut Desk<'_>) {
        let waits = self
            .wheel
            .next()
            .is_some_and(|g| g.state == State::InboundInstalled);
        if let Some(handshake) = self.handshake.as_mut().filter(|_| waits) {
            handshake.deadline = desk.now.after(PEER_WAIT);
            if !self.initiates() {
                self.leave_place(desk);
            }
        }
    }

    /// Wipes every secret of the exchange.
    pub(crate) fn drop_handshake(&mut self, desk: &mut Desk<'_>) {
        self.leave_place(desk);
        let Some(handshake) = self.handshake.take() else {
            return;
        };
        if let QkdShare::Asked { order, .. } = handshake.qkd
            && desk.shared.qkd.forget(order)
        {
            desk.shared.outbox.qkd.push_back(EngineToQkd::Cancel(order));
            self.settle_budget(Fate::Unknown, desk);
        }
    }

    /// Makes the generation; the caller has taken a place, which is given back if there is no SPI.
    fn begin(&mut self, epoch: Epoch, desk: &mut Desk<'_>) -> bool {
        let Some(spi) = desk.shared.spis.fresh(desk.entropy) else {
            desk.shared.keying.give_back(desk.peer);
            self.failed(Some(Alarm::Kernel), desk);
            return false;
        };
        let life = Life {
            inbound_spi: Some(spi),
            ..Life::default()
        };
        self.lives.insert(epoch, life);
        self.handshake = Some(Handshake::new(epoch, desk.now));
        self.act(desk, None, |wheel, effects| {
            wheel.start(epoch, spi, effects);
        });
        true
    }

    fn combine(
        &mut self,
        epoch: Epoch,
        gate: Gate<'_>,
        desk: &Desk<'_>,
    ) -> Result<[u8; 32], DeriveError> {
        let keying = &self.protect.keying;
        let (initiator, responder) = match self.side {
            Side::Initiator => (desk.node, &keying.peer),
            Side::Responder => (&keying.peer, desk.node),
        };
        let handshake = self.handshake.as_mut().filter(|h| h.epoch == epoch);
        let handshake = handshake.ok_or(DeriveError::ExchangeMismatch)?;
        let (Some(offer), Some(answer)) = (&handshake.offer, &handshake.answer) else {
            return Err(DeriveError::ExchangeMismatch);
        };
        let qkd = match &handshake.qkd {
            QkdShare::Got(_, key) if answer.sources.qkd => Some(key),
            QkdShare::Unused
            | QkdShare::Asked { .. }
            | QkdShare::Got(..)
            | QkdShare::Missing(_) => None,
        };
        let context = Context {
            initiator,
            responder,
            suite: self.protect.suite,
            mode: self.protect.mode,
            combiner: keying.combiner,
            parameter_set: keying.kem.map(|kem| kem.parameter_set),
            offer,
            answer,
        };
        let shares = Shares {
            qkd,
            kem: handshake.kem.as_ref(),
            classical: handshake.classical.as_ref(),
        };
        let derived = derive(&context, &shares, self.side, gate.lease)?;
        let tag = derived.tag;
        let sources = answer.sources;
        let without = match (&handshake.qkd, &keying.qkd) {
            (_, None) => None,
            (_, Some(_)) if sources.qkd => None,
            (QkdShare::Missing(refusal), Some(_)) => Some(*refusal),
            (QkdShare::Unused | QkdShare::Asked { .. } | QkdShare::Got(..), Some(_)) => {
                Some(QkdRefusal::PeerWithout)
            }
        };
        // Offer and answer may go too: what they bound is in the key.
        handshake.qkd = QkdShare::Unused;
        handshake.kem = None;
        handshake.classical = None;
        handshake.offer = None;
        handshake.derived = Some(derived);
        handshake.confirmed_at = Some(desk.now);
        handshake.deadline = desk.now.after(CONFIRM_WAIT);
        if let Some(life) = self.lives.get_mut(&epoch) {
            life.sources = Some(sources);
            life.without = without;
        }
        Ok(tag)
    }
}
