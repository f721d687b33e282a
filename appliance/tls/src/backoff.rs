//! When a link that failed is tried again.

use core::time::Duration;

/// The wait before the next attempt: twice as long after each failure, up to a limit, and half of
/// it random, so that many links that broke together do not come back together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits between half and all of `first` after the first failure, never more than `limit`.
    pub const fn new(first: Duration, limit: Duration) -> Self {
        Self {
            first,
            limit,
            failures: 0,
        }
    }

    /// Counts a failure; how long to wait, with `entropy` for chance.
    pub fn failed(&mut self, entropy: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        let longest = self.first.saturating_mul(doubled).min(self.limit);
        let half = longest.checked_div(2).unwrap_or_default();
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        let random = u128::from(nanos).saturating_mul(u128::from(entropy)) >> u32::BITS;
        half.saturating_add(Duration::from_nanos(
            u64::try_from(random).unwrap_or(u64::MAX),
        ))
    }

    /// Forgets the failures: the link works.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(200);
    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn each_wait_is_twice_the_one_before_up_to_the_limit() {
        let mut backoff = Backoff::new(FIRST, LIMIT);
        let waits: Vec<u128> = (0..40).map(|_| backoff.failed(0).as_millis()).collect();
        assert_eq!(waits[..7], [100, 200, 400, 800, 1600, 3200, 5000]);
        assert!(waits[7..].iter().all(|wait| *wait == 5000));
        backoff.succeeded();
        assert_eq!(backoff.failed(0).as_millis(), 100);
    }

    #[test]
    fn half_of_a_wait_is_chance() {
        for entropy in [0, 1, u32::MAX / 2, u32::MAX] {
            let wait = Backoff::new(FIRST, LIMIT).failed(entropy);
            assert!((FIRST / 2..=FIRST).contains(&wait), "{wait:?}");
        }
        let wait = Backoff::new(FIRST, LIMIT).failed(u32::MAX);
        assert!(wait + Duration::from_micros(1) > FIRST);
    }
}
