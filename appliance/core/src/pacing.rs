//! Where tunnels and the engine meet the [`crate::budget`] of QKD keys.

use core::time::Duration;
use std::collections::BTreeSet;

use bartizan_model::ids::{Epoch, SaeId};
use bartizan_model::message::{EngineToControl, RoleToSupervisor};
use bartizan_model::report::{Alarm, LinkReport, Notice, QkdRefusal};
use bartizan_model::time::BootTime;

use crate::budget::{Fate, Word, late_after};
use crate::desk::Desk;
use crate::engine::Engine;
use crate::lease::Entropy;
use crate::succession::part;
use crate::timers::Timer;
use crate::times::{LATE_MARGIN, QKD_REPORT_GAP};
use crate::tunnel::Tunnel;

/// What the engine has told of QKD keys, and when it may tell again.
#[derive(Debug, Default)]
pub(crate) struct QkdTold {
    not_before: BootTime,
    for_control: BTreeSet<SaeId>,
    for_supervisor: BTreeSet<SaeId>,
}

/// Whether a generation may ask for a QKD key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Leave {
    /// It is to ask.
    Fetch,
    /// It is to go on without.
    Without,
    /// It is not to begin yet.
    Later,
}

impl Tunnel {
    /// Asks the link's budget, as the initiator, for the next generation's key.
    pub(crate) fn ask_budget(&mut self, desk: &mut Desk<'_>) -> Leave {
        let (reqid, until) = (self.reqid(), self.put_off_until());
        match desk.shared.budget.ask(reqid, until, desk.now) {
            Word::Take => Leave::Fetch,
            Word::Without => Leave::Without,
            Word::Wait(again) => {
                self.succession.put_off(again);
                if until.is_none_or(|until| until <= desk.now) {
                    self.raise(Alarm::Qkd(QkdRefusal::Budget), desk);
                }
                Leave::Later
            }
        }
    }

    /// Until when the successor of what sends can wait; `None` if it cannot.
    fn put_off_until(&self) -> Option<BootTime> {
        let current = self.wheel.current()?;
        if self.is_half() || self.succession.is_wanted() {
            return None;
        }
        let life = self.lives.get(&current.epoch)?;
        let end = life.outbound.end?;
        let end = BootTime(end.0.saturating_sub(LATE_MARGIN));
        Some(life.late_at.map_or(end, |late| late.min(end)))
    }

    /// When a successor of what begins to send now can wait no longer for a QKD key: at the initiator
    /// within the last half of what [`late_after`] allows, so that those that were put off together
    /// do not come together.
    pub(crate) fn late_at(&self, desk: &mut Desk<'_>) -> Option<BootTime> {
        let keying = self.keying();
        keying.qkd.as_ref()?;
        let late = late_after(keying.soft, keying.hard)?;
        let soft = Duration::from_secs(keying.soft.seconds?);
        let early = if self.initiates() {
            let half = late.saturating_sub(soft).checked_div(2).unwrap_or_default();
            part(half, desk.entropy)
        } else {
            Duration::ZERO
        };
        Some(desk.now.after(late.saturating_sub(early)))
    }

    /// The kernel counted the bytes or packets of a soft lifetime: no time is left to wait.
    pub(crate) fn used_up(&mut self, epoch: Epoch, now: BootTime) {
        let by_time = self.keying().soft.seconds;
        if let Some(life) = self.lives.get_mut(&epoch)
            && let Some(since) = life.since
            && by_time.is_none_or(|seconds| now.since(since).as_secs().saturating_add(1) < seconds)
        {
            life.late_at = Some(now);
        }
    }

    /// The KME answered about this generation's key, or will not be heard.
    pub(crate) fn settle_budget(&self, fate: Fate, desk: &mut Desk<'_>) {
        let reqid = self.reqid();
        desk.shared.budget.settle(reqid, fate, desk.now);
    }
}

impl Engine {
    /// A link is not what it was.
    pub(crate) fn hear_link(&mut self, report: LinkReport) {
        let notice = Notice::QkdLink {
            peer: report.peer.clone(),
            kme: report.kme.clone(),
            state: report.state,
            reason: report.reason,
        };
        if self.shared.budget.link(report, self.now) {
            self.shared.outbox.notice(notice);
        }
    }

    /// Wakes whose turn for a QKD key has come, and tells what has become of the keys.
    pub(crate) fn follow_budget(&mut self, entropy: Entropy<'_>) {
        while let Some(reqid) = self.shared.budget.next(self.now) {
            self.with_tunnel(reqid, entropy, |_, _| {});
        }
        while let Some((peer, level)) = self.shared.budget.take_alarm() {
            self.shared.outbox.notice(Notice::QkdBudget { peer, level });
        }
        let mut due = self.shared.budget.deadline();
        if self.shared.budget.is_changed() {
            if self.qkd_told.not_before <= self.now {
                let changed = self.shared.budget.take_changed();
                self.qkd_told.for_control.extend(changed.iter().cloned());
                self.qkd_told.for_supervisor.extend(changed);
                self.qkd_told.not_before = self.now.after(QKD_REPORT_GAP);
            } else {
                due = Some(due.map_or(self.qkd_told.not_before, |due| {
                    due.min(self.qkd_told.not_before)
                }));
            }
        }
        self.timers.set(Timer::Budget, due);
    }

    /// What control is told next of QKD keys.
    pub(crate) fn qkd_for_control(&mut self) -> Option<EngineToControl> {
        let peer = self.qkd_told.for_control.pop_first()?;
        Some(match self.shared.budget.report(&peer) {
            Some(report) => EngineToControl::Qkd(Box::new(report)),
            None => EngineToControl::QkdGone(peer),
        })
    }

    /// What the supervisor is told next of them.
    pub(crate) fn qkd_for_supervisor(&mut self) -> Option<RoleToSupervisor> {
        let peer = self.qkd_told.for_supervisor.pop_first()?;
        Some(match self.shared.budget.report(&peer) {
            Some(report) => RoleToSupervisor::Qkd(Box::new(report)),
            None => RoleToSupervisor::QkdGone(peer),
        })
    }
}
