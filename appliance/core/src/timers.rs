//! Deadlines by time, so that the next one is found without looking at every tunnel.

use std::collections::{BTreeMap, BTreeSet};

use bartizan_model::ids::Reqid;
use bartizan_model::time::BootTime;

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Timer {
    /// Our lease ends.
    Lease,
    /// The nonce has waited long enough.
    Nonce,
    /// The kernel should have taken all SAs out.
    Flush,
    /// Somebody's turn for a QKD key, or a report on them.
    Budget,
    /// Orders are to be given again.
    Retries,
    /// The tunnel with this reqid.
    Tunnel(Reqid),
}

/// At most one deadline for each [`Timer`].
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_time: BTreeSet<(BootTime, Timer)>,
    by_timer: BTreeMap<Timer, BootTime>,
}

impl Timers {
    /// Sets, moves or removes a deadline.
    pub(crate) fn set(&mut self, timer: Timer, at: Option<BootTime>) {
        let before = match at {
            Some(at) => self.by_timer.insert(timer, at),
            None => self.by_timer.remove(&timer),
        };
        if before != at {
            if let Some(before) = before {
                self.by_time.remove(&(before, timer));
            }
            if let Some(at) = at {
                self.by_time.insert((at, timer));
            }
        }
    }

    /// The earliest deadline.
    pub(crate) fn first(&self) -> Option<BootTime> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out one that has passed.
    pub(crate) fn pop(&mut self, now: BootTime) -> Option<Timer> {
        let (at, timer) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.by_time.remove(&(at, timer));
        self.by_timer.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime(Duration::from_secs(seconds))
    }

    #[test]
    fn a_deadline_that_moved_comes_once_and_at_its_new_time() {
        let mut timers = Timers::default();
        timers.set(Timer::Nonce, Some(at(5)));
        timers.set(Timer::Lease, Some(at(3)));
        timers.set(Timer::Nonce, Some(at(1)));
        assert_eq!(timers.first(), Some(at(1)));
        assert_eq!(timers.pop(at(0)), None);
        assert_eq!(timers.pop(at(9)), Some(Timer::Nonce));
        assert_eq!(timers.pop(at(9)), Some(Timer::Lease));
        assert_eq!(timers.pop(at(9)), None);
        timers.set(Timer::Nonce, Some(at(5)));
        timers.set(Timer::Nonce, None);
        assert_eq!(timers.first(), None);
    }
}
