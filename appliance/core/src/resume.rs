//! What two ends make of each other's generations after a reconnect or a restart.
//!
//! Each end says what stands ([`Wheel::standings`]) and takes what the other says
//! ([`Wheel::resume`]). Messages of the older link are lost or were handled before, so what an end
//! says is true until the receiver hears otherwise on the same link.
//!
//! After a restart an end knows only the SAs that the kernel lists, neither epochs nor which two
//! belong together, and it has no key. It first takes out every outbound SA but the youngest, which
//! can hurt nobody, and then names what is left one by one. Of these it keeps, as `current` without a
//! key, what the peer names as well: our outbound SA if the peer has it inbound, and each inbound SA
//! that the peer sends under. Mostly that is one pair; what is half a pair is dropped, except where
//! the peer sends under our half: dropping that at once would make a black hole until the next
//! generation, so it drains like any other.

use bartizan_model::ids::{Epoch, Spi};
use bartizan_model::message::{Stage, Standing};
use bartizan_model::policy::Direction;

use crate::generation::{Event, State};
use crate::pair::{Generation, Place};
use crate::wheel::{Effect, Effects, GENERATIONS_MAX, Wheel};

/// The most standings in one message: three pairs, or after a restart as many single SAs.
pub const STANDINGS_MAX: usize = 6;

/// The most inbound SAs among them; no tunnel leaves more behind.
const INBOUND_MAX: usize = STANDINGS_MAX - 1;

/// SAs of before a restart, until the peer has said which it has too.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Orphans {
    inbound: Vec<Spi>,
    outbound: Option<Spi>,
    /// Older outbound SAs, on their way out of the kernel.
    leaving: Vec<Spi>,
}

impl Orphans {
    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.inbound.is_empty() && self.outbound.is_none() && self.leaving.is_empty()
    }

    pub(crate) fn take_all(&mut self) -> Vec<(Direction, Spi)> {
        let inbound = core::mem::take(&mut self.inbound);
        let inbound = inbound.into_iter().map(|spi| (Direction::Inbound, spi));
        let outbound = self.outbound.take().map(|spi| (Direction::Outbound, spi));
        self.leaving.clear();
        inbound.chain(outbound).collect()
    }
}

impl Wheel {
    /// Takes over the SAs that the kernel lists after a restart, youngest first.
    pub fn restart(&mut self, inbound: Vec<Spi>, outbound: Vec<Spi>, effects: &mut Effects) {
        let mut inbound = inbound.into_iter();
        let mut outbound = outbound.into_iter();
        self.orphans = Orphans {
            inbound: inbound.by_ref().take(INBOUND_MAX).collect(),
            outbound: outbound.next(),
            leaving: outbound.collect(),
        };
        for spi in &self.orphans.leaving {
            effects.push(Effect::RemoveOrphan(Direction::Outbound, *spi));
        }
        for spi in inbound {
            effects.push(Effect::RemoveOrphan(Direction::Inbound, spi));
        }
    }

    /// Whether the peer may be told what stands: not while an orphan may still send that is not
    /// going to be named.
    pub fn can_resume(&self) -> bool {
        self.orphans.leaving.is_empty()
    }

    /// The SAs of before a restart that the peer has not spoken about.
    pub fn orphans(&self) -> &Orphans {
        &self.orphans
    }

    /// The kernel has this SA of before the restart no more.
    pub fn orphan_gone(&mut self, direction: Direction, spi: Spi) {
        match direction {
            Direction::Inbound => self.orphans.inbound.retain(|orphan| *orphan != spi),
            Direction::Outbound => {
                self.orphans.outbound = self.orphans.outbound.filter(|orphan| *orphan != spi);
                self.orphans.leaving.retain(|orphan| *orphan != spi);
            }
        }
    }

    /// What stands here; the caller adds for how long.
    pub fn standings(&self) -> Vec<Standing> {
        let generations = self.generations.iter().filter_map(Generation::standing);
        let single = |stage, inbound, outbound| Standing {
            epoch: Epoch(0),
            stage,
            inbound,
            outbound,
            seconds: 0,
        };
        let inbound = self.orphans.inbound.iter();
        let inbound = inbound.map(|spi| single(Stage::Draining, Some(*spi), None));
        let outbound = self.orphans.outbound.iter();
        let outbound = outbound.map(|spi| single(Stage::Switched, None, Some(*spi)));
        generations.chain(inbound).chain(outbound).collect()
    }

    /// Takes the peer's word about what stands there; `last` is the highest epoch it knows of.
    ///
    /// To be called once for each link, and once more whenever the peer begins anew with the tunnel.
    pub fn resume(&mut self, last: Epoch, theirs: &[Standing], effects: &mut Effects) {
        self.last = self.last.max(last);
        self.adopt_orphans(theirs, effects);
        for epoch in self.epochs(|g| !g.fresh && g.state != State::Deleted) {
            self.reconcile(epoch, theirs, effects);
        }
        for generation in &mut self.generations {
            generation.fresh = true;
        }
        self.advance(effects);
    }

    /// The peer begins anew on the same link: nothing of what it said before counts.
    pub fn forget_words(&mut self) {
        for generation in &mut self.generations {
            generation.fresh = false;
        }
    }

    fn reconcile(&mut self, epoch: Epoch, theirs: &[Standing], effects: &mut Effects) {
        let Some(generation) = self.generation_mut(epoch) else {
            return;
        };
        let counterpart = theirs
            .iter()
            .find(|standing| same(standing.inbound, generation.outbound.spi));
        let sends = theirs
            .iter()
            .find(|standing| same(standing.outbound, generation.inbound.spi))
            .map(|standing| standing.stage);
        // A restarted end has no key: its inbound SA is no reason to install anything any more.
        let may_yet_send = counterpart.is_some_and(|c| c.stage == Stage::InboundStands);

        if sends == Some(Stage::Switched) {
            generation.peer.switched = true;
        }
        let outbound_lost = counterpart.is_none()
            && matches!(generation.outbound.place, Place::Ordered | Place::Stands);
        let event = match generation.state {
            State::PolicyReceived
            | State::SourcesRequested
            | State::KeyDerived
            | State::KeyConfirmed => Some(Event::GivenUp),
            State::InboundInstalled => {
                let has_key = counterpart.is_some_and(|c| c.stage != Stage::Draining);
                if has_key {
                    generation.peer.stands = true;
                    None
                } else if sends.is_some() {
                    Some(Event::GivenUp)
                } else {
                    generation.peer.abandoned = true;
                    Some(Event::PeerAbandoned)
                }
            }
            State::PeerReady | State::OutboundSwitched | State::Draining => {
                outbound_lost.then_some(Event::PeerForgot)
            }
            State::Deleted => None,
        };
        if let Some(event) = event {
            // Every state above has a row for its event.
            let _taken = self.step(epoch, event, effects);
        }
        if sends.is_none() && !may_yet_send {
            self.peer_does_not_send(epoch, effects);
        }
    }

    fn peer_does_not_send(&mut self, epoch: Epoch, effects: &mut Effects) {
        let Some(generation) = self.generation_mut(epoch) else {
            return;
        };
        match generation.state {
            State::PeerReady | State::OutboundSwitched | State::Draining => {}
            State::PolicyReceived
            | State::SourcesRequested
            | State::KeyDerived
            | State::KeyConfirmed
            | State::InboundInstalled
            | State::Deleted => return,
        }
        if generation.peer.switched {
            generation.peer.moved_on = true;
        } else if !generation.peer.abandoned {
            generation.peer.abandoned = true;
            // Each of the three states has a row for it.
            let _taken = self.step(epoch, Event::PeerAbandoned, effects);
        }
    }

    fn adopt_orphans(&mut self, theirs: &[Standing], effects: &mut Effects) {
        let orphans = core::mem::take(&mut self.orphans);
        for spi in orphans.inbound {
            let sent_under = theirs.iter().find(|s| same(s.outbound, Some(spi)));
            self.adopt(Direction::Inbound, spi, sent_under, effects);
        }
        if let Some(spi) = orphans.outbound {
            let taken_under = theirs.iter().find(|s| same(s.inbound, Some(spi)));
            self.adopt(Direction::Outbound, spi, taken_under, effects);
        }
        for generation in &mut self.generations {
            if generation.state == State::PolicyReceived {
                generation.readopt();
            }
        }
    }

    fn adopt(
        &mut self,
        direction: Direction,
        spi: Spi,
        named: Option<&Standing>,
        effects: &mut Effects,
    ) {
        let Some(named) = named else {
            effects.push(Effect::RemoveOrphan(direction, spi));
            return;
        };
        if self.generation(named.epoch).is_none() {
            if self.generations.len() >= GENERATIONS_MAX {
                effects.push(Effect::RemoveOrphan(direction, spi));
                return;
            }
            let generation = Generation::new(named.epoch, None, None);
            self.generations.push(generation);
            self.generations.sort_by_key(|g| g.epoch);
            self.last = self.last.max(named.epoch);
        }
        if let Some(generation) = self.generation_mut(named.epoch) {
            generation.take_orphan(direction, spi, effects);
            if direction == Direction::Inbound && named.stage == Stage::Switched {
                generation.peer.switched = true;
            }
        }
    }
}

impl Generation {
    fn standing(&self) -> Option<Standing> {
        let inbound = self
            .inbound
            .spi
            .filter(|_| self.inbound.place == Place::Stands);
        let outbound = self.outbound.spi.filter(|_| {
            matches!(
                self.outbound.place,
                Place::Ordered | Place::Stands | Place::Leaving
            )
        });
        if inbound.is_none() && outbound.is_none() {
            return None;
        }
        let stage = if outbound.is_some() && self.sent {
            Stage::Switched
        } else if outbound.is_some() || self.state == State::InboundInstalled {
            Stage::InboundStands
        } else {
            Stage::Draining
        };
        Some(Standing {
            epoch: self.epoch,
            stage,
            inbound,
            outbound,
            seconds: 0,
        })
    }

    fn take_orphan(&mut self, direction: Direction, spi: Spi, effects: &mut Effects) {
        let sa = match direction {
            Direction::Inbound => &mut self.inbound,
            Direction::Outbound => &mut self.outbound,
        };
        if sa.spi.is_some() {
            // The peer names two under one epoch: nonsense, and the second goes.
            effects.push(Effect::RemoveOrphan(direction, spi));
            return;
        }
        sa.spi = Some(spi);
        sa.place = Place::Stands;
    }

    fn readopt(&mut self) {
        let event = if self.outbound.place == Place::Stands {
            Event::Readopted
        } else {
            Event::InboundReadopted
        };
        if let Ok((state, _)) = self.state.after(event) {
            self.state = state;
        }
        self.sent = self.outbound.place == Place::Stands;
        self.told = self.sent;
        self.fresh = true;
    }
}

fn same(one: Option<Spi>, other: Option<Spi>) -> bool {
    one.is_some() && one == other
}
