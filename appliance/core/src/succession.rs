//! When a tunnel's next generation is due, and what stands in its way.
//!
//! The initiator starts it, the responder asks for it (`RekeyWanted`). It is due while nothing sends,
//! when the current one is past its soft lifetime, or when that is only half a pair. After a failure
//! it waits, twice as long each time, with jitter: a KME that is away is not hammered, and two ends
//! do not stay in step.

use core::time::Duration;

use bartizan_model::message::PeerMessage;
use bartizan_model::report::{Alarm, Notice};
use bartizan_model::time::BootTime;

use crate::desk::Desk;
use crate::lease::Entropy;
use crate::pair::Place;
use crate::times::{LINK_PATIENCE, REKEY_GAP, RESPONDER_PATIENCE, RETRY_MAX, RETRY_MIN};
use crate::tunnel::Tunnel;

/// What a tunnel remembers about its attempts.
#[derive(Debug, Default)]
pub(crate) struct Succession {
    /// Nothing is started or asked for before.
    not_before: BootTime,
    failures: u32,
    /// The peer wants a successor.
    wanted: bool,
    /// It waits for a place among those that exchange keys.
    queued: bool,
    put_off: PutOff,
    /// A lease or the link stands in the way.
    blocked: Option<Blocked>,
}

/// Whether it waits for a QKD key.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum PutOff {
    #[default]
    No,
    UntilWoken,
    /// It asks again at this time, if it is not woken before.
    Until(BootTime),
}

#[derive(Clone, Copy, Debug)]
struct Blocked {
    since: BootTime,
    patience: Patience,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Patience {
    Left,
    Over,
}

impl Succession {
    /// A generation works.
    pub(crate) fn succeeded(&mut self, now: BootTime) {
        *self = Self {
            not_before: now.after(REKEY_GAP),
            queued: self.queued,
            ..Self::default()
        };
    }

    /// The peer wants a successor.
    pub(crate) fn want(&mut self) {
        self.wanted = true;
    }

    /// The responder leaves the first word to the initiator.
    pub(crate) fn wait_for_initiator(&mut self, now: BootTime) {
        self.not_before = self.not_before.max(now.after(RESPONDER_PATIENCE));
    }

    /// It waits for a place.
    pub(crate) fn queue(&mut self) {
        self.queued = true;
    }

    /// There is a place.
    pub(crate) fn unqueue(&mut self) {
        self.queued = false;
    }

    /// There is no QKD key for it: it is woken, or asks again at this time.
    pub(crate) fn put_off(&mut self, again: Option<BootTime>) {
        self.put_off = again.map_or(PutOff::UntilWoken, PutOff::Until);
    }

    /// Whether the peer wants a successor.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// An attempt begins.
    pub(crate) fn begun(&mut self) {
        self.wanted = false;
    }
}

impl Tunnel {
    /// Starts or asks for a generation if one is due.
    pub(crate) fn review(&mut self, desk: &mut Desk<'_>) {
        self.succession.put_off = PutOff::No;
        let due = self.due().filter(|due| *due <= desk.now);
        if due.is_none() || !self.resumed() || desk.gate().is_none() {
            desk.shared.budget.leave(self.reqid());
        }
        if due.is_some() && (!self.resumed() || desk.gate().is_none()) {
            self.blocked(desk);
            return;
        }
        self.succession.blocked = None;
        if due.is_none() {
            return;
        }
        if self.initiates() {
            self.start(desk);
        } else {
            self.succession.not_before = desk.now.after(RESPONDER_PATIENCE);
            let newest = self.wheel.generations().last();
            let message = PeerMessage::RekeyWanted {
                tunnel: self.id(),
                epoch: newest.map(|g| g.epoch).unwrap_or_default(),
            };
            desk.say(message);
        }
    }

    /// When [`Tunnel::review`] has something to do.
    pub(crate) fn review_at(&self) -> Option<BootTime> {
        match (self.succession.blocked, self.succession.put_off) {
            (Some(blocked), _) => {
                let over = blocked.patience == Patience::Over;
                (!over).then(|| blocked.since.after(LINK_PATIENCE))
            }
            (None, PutOff::Until(again)) => Some(again),
            (None, PutOff::UntilWoken) => None,
            (None, PutOff::No) => self.due(),
        }
    }

    /// An attempt failed; without an alarm it was the link's or an edit's fault.
    pub(crate) fn failed(&mut self, alarm: Option<Alarm>, desk: &mut Desk<'_>) {
        let Some(alarm) = alarm else {
            self.succession.not_before = desk.now.after(jittered(RETRY_MIN, desk.entropy));
            return;
        };
        let wait = RETRY_MIN
            .checked_mul(1_u32.checked_shl(self.succession.failures).unwrap_or(0))
            .filter(|wait| !wait.is_zero())
            .map_or(RETRY_MAX, |wait| wait.min(RETRY_MAX));
        self.succession.failures = self.succession.failures.saturating_add(1);
        self.succession.not_before = desk.now.after(jittered(wait, desk.entropy));
        self.raise(alarm, desk);
    }

    /// Reports what is in the way, once.
    pub(crate) fn raise(&mut self, alarm: Alarm, desk: &mut Desk<'_>) {
        if self.alarm != Some(alarm) {
            self.alarm = Some(alarm);
            desk.shared.outbox.notice(Notice::Alarm {
                entry: self.entry.name.clone(),
                alarm,
            });
        }
    }

    /// When a successor of a generation that begins to send now is wanted: the initiator begins up to
    /// a tenth early, so that not all tunnels of one edit rekey at once and the responder's turn
    /// seldom comes. Where QKD keys are short the initiator puts it off, and the responder waits for
    /// that.
    pub(crate) fn soft_at(&self, desk: &mut Desk<'_>) -> Option<BootTime> {
        if !self.initiates() && self.keying().qkd.is_some() {
            return self.late_at(desk);
        }
        let soft = Duration::from_secs(self.keying().soft.seconds?);
        let early = if self.initiates() {
            let tenth = soft.checked_div(10).unwrap_or_default();
            part(tenth, desk.entropy)
        } else {
            Duration::ZERO
        };
        Some(desk.now.after(soft.saturating_sub(early)))
    }

    fn blocked(&mut self, desk: &mut Desk<'_>) {
        let blocked = self.succession.blocked.get_or_insert(Blocked {
            since: desk.now,
            patience: Patience::Left,
        });
        if desk.now < blocked.since.after(LINK_PATIENCE) {
            return;
        }
        blocked.patience = Patience::Over;
        if desk.lease.is_none() {
            // The one who would read a notice knows best that it gave no lease.
            self.alarm = Some(Alarm::NoLease);
        } else if !desk.link.connected {
            self.raise(Alarm::PeerUnreachable, desk);
        } else if desk.gate().is_none() {
            self.raise(Alarm::PeerNoLease, desk);
        } else {
            self.raise(Alarm::TimedOut, desk);
        }
    }

    /// Whether what sends is only half a pair.
    pub(crate) fn is_half(&self) -> bool {
        self.wheel.current().is_some_and(|current| {
            current.peer.abandoned
                || current.peer.moved_on
                || current.inbound.place == Place::Absent
        })
    }

    fn due(&self) -> Option<BootTime> {
        if !self.wheel.has_room() || self.succession.queued {
            return None;
        }
        let wanted = match self.wheel.current() {
            None => Some(BootTime::default()),
            Some(current) => {
                if self.is_half() || self.succession.wanted {
                    Some(BootTime::default())
                } else {
                    self.lives.get(&current.epoch)?.soft_at
                }
            }
        };
        wanted.map(|wanted| wanted.max(self.succession.not_before))
    }
}

/// Three to five quarters of a time.
fn jittered(time: Duration, entropy: Entropy<'_>) -> Duration {
    let half = time.checked_div(2).unwrap_or_default();
    let quarter = half.checked_div(2).unwrap_or_default();
    time.saturating_sub(quarter)
        .saturating_add(part(half, entropy))
}

/// A random part of a time.
pub(crate) fn part(of: Duration, entropy: Entropy<'_>) -> Duration {
    let mut bytes = [0; 2];
    entropy(&mut bytes);
    let parts = u32::from(u16::from_ne_bytes(bytes));
    of.checked_mul(parts)
        .and_then(|of| of.checked_div(u32::from(u16::MAX)))
        .unwrap_or_default()
}
