//! The generations of one tunnel and which of them sends: `next` comes up while `current` sends and
//! `previous` drains.
//!
//! Everything here is decided without keys, time or I/O, so that two wheels can be explored
//! exhaustively. What happened goes in by a method, what is to be done comes out as [`Effect`]s.
//!
//! The one rule behind all of it: **who sends under an epoch has a peer whose inbound SA stands.**
//! Therefore an inbound SA outlives everything that may be sent under it. An end that has told the
//! peer [`Word::InboundStands`] takes its inbound SA out only after the peer has said that it does
//! not send under that epoch: `Switched` of a younger one, or `Abandoned`. And it says so itself only
//! when the kernel has confirmed that the outbound SA is gone.
//!
//! A switch therefore goes: the new outbound SA stands (from here on the kernel, which prefers the
//! younger SA, sends under it); the old one stays until it has settled; it is removed; the removal is
//! acknowledged; `Switched` is said; the peer drains the old inbound SA.

use bartizan_model::ids::{Epoch, Spi};
use bartizan_model::policy::Direction;

use crate::generation::{Action, Event, State, Unexpected};
use crate::pair::{Generation, Place};
use crate::resume::Orphans;

/// The most generations of a tunnel, those counted whose SAs are still to be removed.
pub const GENERATIONS_MAX: usize = 3;

/// One tunnel's generations.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Wheel {
    pub(crate) last: Epoch,
    pub(crate) generations: Vec<Generation>,
    pub(crate) orphans: Orphans,
}

/// What this end says about a generation.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Word {
    /// Our inbound SA stands.
    InboundStands,
    /// We send under this epoch and no older one.
    Switched,
    /// We never send under this epoch.
    Abandoned,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Effect {
    /// Ask the sources.
    RequestSources(Epoch),
    /// Derive the key and send the tag.
    Derive(Epoch),
    /// Hand an SA to the kernel.
    Install(Epoch, Direction),
    /// Take an SA out of the kernel.
    Remove(Epoch, Direction),
    /// Take out an SA of before the restart that the peer does not name.
    RemoveOrphan(Direction, Spi),
    /// Tell the peer, if a link stands; if none does, the next [`Wheel::standings`] say it.
    Say(Epoch, Word),
    /// Wipe what is left of the key.
    WipeKey(Epoch),
    /// The generation sends: report it and arm its soft lifetime.
    Established(Epoch),
    /// Call [`Wheel::settled`] when no packet can be on its way through the outbound SA.
    ArmSettle(Epoch),
    /// Call [`Wheel::drained`] when the peer's late packets have come.
    ArmDrain(Epoch),
}

/// How the kernel answered to an installation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Installed {
    /// The SA stands.
    Stands,
    /// The kernel refused it, or was never asked.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// Something that does not fit.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Misfit {
    /// There is no such generation (any more).
    #[error("no generation {0}")]
    NoGeneration(Epoch),
    /// Not in this state.
    #[error(transparent)]
    Unexpected(#[from] Unexpected),
    /// The peer contradicts what it said before.
    #[error("the peer contradicts itself")]
    Contradiction,
    /// The peer has said so before.
    #[error("the peer repeats itself")]
    Repetition,
}

/// The effects of one call.
pub type Effects = Vec<Effect>;

impl Wheel {
    /// No generation yet; the first will be after `last`.
    pub fn new(last: Epoch) -> Self {
        Self {
            last,
            ..Self::default()
        }
    }

    /// The highest epoch that was ever used or heard of.
    pub fn last(&self) -> Epoch {
        self.last
    }

    /// The generations, oldest first.
    pub fn generations(&self) -> &[Generation] {
        &self.generations
    }

    /// The generation with this number.
    pub fn generation(&self, epoch: Epoch) -> Option<&Generation> {
        self.generations.iter().find(|g| g.epoch == epoch)
    }

    /// The generation that is coming up.
    pub fn next(&self) -> Option<&Generation> {
        self.generations
            .iter()
            .find(|g| g.state < State::OutboundSwitched)
    }

    /// The generation that sends.
    pub fn current(&self) -> Option<&Generation> {
        self.generations
            .iter()
            .rfind(|g| g.state == State::OutboundSwitched)
    }

    /// The peer has used this number.
    pub fn heard_of(&mut self, epoch: Epoch) {
        self.last = self.last.max(epoch);
    }

    /// Says whether a generation may be started: the last switch is over at both ends.
    pub fn has_room(&self) -> bool {
        let at_rest = self.generations.iter().all(|g| {
            if g.state == State::OutboundSwitched {
                g.told && (g.peer.switched || g.peer.abandoned || g.inbound.place == Place::Absent)
            } else {
                g.state == State::Draining && g.outbound.place == Place::Absent
            }
        });
        at_rest && self.generations.len() < GENERATIONS_MAX && self.orphans.is_empty()
    }

    /// Starts a generation; `epoch` must be above [`Wheel::last`] and there must be room.
    pub fn start(&mut self, epoch: Epoch, inbound: Spi, effects: &mut Effects) {
        debug_assert!(epoch > self.last && self.has_room());
        self.last = epoch;
        self.generations.push(Generation {
            fresh: true,
            ..Generation::new(epoch, Some(inbound), None)
        });
        // A generation that was just made takes `Start`.
        let _taken = self.step(epoch, Event::Start, effects);
    }

    /// The peer's half named its inbound SPI.
    pub fn set_outbound_spi(&mut self, epoch: Epoch, spi: Spi) {
        if let Some(generation) = self.generation_mut(epoch) {
            generation.outbound.spi = Some(spi);
        }
    }

    /// Every source has delivered.
    ///
    /// # Errors
    ///
    /// [`Misfit`] if the generation does not wait for that.
    pub fn sources_complete(&mut self, epoch: Epoch, effects: &mut Effects) -> Result<(), Misfit> {
        self.event(epoch, Event::SourcesComplete, effects)
    }

    /// The peer's tag is right.
    ///
    /// # Errors
    ///
    /// [`Misfit`] if the generation does not wait for that.
    pub fn peer_confirmed(&mut self, epoch: Epoch, effects: &mut Effects) -> Result<(), Misfit> {
        self.event(epoch, Event::PeerConfirmed, effects)
    }

    /// The kernel answered to [`Effect::Install`]. Too late, it counts no more: the removal is
    /// already behind the installation.
    pub fn installed(
        &mut self,
        epoch: Epoch,
        direction: Direction,
        outcome: Installed,
        effects: &mut Effects,
    ) {
        let Some(generation) = self.generation_mut(epoch) else {
            return;
        };
        let sa = generation.sa_mut(direction);
        if sa.place != Place::Ordered {
            return;
        }
        sa.place = match outcome {
            Installed::Stands => Place::Stands,
            Installed::Refused => Place::Absent,
            Installed::Unknown => Place::Ordered,
        };
        let event = match (direction, outcome) {
            (Direction::Inbound, Installed::Stands) => Event::InboundAcknowledged,
            (Direction::Inbound, Installed::Refused) => Event::InboundRefused,
            (Direction::Outbound, Installed::Stands) => Event::OutboundAcknowledged,
            (Direction::Outbound, Installed::Refused) => Event::OutboundRefused,
            (_, Installed::Unknown) => Event::GivenUp,
        };
        // An SA that is on its way in belongs to a generation that waits for it.
        let _taken = self.event(epoch, event, effects);
    }

    /// The kernel has this SA no more: it was removed as ordered, or it expired.
    pub fn gone(&mut self, epoch: Epoch, direction: Direction, effects: &mut Effects) {
        let Some(generation) = self.generation_mut(epoch) else {
            return;
        };
        let sa = generation.sa_mut(direction);
        if sa.place == Place::Absent {
            return;
        }
        sa.place = Place::Absent;
        let event = match direction {
            Direction::Inbound => Event::InboundExpired,
            Direction::Outbound => Event::OutboundGone,
        };
        if generation.state == State::Deleted {
            if direction == Direction::Outbound && !generation.sent {
                effects.push(Effect::Say(epoch, Word::Abandoned));
            }
            self.advance(effects);
        } else {
            // A state that has no row for it has no such SA.
            let _taken = self.event(epoch, event, effects);
        }
    }

    /// [`Effect::ArmSettle`] is over.
    pub fn settled(&mut self, epoch: Epoch, effects: &mut Effects) {
        // Too late is no harm: the outbound SA is gone then.
        let _taken = self.event(epoch, Event::Settled, effects);
    }

    /// [`Effect::ArmDrain`] is over.
    pub fn drained(&mut self, epoch: Epoch, effects: &mut Effects) {
        if self.generation(epoch).is_some_and(|g| g.draining) {
            // The drain time runs in that one state.
            let _taken = self.event(epoch, Event::DrainElapsed, effects);
        }
    }

    /// A deadline passed or a step failed. In [`State::InboundInstalled`] this is to be called only
    /// while a link stands: without one the peer may have switched, and the key is still wanted.
    pub fn give_up(&mut self, epoch: Epoch, effects: &mut Effects) {
        // A generation that sends or drains has nothing to give up.
        let _taken = self.event(epoch, Event::GivenUp, effects);
    }

    /// The peer says that its inbound SA stands.
    ///
    /// # Errors
    ///
    /// [`Misfit`] if it cannot be so.
    pub fn peer_stands(&mut self, epoch: Epoch, effects: &mut Effects) -> Result<(), Misfit> {
        let generation = self
            .generation_mut(epoch)
            .ok_or(Misfit::NoGeneration(epoch))?;
        if generation.state < State::KeyConfirmed || generation.state == State::Deleted {
            return Err(generation.unexpected(Event::PeerInboundStands));
        }
        if generation.peer.abandoned {
            return Err(Misfit::Contradiction);
        }
        if core::mem::replace(&mut generation.peer.stands, true) {
            return Err(Misfit::Repetition);
        }
        self.advance(effects);
        Ok(())
    }

    /// The peer says that it sends under this epoch and no older one.
    ///
    /// # Errors
    ///
    /// [`Misfit`] if it cannot be so.
    pub fn peer_switched(&mut self, epoch: Epoch, effects: &mut Effects) -> Result<(), Misfit> {
        let generation = self
            .generation_mut(epoch)
            .ok_or(Misfit::NoGeneration(epoch))?;
        let told = match generation.state {
            State::InboundInstalled => generation.peer.stands,
            State::PeerReady | State::OutboundSwitched | State::Draining => true,
            State::PolicyReceived
            | State::SourcesRequested
            | State::KeyDerived
            | State::KeyConfirmed
            | State::Deleted => false,
        };
        if !told {
            return Err(generation.unexpected(Event::PeerInboundStands));
        }
        if generation.peer.abandoned || generation.peer.moved_on {
            return Err(Misfit::Contradiction);
        }
        // It may have been seen to send, in a `Resume`, before it said that it sends nothing older.
        let mut news = !core::mem::replace(&mut generation.peer.switched, true);
        for older in self.generations.iter_mut().filter(|g| g.epoch < epoch) {
            news |= !core::mem::replace(&mut older.peer.moved_on, true);
        }
        if !news {
            return Err(Misfit::Repetition);
        }
        self.advance(effects);
        Ok(())
    }

    /// The peer says that it never sends under this epoch.
    ///
    /// # Errors
    ///
    /// [`Misfit`] if it already did.
    pub fn peer_abandoned(&mut self, epoch: Epoch, effects: &mut Effects) -> Result<(), Misfit> {
        let generation = self
            .generation_mut(epoch)
            .ok_or(Misfit::NoGeneration(epoch))?;
        if generation.peer.switched {
            return Err(Misfit::Contradiction);
        }
        if core::mem::replace(&mut generation.peer.abandoned, true) {
            return Err(Misfit::Repetition);
        }
        self.event(epoch, Event::PeerAbandoned, effects)
    }

    /// The link is gone: what the peer cannot send under yet is given up, the rest waits for the
    /// next [`Wheel::resume`].
    pub fn disconnected(&mut self, effects: &mut Effects) {
        for epoch in self.epochs(|g| g.state < State::InboundInstalled) {
            // Each of those states gives up.
            let _taken = self.step(epoch, Event::GivenUp, effects);
        }
        for generation in &mut self.generations {
            generation.fresh = false;
        }
        self.advance(effects);
    }

    /// Everything goes: the policy was taken out.
    pub fn revoke(&mut self, effects: &mut Effects) {
        for epoch in self.epochs(|g| g.state != State::Deleted) {
            // Each of those states can be revoked.
            let _taken = self.step(epoch, Event::Revoked, effects);
        }
        for (direction, spi) in self.orphans.take_all() {
            effects.push(Effect::RemoveOrphan(direction, spi));
        }
        self.advance(effects);
    }

    /// Forgets every generation: the kernel was ordered to drop all SAs.
    pub fn clear(&mut self) {
        self.generations.clear();
        self.orphans = Orphans::default();
    }

    pub(crate) fn epochs(&self, wanted: impl Fn(&Generation) -> bool) -> Vec<Epoch> {
        let generations = self.generations.iter();
        generations.filter(|g| wanted(g)).map(|g| g.epoch).collect()
    }

    pub(crate) fn generation_mut(&mut self, epoch: Epoch) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|g| g.epoch == epoch)
    }

    pub(crate) fn event(
        &mut self,
        epoch: Epoch,
        event: Event,
        effects: &mut Effects,
    ) -> Result<(), Misfit> {
        self.step(epoch, event, effects)?;
        self.advance(effects);
        Ok(())
    }

    pub(crate) fn step(
        &mut self,
        epoch: Epoch,
        event: Event,
        effects: &mut Effects,
    ) -> Result<(), Misfit> {
        let generation = self
            .generation_mut(epoch)
            .ok_or(Misfit::NoGeneration(epoch))?;
        let (state, actions) = generation.state.after(event)?;
        generation.state = state;
        for action in actions {
            if let Action::SupersedeOlder = action {
                for older in self.epochs(|g| g.epoch < epoch && g.state == State::OutboundSwitched)
                {
                    self.step(older, Event::Superseded, effects)?;
                }
            } else if let Some(generation) = self.generation_mut(epoch) {
                generation.perform(*action, effects);
            }
        }
        Ok(())
    }

    /// Draws every conclusion that the facts allow.
    pub(crate) fn advance(&mut self, effects: &mut Effects) {
        while let Some((epoch, event)) = self.generations.iter().find_map(Generation::due) {
            // `due` names only events that the state has a row for.
            if self.step(epoch, event, effects).is_err() {
                break;
            }
        }
        for generation in &mut self.generations {
            generation.arm_drain(effects);
        }
        self.tell_switched(effects);
        self.generations.retain(|g| !g.is_over());
    }

    /// Of the youngest that ever sent, even if it had to stop: the peer waits to hear that nothing
    /// older is sent.
    fn tell_switched(&mut self, effects: &mut Effects) {
        let Some(youngest) = self.generations.iter().rfind(|g| g.sent).map(|g| g.epoch) else {
            return;
        };
        let alone = self
            .generations
            .iter()
            .all(|g| g.epoch >= youngest || g.outbound.place == Place::Absent);
        if let Some(generation) = self.generation_mut(youngest)
            && alone
            && !generation.told
        {
            generation.told = true;
            effects.push(Effect::Say(youngest, Word::Switched));
        }
    }
}
