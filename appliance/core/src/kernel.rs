//! A tunnel's SAs in the kernel: how they go in, get a later end, and leave.

use core::time::Duration;

use bartizan_model::ids::{Epoch, Spi};
use bartizan_model::message::{PeerMessage, SaId, SaInstall};
use bartizan_model::policy::{Direction, Lifetime};
use bartizan_model::report::{Alarm, Notice};
use bartizan_model::time::BootTime;
use bartizan_secret::Secret;

use crate::counters::Count;
use crate::desk::{Desk, Gate};
use crate::life::{Life, take_due};
use crate::lifetime::{Span, inbound, outbound};
use crate::orders::Task;
use crate::pair::{Generation, Place};
use crate::times::{ASK_GAP, REMOVE_RETRY};
use crate::tunnel::Tunnel;
use crate::wheel::Installed;

/// How the kernel answered to an order about an SA that stood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    /// Carried out.
    Done,
    /// There is no such SA.
    Gone,
    /// Refused for another reason, or nobody knows.
    Unclear,
}

impl Tunnel {
    /// The SA and its key, which leaves its slot here for good. Nothing comes out without two live
    /// leases, for a generation that does not wait for it, or a second time.
    pub(crate) fn install_order(
        &mut self,
        epoch: Epoch,
        direction: Direction,
        now: BootTime,
        gate: Gate<'_>,
    ) -> Option<(SaInstall, Secret)> {
        let sa = self.wheel.generation(epoch)?.sa(direction);
        let handshake = self.handshake.as_mut().filter(|h| h.epoch == epoch)?;
        let until = match direction {
            Direction::Inbound => gate.until,
            Direction::Outbound => gate.until.min(handshake.peer_until?),
        };
        if sa.place != Place::Ordered {
            return None;
        }
        let key = handshake.take_key(direction)?;
        let hard = self.protect.keying.hard;
        let (span, seconds) = Span::install(now, hard.seconds, until)?;
        *self.lives.get_mut(&epoch)?.span(direction) = span;
        let install = self.sa_install(direction, sa.spi?, seconds, now, span);
        Some((install, key))
    }

    /// The SA with a later end.
    pub(crate) fn extend_order(
        &mut self,
        epoch: Epoch,
        direction: Direction,
        until: BootTime,
        now: BootTime,
        gate: Gate<'_>,
    ) -> Option<SaInstall> {
        let sa = self.wheel.generation(epoch)?.sa(direction);
        if sa.place != Place::Stands {
            return None;
        }
        let span = self.lives.get_mut(&epoch)?.span(direction);
        let seconds = span.extend(now, until.min(gate.until))?;
        let span = *span;
        Some(self.sa_install(direction, sa.spi?, seconds, now, span))
    }

    /// The kernel answered to an installation.
    pub(crate) fn installed(
        &mut self,
        epoch: Epoch,
        direction: Direction,
        id: SaId,
        outcome: Installed,
        desk: &mut Desk<'_>,
    ) {
        if !self.is_sa(epoch, direction, id) {
            return;
        }
        if outcome != Installed::Stands {
            desk.count(Count::SaRefused);
        }
        self.act(desk, Some(Alarm::Kernel), |wheel, effects| {
            wheel.installed(epoch, direction, outcome, effects);
        });
    }

    /// The kernel answered to a removal; false if it was about no SA of now.
    pub(crate) fn removed(
        &mut self,
        epoch: Epoch,
        direction: Direction,
        id: SaId,
        answer: Answer,
        desk: &mut Desk<'_>,
    ) -> bool {
        if !self.is_sa(epoch, direction, id) {
            return false;
        }
        let Some(life) = self.lives.get_mut(&epoch) else {
            return false;
        };
        if answer == Answer::Unclear {
            if let Some(removal) = life.removals.get_mut(&direction) {
                removal.again = Some(desk.now.after(REMOVE_RETRY));
            }
        } else {
            life.removals.remove(&direction);
            self.gone(epoch, direction, desk);
        }
        true
    }

    /// The kernel answered to an extension.
    pub(crate) fn extended(
        &mut self,
        epoch: Epoch,
        direction: Direction,
        id: SaId,
        answer: Answer,
        desk: &mut Desk<'_>,
    ) {
        if !self.is_sa(epoch, direction, id) {
            return;
        }
        let Some(life) = self.lives.get_mut(&epoch) else {
            return;
        };
        life.span(direction).extended(answer == Answer::Done);
        if direction == Direction::Outbound {
            life.ask_at = life.outbound.half(desk.now);
            // A lease may have been renewed since the peer was asked.
            self.ask_soon(epoch, desk);
        }
        if answer == Answer::Gone {
            self.gone(epoch, direction, desk);
        }
        self.reply_about_inbound(epoch, desk);
    }

    /// The kernel reports a lifetime; says whether it is about an SA of this tunnel.
    pub(crate) fn expired(&mut self, id: SaId, hard: bool, desk: &mut Desk<'_>) -> bool {
        let Some((epoch, direction)) = self.find(id) else {
            return self.orphan_expired(id, hard, desk);
        };
        desk.shared.outbox.notice(Notice::Expired {
            entry: self.entry.name.clone(),
            spi: id.spi,
            hard,
        });
        if hard {
            self.gone(epoch, direction, desk);
        } else if let Some(life) = self.lives.get_mut(&epoch)
            && life.since.is_some()
        {
            life.soft_at = Some(desk.now);
            self.used_up(epoch, desk.now);
        }
        true
    }

    /// Does what is due by time for one generation's SAs.
    pub(crate) fn tick_kernel(&mut self, epoch: Epoch, desk: &mut Desk<'_>) {
        let now = desk.now;
        let Some(life) = self.lives.get_mut(&epoch) else {
            return;
        };
        if take_due(&mut life.ask_at, now) {
            self.ask_for_more(epoch, desk);
        }
        for direction in [Direction::Inbound, Direction::Outbound] {
            let Some(life) = self.lives.get_mut(&epoch) else {
                return;
            };
            let again = life
                .removals
                .get_mut(&direction)
                .is_some_and(|removal| take_due(&mut removal.again, now));
            let overdue = !life.removals.contains_key(&direction)
                && life.span(direction).overdue().is_some_and(|at| at <= now)
                && self.stands(epoch, direction);
            if again || overdue {
                self.remove(epoch, direction, desk);
            }
        }
    }

    /// The peer says for how long its inbound SA stands, after we asked.
    pub(crate) fn extend_outbound(&mut self, epoch: Epoch, seconds: u64, desk: &mut Desk<'_>) {
        let Some(life) = self.lives.get_mut(&epoch) else {
            return;
        };
        let Some(asked) = life.asked.take() else {
            return;
        };
        let peer_until = asked.after(Duration::from_secs(seconds));
        if let Some(gate) = desk.gate()
            && let Some(until) = life.outbound.later(gate.until.min(peer_until))
        {
            let task = Task::Extend(self.reqid(), epoch, Direction::Outbound, until);
            desk.order(task);
        }
    }

    /// The peer wants to send for longer: extends the inbound SA as far as both leases allow, then
    /// says for how long it stands.
    pub(crate) fn extend_inbound(&mut self, epoch: Epoch, desk: &mut Desk<'_>) {
        let Some(life) = self.lives.get_mut(&epoch) else {
            return;
        };
        life.reply_due = true;
        let later = desk.gate().and_then(|gate| life.inbound.later(gate.until));
        if let Some(until) = later {
            let task = Task::Extend(self.reqid(), epoch, Direction::Inbound, until);
            desk.order(task);
        } else {
            self.reply_about_inbound(epoch, desk);
        }
    }

    fn reply_about_inbound(&mut self, epoch: Epoch, desk: &mut Desk<'_>) {
        let tunnel = self.id();
        let stands = self.stands(epoch, Direction::Inbound);
        let Some(life) = self.lives.get_mut(&epoch) else {
            return;
        };
        if !core::mem::take(&mut life.reply_due) || !stands || !self.told {
            return;
        }
        life.replied = Some(desk.now);
        let seconds = life.inbound.seconds(desk.now);
        desk.say(PeerMessage::InboundStands {
            tunnel,
            epoch,
            seconds,
        });
    }

    fn ask_for_more(&mut self, epoch: Epoch, desk: &mut Desk<'_>) {
        let stands = self.stands(epoch, Direction::Outbound);
        let resumed = self.resumed();
        let tunnel = self.id();
        let Some(life) = self.lives.get_mut(&epoch) else {
            return;
        };
        if !stands {
            return;
        }
        // Asked again after half of the rest, whatever becomes of this.
        let half = life.outbound.half(desk.now);
        life.ask_at = half.map(|half| half.max(desk.now.after(ASK_GAP)));
        if resumed && desk.gate().is_some() {
            life.asked = Some(desk.now);
            life.ask_from = Some(desk.now);
            desk.say(PeerMessage::ExtendWanted { tunnel, epoch });
        }
    }

    fn gone(&mut self, epoch: Epoch, direction: Direction, desk: &mut Desk<'_>) {
        self.act(desk, Some(Alarm::Kernel), |wheel, effects| {
            wheel.gone(epoch, direction, effects);
        });
    }

    fn orphan_expired(&mut self, id: SaId, hard: bool, desk: &mut Desk<'_>) -> bool {
        for direction in [Direction::Inbound, Direction::Outbound] {
            if self.sa_id(direction, id.spi) == id
                && self.orphans.contains_key(&(direction, id.spi))
            {
                if hard {
                    self.orphan_gone(direction, id.spi, desk);
                }
                return true;
            }
        }
        false
    }

    /// The kernel has this SA of before the restart no more.
    pub(crate) fn orphan_gone(&mut self, direction: Direction, spi: Spi, desk: &mut Desk<'_>) {
        if self.orphans.remove(&(direction, spi)).is_some() {
            self.free(direction, spi, desk);
        }
        self.wheel.orphan_gone(direction, spi);
        self.introduce(desk);
    }

    fn find(&self, id: SaId) -> Option<(Epoch, Direction)> {
        let named = |direction| self.sa_id(direction, id.spi) == id;
        self.wheel.generations().iter().find_map(|g| {
            [Direction::Inbound, Direction::Outbound]
                .into_iter()
                .find(|direction| {
                    let sa = g.sa(*direction);
                    sa.spi == Some(id.spi) && sa.place != Place::Absent && named(*direction)
                })
                .map(|direction| (g.epoch, direction))
        })
    }

    /// Whether an order of then is about an SA of now.
    fn is_sa(&self, epoch: Epoch, direction: Direction, id: SaId) -> bool {
        let generation = self.wheel.generation(epoch);
        let spi = generation.and_then(|g| g.sa(direction).spi);
        spi.is_some_and(|spi| self.sa_id(direction, spi) == id)
    }

    fn sa_install(
        &self,
        direction: Direction,
        spi: Spi,
        seconds: u64,
        now: BootTime,
        span: Span,
    ) -> SaInstall {
        let keying = self.keying();
        let (source, (soft, hard)) = match direction {
            Direction::Inbound => (self.protect.remote, inbound(keying.hard, seconds)),
            Direction::Outbound => {
                let age = span.age(now);
                let lifetimes: (Lifetime, Lifetime) =
                    outbound(keying.soft, keying.hard, seconds, age);
                (self.protect.local, lifetimes)
            }
        };
        SaInstall {
            id: self.sa_id(direction, spi),
            source,
            direction,
            reqid: self.reqid(),
            mode: self.protect.mode,
            df: self.protect.df,
            selector: self.entry.selector,
            suite: self.protect.suite,
            replay_window: self.protect.replay_window,
            soft,
            hard,
        }
    }
}

/// When an SA must have ended that the kernel has not reported.
pub(crate) fn overdue(generation: &Generation, life: &Life) -> Option<BootTime> {
    [
        (Direction::Inbound, &life.inbound),
        (Direction::Outbound, &life.outbound),
    ]
    .into_iter()
    .filter(|(direction, _)| {
        generation.sa(*direction).place == Place::Stands && !life.removals.contains_key(direction)
    })
    .filter_map(|(_, span)| span.overdue())
    .min()
}
