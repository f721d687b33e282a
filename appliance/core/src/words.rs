//! What the peer says about a tunnel: data, whatever it is.

use core::time::Duration;

use bartizan_model::ids::Epoch;
use bartizan_model::message::{PeerMessage, Stage, Standing};
use bartizan_model::policy::Direction;
use bartizan_model::report::Alarm;

use crate::desk::Desk;
use crate::generation::State;
use crate::resume::STANDINGS_MAX;
use crate::succession::part;
use crate::times::{ADOPTED_LIFE, ASK_GAP_MIN};
use crate::tunnel::Tunnel;
use crate::wheel::{Effects, Misfit, Wheel};

/// How far a peer's epoch may be ahead of ours. After our restart we know of none; a pair that rekeys
/// every minute is that far ahead after two years. Without a bound one word could use up all epochs.
const EPOCH_LEAP: u64 = 1 << 20;

/// What became of a peer's message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Heard {
    /// It did something, or was a repetition that does no harm.
    Taken,
    /// It is about something that is over, or not known here yet: honest peers say so too, when
    /// words cross.
    Stale,
    /// No honest peer says this.
    Nonsense,
}

impl Tunnel {
    /// Takes one message about this tunnel.
    pub(crate) fn hear(&mut self, message: PeerMessage, desk: &mut Desk<'_>) -> Heard {
        match message {
            PeerMessage::Resume {
                last,
                generations,
                reply,
                ..
            } => self.hear_resume(last, &generations, reply, desk),
            PeerMessage::RekeyWanted { epoch, .. } => self.hear_rekey_wanted(epoch),
            PeerMessage::Offer(offer) => self.hear_offer(*offer, desk),
            PeerMessage::Answer(answer) => self.hear_answer(*answer, desk),
            PeerMessage::Confirm { epoch, tag, .. } => self.hear_confirm(epoch, &tag, desk),
            PeerMessage::InboundStands { epoch, seconds, .. } => {
                self.hear_inbound_stands(epoch, seconds, desk)
            }
            PeerMessage::ExtendWanted { epoch, .. } => self.hear_extend_wanted(epoch, desk),
            PeerMessage::Switched { epoch, .. } => {
                if epoch > self.wheel.last() {
                    return Heard::Nonsense;
                }
                self.hear_word(epoch, Wheel::peer_switched, desk)
            }
            PeerMessage::Abandoned { epoch, .. } => self.hear_abandoned(epoch, desk),
            // Not about a tunnel.
            PeerMessage::Lease(_) | PeerMessage::Stream(_) => Heard::Nonsense,
        }
    }

    /// Says what stands here.
    pub(crate) fn say_standings(&mut self, reply: bool, desk: &mut Desk<'_>) {
        let mut generations = self.wheel.standings();
        for standing in &mut generations {
            if let Some(spi) = standing.inbound {
                let orphan = self.orphans.get(&(Direction::Inbound, spi));
                standing.seconds = match orphan {
                    Some(span) => span.seconds(desk.now),
                    None => self.inbound_seconds(standing.epoch, desk.now),
                };
            }
        }
        let message = PeerMessage::Resume {
            tunnel: self.id(),
            last: self.wheel.last(),
            generations,
            reply,
        };
        desk.say(message);
    }

    /// Whether an epoch is not absurdly far ahead.
    pub(crate) fn is_near(&self, epoch: Epoch) -> bool {
        epoch.0 <= self.wheel.last().0.saturating_add(EPOCH_LEAP)
    }

    fn hear_resume(
        &mut self,
        last: Epoch,
        theirs: &[Standing],
        reply: bool,
        desk: &mut Desk<'_>,
    ) -> Heard {
        let sane = theirs.len() <= STANDINGS_MAX
            && self.is_near(last)
            && theirs.iter().all(|standing| standing.epoch <= last);
        if !sane {
            return Heard::Nonsense;
        }
        // Until we have spoken on this link, the peer will hear us and speak again.
        if !self.told {
            return Heard::Stale;
        }
        let again = self.heard;
        let answered = core::mem::replace(&mut self.answered, reply);
        if again && reply {
            // Both have spoken first, and each answers the other once.
            return if answered { Heard::Stale } else { Heard::Taken };
        }
        if again {
            self.wheel.forget_words();
        }
        self.heard = true;
        self.bound_by(theirs, desk);
        self.act(desk, Some(Alarm::PeerAbandoned), |wheel, effects| {
            wheel.resume(last, theirs, effects);
        });
        self.adopt(desk);
        self.await_peer(desk);
        if !self.initiates() && self.wheel.current().is_none() {
            self.succession.wait_for_initiator(desk.now);
        }
        if !reply {
            self.say_standings(true, desk);
        }
        if again { Heard::Stale } else { Heard::Taken }
    }

    /// The peer's inbound SA that our outbound one waits for stands for so long: its word was spoken
    /// after we presented our lease on this link.
    fn bound_by(&mut self, theirs: &[Standing], desk: &Desk<'_>) {
        let Some(next) = self.wheel.next() else {
            return;
        };
        let outbound = next.outbound.spi;
        let stands = theirs
            .iter()
            .find(|s| s.inbound.is_some() && s.inbound == outbound && s.stage != Stage::Draining);
        let presented = desk.link.presented;
        let until = stands.zip(presented).map(|(standing, presented)| {
            let seconds = Duration::from_secs(standing.seconds);
            presented.after(seconds)
        });
        if let Some(handshake) = self.handshake.as_mut().filter(|_| until.is_some()) {
            handshake.peer_until = until;
        }
    }

    /// Gives the SAs of before the restart that were kept their place among the generations.
    fn adopt(&mut self, desk: &mut Desk<'_>) {
        let orphans = core::mem::take(&mut self.orphans);
        for ((direction, spi), span) in orphans {
            let generations = self.wheel.generations();
            let adopted = generations
                .iter()
                .find(|g| g.sa(direction).spi == Some(spi))
                .map(|g| (g.epoch, g.state));
            let Some((epoch, state)) = adopted else {
                // On its way out of the kernel; its number stays taken until then.
                self.orphans.insert((direction, spi), span);
                continue;
            };
            let id = self.sa_id(direction, spi);
            let soon = desk.now.after(part(ADOPTED_LIFE, desk.entropy));
            let life = self.lives.entry(epoch).or_default();
            *life.span(direction) = span;
            match direction {
                Direction::Inbound => life.inbound_spi = Some(spi),
                Direction::Outbound => {
                    life.outbound_id = Some(id);
                    life.ask_at = span.half(desk.now);
                }
            }
            if state == State::OutboundSwitched {
                life.since = Some(desk.now);
                life.soft_at = Some(soon);
            }
        }
    }

    fn hear_rekey_wanted(&mut self, epoch: Epoch) -> Heard {
        if !self.initiates() || epoch > self.wheel.last() {
            return Heard::Nonsense;
        }
        let younger = self
            .wheel
            .generations()
            .iter()
            .any(|g| g.epoch > epoch && g.state <= State::OutboundSwitched);
        if !self.resumed() || younger {
            return Heard::Stale;
        }
        self.succession.want();
        Heard::Taken
    }

    fn hear_inbound_stands(&mut self, epoch: Epoch, seconds: u64, desk: &mut Desk<'_>) -> Heard {
        if epoch > self.wheel.last() {
            return Heard::Nonsense;
        }
        if desk.gate().is_none() {
            return Heard::Stale;
        }
        let next = self.wheel.next().map(|g| g.epoch);
        if next == Some(epoch) {
            if let Some(handshake) = &mut self.handshake
                && let Some(confirmed_at) = handshake.confirmed_at()
            {
                let until = confirmed_at.after(Duration::from_secs(seconds));
                handshake.peer_until.get_or_insert(until);
            }
            return self.hear_word(epoch, Wheel::peer_stands, desk);
        }
        let asked = self.lives.get(&epoch).is_some_and(|l| l.asked.is_some());
        if asked {
            self.extend_outbound(epoch, seconds, desk);
            Heard::Taken
        } else {
            Heard::Stale
        }
    }

    fn hear_extend_wanted(&mut self, epoch: Epoch, desk: &mut Desk<'_>) -> Heard {
        if epoch > self.wheel.last() {
            return Heard::Nonsense;
        }
        let stands = self.stands(epoch, Direction::Inbound);
        let Some(life) = self.lives.get(&epoch).filter(|_| stands) else {
            return Heard::Stale;
        };
        let too_soon = life
            .replied
            .is_some_and(|at| desk.now < at.after(ASK_GAP_MIN));
        if life.reply_due || too_soon {
            return Heard::Stale;
        }
        self.extend_inbound(epoch, desk);
        Heard::Taken
    }

    fn hear_abandoned(&mut self, epoch: Epoch, desk: &mut Desk<'_>) -> Heard {
        if !self.is_near(epoch) {
            return Heard::Nonsense;
        }
        self.tell_unused(epoch, desk);
        // The initiator may give up before it offers.
        self.wheel.heard_of(epoch);
        self.hear_word(epoch, Wheel::peer_abandoned, desk)
    }

    fn hear_word(
        &mut self,
        epoch: Epoch,
        word: fn(&mut Wheel, Epoch, &mut Effects) -> Result<(), Misfit>,
        desk: &mut Desk<'_>,
    ) -> Heard {
        let mut heard = Heard::Taken;
        self.act(desk, Some(Alarm::PeerAbandoned), |wheel, effects| {
            heard = match word(wheel, epoch, effects) {
                Ok(()) => Heard::Taken,
                Err(Misfit::NoGeneration(_) | Misfit::Repetition) => Heard::Stale,
                Err(Misfit::Unexpected(_) | Misfit::Contradiction) => Heard::Nonsense,
            };
        });
        heard
    }
}
