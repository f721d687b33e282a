//! So often and no more: a token bucket, without clock.

use core::time::Duration;

use bartizan_model::time::BootTime;

/// Lets a burst pass, then one in each interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    burst: u32,
    interval: Duration,
    left: u32,
    since: BootTime,
}

impl Pace {
    /// The whole burst is free at the start.
    pub(crate) const fn new(burst: u32, interval: Duration) -> Self {
        Self {
            burst,
            interval,
            left: burst,
            since: BootTime(Duration::ZERO),
        }
    }

    /// Takes one.
    ///
    /// # Errors
    ///
    /// How long to wait for the next.
    pub(crate) fn take(&mut self, now: BootTime) -> Result<(), Duration> {
        let passed = now.since(self.since);
        let intervals = passed
            .as_nanos()
            .checked_div(self.interval.as_nanos())
            .and_then(|intervals| u32::try_from(intervals).ok())
            .unwrap_or(u32::MAX);
        let missing = self.burst.saturating_sub(self.left);
        if intervals >= missing {
            self.left = self.burst;
            self.since = now;
        } else {
            self.left = self.left.saturating_add(intervals);
            self.since = self.since.after(self.interval.saturating_mul(intervals));
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.interval.saturating_sub(now.since(self.since))),
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_millis(100);

    fn at(millis: u64) -> BootTime {
        BootTime(Duration::from_millis(millis))
    }

    #[test]
    fn a_burst_passes_and_then_one_in_each_interval() {
        let mut pace = Pace::new(3, INTERVAL);
        for _ in 0..3 {
            assert_eq!(pace.take(at(1000)), Ok(()));
        }
        assert_eq!(pace.take(at(1000)), Err(INTERVAL));
        assert_eq!(pace.take(at(1040)), Err(Duration::from_millis(60)));
        assert_eq!(pace.take(at(1100)), Ok(()));
        assert_eq!(pace.take(at(1100)), Err(INTERVAL));
        for _ in 0..3 {
            assert_eq!(pace.take(at(9000)), Ok(()));
        }
        assert!(pace.take(at(9000)).is_err());
    }

    proptest! {
        #[test]
        fn no_more_pass_than_the_burst_and_the_time(waits in proptest::collection::vec(0_u64..300, 1..200)) {
            let mut pace = Pace::new(5, INTERVAL);
            let (mut now, mut passed) = (0, 0);
            for wait in waits {
                now += wait;
                match pace.take(at(now)) {
                    Ok(()) => passed += 1,
                    Err(left) => prop_assert!(!left.is_zero() && left <= INTERVAL),
                }
                prop_assert!(passed <= 5 + now / 100);
            }
        }
    }
}
