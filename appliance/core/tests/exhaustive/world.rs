//! Two ends, a link between them, and every event that may come next.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};

use bartizan_core::generation::State;
use bartizan_core::pair::Place;
use bartizan_core::wheel::{Effect, Effects, Installed, Wheel, Word};
use bartizan_model::ids::{Epoch, Spi};
use bartizan_model::policy::Direction;

use crate::end::{End, Message, Order};
use crate::explore::{Budget, Planted};

/// 0 initiates.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct World {
    pub(crate) ends: [End; 2],
    pub(crate) link: Link,
    pub(crate) budget: Budget,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Link {
    Up,
    /// Each end still has to notice.
    Down,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Move {
    Deliver(usize),
    Execute(usize),
    Refuse(usize),
    /// The kernel does it, or not, and gives no answer.
    Silent(usize, bool),
    Settle(usize, Epoch),
    Drain(usize, Epoch),
    Rekey,
    Deadline(usize, Epoch),
    Cut,
    Notice(usize),
    Connect,
    Resume(usize),
    Restart(usize),
    /// The tunnel is taken out and taken on again.
    Anew(usize),
    Expire(usize, Epoch, Direction),
}

impl Move {
    /// Whether nothing makes it happen by itself.
    pub(crate) fn is_fault(self) -> bool {
        match self {
            Self::Refuse(_)
            | Self::Silent(..)
            | Self::Deadline(..)
            | Self::Cut
            | Self::Restart(_)
            | Self::Anew(_)
            | Self::Rekey
            | Self::Expire(..) => true,
            Self::Deliver(_)
            | Self::Execute(_)
            | Self::Settle(..)
            | Self::Drain(..)
            | Self::Notice(_)
            | Self::Connect
            | Self::Resume(_) => false,
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "link {:?}, left {:?}", self.link, self.budget)?;
        let [initiator, responder] = &self.ends;
        write!(f, "initiator:\n{initiator}responder:\n{responder}")
    }
}

impl World {
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    pub(crate) fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        for (who, end) in self.ends.iter().enumerate() {
            if !end.inbox.is_empty() && end.connected {
                moves.push(Move::Deliver(who));
            }
            if let Some(order) = end.orders.front() {
                moves.push(Move::Execute(who));
                if matches!(order, Order::Install(..)) && self.budget.kernel > 0 {
                    moves.push(Move::Refuse(who));
                    moves.push(Move::Silent(who, true));
                    moves.push(Move::Silent(who, false));
                }
            }
            moves.extend(end.settling.iter().map(|epoch| Move::Settle(who, *epoch)));
            moves.extend(end.draining.iter().map(|epoch| Move::Drain(who, *epoch)));
            if self.budget.deadlines > 0 {
                let late = end.wheel.generations().iter().filter(|g| {
                    let waits_for_link = g.state == State::InboundInstalled && !end.connected;
                    g.state < State::OutboundSwitched && !waits_for_link
                });
                moves.extend(late.map(|g| Move::Deadline(who, g.epoch)));
            }
            if self.link == Link::Down && end.connected {
                moves.push(Move::Notice(who));
            }
            if end.connected && !end.told && end.wheel.can_resume() {
                moves.push(Move::Resume(who));
            }
            if self.budget.restarts > 0 {
                moves.push(Move::Restart(who));
            }
            if self.budget.anew > 0 {
                moves.push(Move::Anew(who));
            }
            if self.budget.expiries > 0 {
                moves.extend(self.expirable(who));
            }
        }
        let initiator = &self.ends[0];
        if self.budget.rekeys > 0 && initiator.resumed() && initiator.wheel.has_room() {
            moves.push(Move::Rekey);
        }
        if self.link == Link::Up && self.budget.cuts > 0 {
            moves.push(Move::Cut);
        }
        if self.link == Link::Down && self.ends.iter().all(|end| !end.connected) {
            moves.push(Move::Connect);
        }
        moves
    }

    /// An outbound SA may expire at any time, an inbound one only after all that the peer may send
    /// under it: lifetimes see to that.
    fn expirable(&self, who: usize) -> Vec<Move> {
        let mut moves = Vec::new();
        for generation in self.ends[who].wheel.generations() {
            if generation.outbound.place == Place::Stands {
                moves.push(Move::Expire(who, generation.epoch, Direction::Outbound));
            }
            let used = self.ends[1 - who].wheel.generations().iter().any(|other| {
                other.outbound.spi == generation.inbound.spi
                    && (other.outbound.place != Place::Absent
                        || other.state < State::OutboundSwitched)
            }) || self.ends[1 - who].kernel.iter().any(|(direction, spi)| {
                *direction == Direction::Outbound && generation.inbound.spi == Some(*spi)
            });
            if generation.inbound.place == Place::Stands && !used {
                moves.push(Move::Expire(who, generation.epoch, Direction::Inbound));
            }
        }
        moves
    }

    pub(crate) fn take(&mut self, step: Move, planted: Planted) {
        match step {
            Move::Deliver(who) => {
                let message = self.ends[who].inbox.pop_front().unwrap();
                self.deliver(who, message, planted);
            }
            Move::Execute(who) => self.execute(who, Installed::Stands, true, planted),
            Move::Refuse(who) => {
                self.budget.kernel -= 1;
                self.execute(who, Installed::Refused, false, planted);
            }
            Move::Silent(who, done) => {
                self.budget.kernel -= 1;
                self.execute(who, Installed::Unknown, done, planted);
            }
            Move::Settle(who, epoch) => {
                self.ends[who].settling.remove(&epoch);
                self.with(who, planted, |wheel, effects| wheel.settled(epoch, effects));
            }
            Move::Drain(who, epoch) => {
                self.ends[who].draining.remove(&epoch);
                self.with(who, planted, |wheel, effects| wheel.drained(epoch, effects));
            }
            Move::Rekey => {
                self.budget.rekeys -= 1;
                let epoch = self.ends[0].wheel.last().next().unwrap();
                let spi = self.ends[0].spi();
                self.with(0, planted, |wheel, effects| {
                    wheel.start(epoch, spi, effects);
                });
                self.say(0, Message::Offer(epoch, spi));
            }
            Move::Deadline(who, epoch) => {
                self.budget.deadlines -= 1;
                self.with(who, planted, |wheel, effects| wheel.give_up(epoch, effects));
            }
            Move::Cut => {
                self.budget.cuts -= 1;
                self.cut();
            }
            Move::Notice(who) => {
                self.ends[who].connected = false;
                self.with(who, planted, Wheel::disconnected);
            }
            Move::Connect => {
                self.link = Link::Up;
                for who in [0, 1] {
                    let end = &mut self.ends[who];
                    (end.connected, end.heard, end.told) = (true, false, false);
                    if end.wheel.can_resume() {
                        self.resume(who, false);
                    }
                }
            }
            Move::Resume(who) => self.resume(who, false),
            Move::Restart(who) => {
                self.budget.restarts -= 1;
                self.restart(who, planted);
            }
            Move::Anew(who) => {
                self.budget.anew -= 1;
                self.take_anew(who, planted);
            }
            Move::Expire(who, epoch, direction) => {
                self.budget.expiries -= 1;
                let end = &mut self.ends[who];
                let spi = end
                    .wheel
                    .generation(epoch)
                    .unwrap()
                    .sa(direction)
                    .spi
                    .unwrap();
                end.kernel.remove(&(direction, spi));
                self.with(who, planted, |wheel, effects| {
                    wheel.gone(epoch, direction, effects);
                });
            }
        }
    }

    fn cut(&mut self) {
        self.link = Link::Down;
        for end in &mut self.ends {
            end.inbox.clear();
        }
    }

    fn restart(&mut self, who: usize, planted: Planted) {
        self.cut();
        let end = &mut self.ends[who];
        let youngest_first = |wanted: Direction| -> Vec<Spi> {
            let sas = end.kernel.iter().rev();
            sas.filter(|(direction, _)| *direction == wanted)
                .map(|(_, spi)| *spi)
                .collect()
        };
        let inbound = youngest_first(Direction::Inbound);
        let outbound = youngest_first(Direction::Outbound);
        *end = End {
            kernel: std::mem::take(&mut end.kernel),
            spis: end.spis,
            ..End::default()
        };
        self.with(who, planted, |wheel, effects| {
            wheel.restart(inbound, outbound, effects);
        });
    }

    fn take_anew(&mut self, who: usize, planted: Planted) {
        // The controller ordered it: both ends' SAs may go in any order.
        let end = &mut self.ends[who];
        let generations = end.wheel.generations().iter();
        let spis = generations.flat_map(|g| [g.inbound.spi, g.outbound.spi]);
        let spis: Vec<Spi> = spis.flatten().collect();
        for end in &mut self.ends {
            end.revoked.extend(&spis);
        }
        let end = &mut self.ends[who];
        end.settling.clear();
        end.draining.clear();
        self.with(who, planted, Wheel::revoke);
        let end = &mut self.ends[who];
        end.wheel = Wheel::new(end.wheel.last());
        end.heard = false;
        if end.told {
            self.resume(who, false);
        }
    }

    fn resume(&mut self, who: usize, reply: bool) {
        let end = &mut self.ends[who];
        end.told = true;
        let standings = end.wheel.standings();
        let last = end.wheel.last();
        self.say(
            who,
            Message::Resume {
                last,
                standings,
                reply,
            },
        );
    }

    fn deliver(&mut self, who: usize, message: Message, planted: Planted) {
        let resumed = self.ends[who].resumed();
        match message {
            Message::Resume {
                last,
                standings,
                reply,
            } => {
                let end = &mut self.ends[who];
                if !end.told || (reply && end.heard) {
                    return;
                }
                if end.heard {
                    end.wheel.forget_words();
                }
                end.heard = true;
                self.with(who, planted, |wheel, effects| {
                    wheel.resume(last, &standings, effects);
                });
                if !reply {
                    self.resume(who, true);
                }
            }
            Message::Offer(epoch, theirs) if resumed => {
                let end = &mut self.ends[who];
                if epoch <= end.wheel.last() || !end.wheel.has_room() {
                    self.say(who, Message::Word(epoch, Word::Abandoned));
                    return;
                }
                let spi = end.spi();
                self.with(who, planted, |wheel, effects| {
                    wheel.start(epoch, spi, effects);
                    wheel.set_outbound_spi(epoch, theirs);
                });
                self.say(who, Message::Answer(epoch, spi));
                self.with(who, planted, |wheel, effects| {
                    wheel.sources_complete(epoch, effects).unwrap();
                });
            }
            Message::Answer(epoch, theirs) => self.with(who, planted, |wheel, effects| {
                if wheel
                    .generation(epoch)
                    .is_some_and(|g| g.state == State::SourcesRequested)
                {
                    wheel.set_outbound_spi(epoch, theirs);
                    wheel.sources_complete(epoch, effects).unwrap();
                }
            }),
            Message::Confirm(epoch) => self.with(who, planted, |wheel, effects| {
                let _stale = wheel.peer_confirmed(epoch, effects);
            }),
            Message::Word(epoch, word) => self.with(who, planted, |wheel, effects| {
                let _stale = match word {
                    Word::InboundStands => wheel.peer_stands(epoch, effects),
                    Word::Switched => wheel.peer_switched(epoch, effects),
                    Word::Abandoned => wheel.peer_abandoned(epoch, effects),
                };
            }),
            Message::Offer(..) => {}
        }
    }

    fn execute(&mut self, who: usize, outcome: Installed, done: bool, planted: Planted) {
        let end = &mut self.ends[who];
        match end.orders.pop_front().unwrap() {
            Order::Install(epoch, direction, spi) => {
                if done {
                    end.kernel.insert((direction, spi));
                }
                self.with(who, planted, |wheel, effects| {
                    wheel.installed(epoch, direction, outcome, effects);
                });
            }
            Order::Remove(epoch, direction, spi) => {
                end.kernel.remove(&(direction, spi));
                self.with(who, planted, |wheel, effects| {
                    wheel.gone(epoch, direction, effects);
                });
            }
            Order::RemoveOrphan(direction, spi) => {
                end.kernel.remove(&(direction, spi));
                end.wheel.orphan_gone(direction, spi);
            }
        }
    }

    fn with(&mut self, who: usize, planted: Planted, act: impl FnOnce(&mut Wheel, &mut Effects)) {
        let mut effects = Effects::new();
        act(&mut self.ends[who].wheel, &mut effects);
        for effect in effects {
            self.perform(who, effect, planted);
        }
    }

    fn perform(&mut self, who: usize, effect: Effect, planted: Planted) {
        let end = &mut self.ends[who];
        let spi = |epoch, direction| {
            end.wheel
                .generation(epoch)
                .and_then(|g| g.sa(direction).spi)
        };
        match effect {
            Effect::Derive(epoch) => self.say(who, Message::Confirm(epoch)),
            Effect::Install(epoch, direction) => {
                let order = Order::Install(epoch, direction, spi(epoch, direction).unwrap());
                end.orders.push_back(order);
                if planted == Planted::AbandonsWhileInstalling && direction == Direction::Outbound {
                    self.say(who, Message::Word(epoch, Word::Abandoned));
                }
            }
            Effect::Remove(epoch, direction) => {
                let order = Order::Remove(epoch, direction, spi(epoch, direction).unwrap());
                end.orders.push_back(order);
            }
            Effect::RemoveOrphan(direction, spi) => {
                end.orders.push_back(Order::RemoveOrphan(direction, spi));
            }
            Effect::Say(_, Word::Switched) if planted == Planted::KeepsSwitchedToItself => {}
            Effect::Say(epoch, word) => {
                if end.told {
                    self.say(who, Message::Word(epoch, word));
                }
            }
            Effect::ArmSettle(epoch) => {
                end.settling.insert(epoch);
                if planted == Planted::SwitchedBeforeRemoved {
                    let current = end.wheel.current().unwrap().epoch;
                    self.say(who, Message::Word(current, Word::Switched));
                } else if planted == Planted::DrainsWithoutSwitched {
                    let spi = spi(epoch, Direction::Inbound).unwrap();
                    end.orders
                        .push_back(Order::Remove(epoch, Direction::Inbound, spi));
                }
            }
            Effect::ArmDrain(epoch) => {
                end.draining.insert(epoch);
            }
            Effect::RequestSources(_) | Effect::WipeKey(_) | Effect::Established(_) => {}
        }
    }

    fn say(&mut self, who: usize, message: Message) {
        if self.link == Link::Up && self.ends[who].connected {
            self.ends[1 - who].inbox.push_back(message);
        }
    }
}
