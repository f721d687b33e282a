//! One generation of a tunnel as the wheel sees it: its state, its two SAs, what the peer said.

use bartizan_model::ids::{Epoch, Spi};
use bartizan_model::policy::Direction;

use crate::generation::{Action, Event, State, Unexpected};
use crate::wheel::{Effect, Effects, Misfit, Word};

/// One pair of SAs.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent fact"
)]
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Generation {
    /// Its number, unique in its wheel.
    pub epoch: Epoch,
    /// Where it stands.
    pub state: State,
    /// What the peer sends under.
    pub inbound: Sa,
    /// What this end sends under.
    pub outbound: Sa,
    /// What the peer has said about it.
    pub peer: PeerWords,
    /// Whether it ever sent.
    pub(crate) sent: bool,
    /// Whether the peer was told that this one alone sends.
    pub(crate) told: bool,
    /// Whether the drain time runs.
    pub(crate) draining: bool,
    /// Whether it began after the peer last resumed the tunnel.
    pub(crate) fresh: bool,
}

/// One SA as the engine knows it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Sa {
    /// Its number at the receiver, once that is known.
    pub spi: Option<Spi>,
    /// Where it is.
    pub place: Place,
}

/// Where an SA is.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// Not in the kernel.
    #[default]
    Absent,
    /// On its way into the kernel.
    Ordered,
    /// In the kernel.
    Stands,
    /// On its way out of the kernel.
    Leaving,
}

/// What the peer has said about a generation.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one word that was said or not"
)]
pub struct PeerWords {
    /// Its inbound SA stands.
    pub stands: bool,
    /// It sends under this epoch.
    pub switched: bool,
    /// It sends under a younger epoch and not under this one.
    pub moved_on: bool,
    /// It never sends under this epoch.
    pub abandoned: bool,
}

impl Generation {
    pub(crate) fn new(epoch: Epoch, inbound: Option<Spi>, outbound: Option<Spi>) -> Self {
        let sa = |spi| Sa {
            spi,
            place: Place::Absent,
        };
        Self {
            epoch,
            state: State::PolicyReceived,
            inbound: sa(inbound),
            outbound: sa(outbound),
            peer: PeerWords::default(),
            sent: false,
            told: false,
            draining: false,
            fresh: false,
        }
    }

    /// Whether it ever sent.
    pub fn has_sent(&self) -> bool {
        self.sent
    }

    /// The SA of this direction.
    pub fn sa(&self, direction: Direction) -> Sa {
        match direction {
            Direction::Inbound => self.inbound,
            Direction::Outbound => self.outbound,
        }
    }

    pub(crate) fn sa_mut(&mut self, direction: Direction) -> &mut Sa {
        match direction {
            Direction::Inbound => &mut self.inbound,
            Direction::Outbound => &mut self.outbound,
        }
    }

    pub(crate) fn unexpected(&self, event: Event) -> Misfit {
        Misfit::Unexpected(Unexpected {
            state: self.state,
            event,
        })
    }

    /// Does what an action does to the SAs, and says what is left to do.
    pub(crate) fn perform(&mut self, action: Action, effects: &mut Effects) {
        let epoch = self.epoch;
        match action {
            Action::RequestSources => effects.push(Effect::RequestSources(epoch)),
            Action::DeriveAndConfirm => effects.push(Effect::Derive(epoch)),
            Action::InstallInbound => self.install(Direction::Inbound, effects),
            Action::InstallOutbound => self.install(Direction::Outbound, effects),
            Action::TellInboundStands => effects.push(Effect::Say(epoch, Word::InboundStands)),
            Action::WipeKey => effects.push(Effect::WipeKey(epoch)),
            Action::ReportEstablished => {
                self.sent = true;
                effects.push(Effect::Established(epoch));
            }
            Action::ArmSettle => effects.push(Effect::ArmSettle(epoch)),
            Action::RemoveOutbound => self.remove(Direction::Outbound, effects),
            Action::RemoveInbound => self.remove(Direction::Inbound, effects),
            Action::TellAbandoned => effects.push(Effect::Say(epoch, Word::Abandoned)),
            Action::TellOutboundGone => {
                // One that sent is told away by `Switched` of the younger one.
                if !self.sent {
                    effects.push(Effect::Say(epoch, Word::Abandoned));
                }
            }
            // The wheel's own: it is about the other generations.
            Action::SupersedeOlder => {}
        }
    }

    fn install(&mut self, direction: Direction, effects: &mut Effects) {
        self.sa_mut(direction).place = Place::Ordered;
        effects.push(Effect::Install(self.epoch, direction));
    }

    fn remove(&mut self, direction: Direction, effects: &mut Effects) {
        let sa = self.sa_mut(direction);
        if matches!(sa.place, Place::Ordered | Place::Stands) {
            sa.place = Place::Leaving;
            effects.push(Effect::Remove(self.epoch, direction));
        }
    }

    /// The event that follows from what is known.
    pub(crate) fn due(&self) -> Option<(Epoch, Event)> {
        let event = match self.state {
            State::InboundInstalled if self.peer.stands => Event::PeerInboundStands,
            State::Draining if self.outbound.place == Place::Absent && self.is_unused() => {
                Event::DrainElapsed
            }
            State::PolicyReceived
            | State::SourcesRequested
            | State::KeyDerived
            | State::KeyConfirmed
            | State::InboundInstalled
            | State::PeerReady
            | State::OutboundSwitched
            | State::Draining
            | State::Deleted => return None,
        };
        Some((self.epoch, event))
    }

    /// Nothing came or can come in under it.
    fn is_unused(&self) -> bool {
        self.inbound.place == Place::Absent || (self.peer.abandoned && !self.peer.switched)
    }

    /// Lets the drain time run once nothing is sent under it at either end.
    pub(crate) fn arm_drain(&mut self, effects: &mut Effects) {
        if self.state == State::Draining
            && self.outbound.place == Place::Absent
            && self.peer.moved_on
            && !self.draining
        {
            self.draining = true;
            effects.push(Effect::ArmDrain(self.epoch));
        }
    }

    /// Neither SA is left.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Deleted
            && self.inbound.place == Place::Absent
            && self.outbound.place == Place::Absent
    }
}
