//! When SAs end, and how they outlive a lease.
//!
//! An SA's hard end is the earliest of the policy's, our lease's and the peer's lease's. An outbound
//! SA never outlives the peer's inbound one: the peer says for how long that stands, and its seconds
//! count here from a moment before it said so (our `Confirm`, our question), so the delay of its
//! words only shortens them.
//!
//! Soon after a lease was renewed, and in any case once half of what an outbound SA had left is over,
//! the sender asks the peer to extend its inbound SA, and extends its own by what the answer allows;
//! if leases have not been renewed yet, it asks again after half of the rest. Each SA so asks a few
//! times a lease, at its own time, and nothing is done for all SAs at once.
//!
//! Bytes and packets are counted by the sender; its inbound counterpart has twice the limit, since the
//! two ends count different headers and a forged packet must not end it.

use core::time::Duration;

use bartizan_model::policy::Lifetime;
use bartizan_model::time::BootTime;

use crate::times::{EXPIRE_PATIENCE, LIFETIME_MIN, LIFETIME_SLACK};

/// The least gain that is worth an order to the kernel.
const GAIN_MIN: Duration = Duration::from_secs(2);

/// One SA's time in the kernel.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Span {
    /// The moment until which it stands for certain; `None` while it does not stand.
    pub(crate) end: Option<BootTime>,
    /// The policy's end; it may never be extended beyond. `None` is no end.
    pub(crate) cap: Option<BootTime>,
    /// The end that it has if the order that is on its way succeeds.
    pub(crate) pending: Option<BootTime>,
    installed: BootTime,
}

impl Span {
    /// An SA that is installed now, and the seconds of its hard lifetime; `None` if that would be too
    /// short to be of use.
    pub(crate) fn install(
        now: BootTime,
        policy: Option<u64>,
        until: BootTime,
    ) -> Option<(Self, u64)> {
        let cap = policy.map(|seconds| now.after(Duration::from_secs(seconds)));
        let end = cap.map_or(until, |cap| cap.min(until));
        let seconds = whole_seconds(now, end)?;
        let span = Self {
            end: Some(stands_until(now, seconds)),
            cap,
            pending: None,
            installed: now,
        };
        Some((span, seconds))
    }

    /// An SA that the kernel listed.
    pub(crate) fn listed(
        now: BootTime,
        age: Duration,
        remaining: Duration,
        policy: Option<u64>,
    ) -> Self {
        let installed = BootTime(now.0.saturating_sub(age));
        let end = now.after(remaining.saturating_sub(LIFETIME_SLACK));
        Self {
            end: Some(end),
            cap: policy.map(|seconds| installed.after(Duration::from_secs(seconds))),
            pending: None,
            installed,
        }
    }

    /// How old it is.
    pub(crate) fn age(&self, now: BootTime) -> Duration {
        now.since(self.installed)
    }

    /// The later end that it can have, if it is worth an order.
    pub(crate) fn later(&self, until: BootTime) -> Option<BootTime> {
        let target = self.cap.map_or(until, |cap| cap.min(until));
        let end = self.end?;
        (self.pending.is_none() && target > end.after(GAIN_MIN)).then_some(target)
    }

    /// Notes that an extension goes to the kernel now; its seconds from now.
    pub(crate) fn extend(&mut self, now: BootTime, target: BootTime) -> Option<u64> {
        let seconds = whole_seconds(now, target)?;
        self.pending = Some(stands_until(now, seconds));
        Some(seconds)
    }

    /// The kernel answered to the extension.
    pub(crate) fn extended(&mut self, done: bool) {
        if let Some(pending) = self.pending.take()
            && done
        {
            self.end = Some(pending);
        }
    }

    /// The policy's end is another one: only ever earlier for an SA that stands.
    pub(crate) fn shorten(&mut self, policy: Option<u64>) {
        let cap = policy.map(|seconds| self.installed.after(Duration::from_secs(seconds)));
        self.cap = [self.cap, cap].into_iter().flatten().min();
        self.end = self.end.map(|end| self.cap.map_or(end, |cap| cap.min(end)));
    }

    /// Whole seconds for which it stands for certain.
    pub(crate) fn seconds(&self, now: BootTime) -> u64 {
        self.end.map_or(0, |end| end.since(now).as_secs())
    }

    /// For how long it stands for certain.
    pub(crate) fn rest(&self, now: BootTime) -> Duration {
        self.end.map_or(Duration::ZERO, |end| end.since(now))
    }

    /// When its extension should be asked for: after half of the rest. `None` where it cannot be
    /// extended or nearly is over.
    pub(crate) fn half(&self, now: BootTime) -> Option<BootTime> {
        let end = self.end?;
        let rest = end.since(now);
        let capped = self.cap.is_some_and(|cap| cap <= end.after(GAIN_MIN));
        let wait = rest.checked_div(2)?;
        (!capped && rest >= LIFETIME_MIN).then(|| now.after(wait))
    }

    /// When the kernel must have ended it.
    pub(crate) fn overdue(&self) -> Option<BootTime> {
        let end = self
            .end
            .map(|end| self.pending.map_or(end, |pending| pending.max(end)));
        end.map(|end| end.after(LIFETIME_SLACK).after(EXPIRE_PATIENCE))
    }
}

/// The lifetimes of an outbound SA with so many seconds, at this age.
pub(crate) fn outbound(
    soft: Lifetime,
    hard: Lifetime,
    seconds: u64,
    age: Duration,
) -> (Lifetime, Lifetime) {
    let soft = Lifetime {
        // Once reported it is not reported again by every extension.
        seconds: soft
            .seconds
            .filter(|soft| *soft > age.as_secs() && *soft < age.as_secs().saturating_add(seconds)),
        ..soft
    };
    let hard = Lifetime {
        seconds: Some(seconds),
        ..hard
    };
    (soft, hard)
}

/// The lifetimes of an inbound SA with so many seconds.
pub(crate) fn inbound(hard: Lifetime, seconds: u64) -> (Lifetime, Lifetime) {
    let twice = |limit: Option<u64>| limit.map(|limit| limit.saturating_mul(2));
    let hard = Lifetime {
        seconds: Some(seconds),
        bytes: twice(hard.bytes),
        packets: twice(hard.packets),
    };
    (Lifetime::default(), hard)
}

/// Rounded down, and one less for the way into the kernel.
fn whole_seconds(now: BootTime, end: BootTime) -> Option<u64> {
    let rest = end.since(now).checked_sub(LIFETIME_SLACK)?;
    (rest >= LIFETIME_MIN).then_some(rest.as_secs())
}

/// The kernel counts from the whole second before.
fn stands_until(now: BootTime, seconds: u64) -> BootTime {
    now.after(Duration::from_secs(seconds).saturating_sub(LIFETIME_SLACK))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime(Duration::from_secs(seconds))
    }

    #[test]
    fn an_sa_ends_with_the_earliest_of_its_ends() {
        let (span, seconds) = Span::install(at(100), Some(50), at(1000)).unwrap();
        assert_eq!((seconds, span.end), (49, Some(at(148))));
        let (span, seconds) = Span::install(at(100), Some(5000), at(400)).unwrap();
        assert_eq!((seconds, span.end), (299, Some(at(398))));
        assert!(Span::install(at(100), None, at(104)).is_none());
        assert!(Span::install(at(100), None, at(99)).is_none());
    }

    #[test]
    fn an_extension_stops_at_the_policy_and_counts_only_when_done() {
        let (mut span, _) = Span::install(at(0), Some(500), at(300)).unwrap();
        assert_eq!(span.half(at(0)), Some(at(149)));
        assert_eq!(span.later(at(299)), None);
        assert_eq!(span.later(at(900)), Some(at(500)));
        assert_eq!(span.extend(at(150), at(500)), Some(349));
        assert_eq!(span.later(at(900)), None);
        span.extended(false);
        assert_eq!(span.end, Some(at(298)));
        assert_eq!(span.extend(at(150), at(500)), Some(349));
        span.extended(true);
        assert_eq!(span.end, Some(at(498)));
        assert_eq!(span.half(at(150)), None);
        span.shorten(Some(400));
        assert_eq!(span.end, Some(at(400)));
        assert_eq!(span.half(at(150)), None);
    }
}
