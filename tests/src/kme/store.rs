//! How many keys are there, and which of them were taken.

use core::time::Duration;
use std::collections::BTreeSet;

use super::key::Link;

/// How fast the link makes keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// Keys a second.
    pub rate: u64,
    /// The most keys that wait to be taken; so many are there at the start.
    pub capacity: u64,
    /// When the link makes none.
    pub outages: Option<Outages>,
}

/// Times at which the error rate (QBER) is too high for keys: one in each period, where in it is
/// drawn from the link's seed, so both ends have them at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outages {
    /// How long a period is; at least a millisecond.
    pub every: Duration,
    /// How long an outage is; no longer than the period counts.
    pub lasting: Duration,
    /// The start of the store, from which its `now` counts, by the clock that both ends share.
    pub start: Duration,
}

/// One KME's keys.
#[derive(Debug)]
pub struct Store {
    link: Link,
    pace: Pace,
    /// In thousandths of a key, so that slow links add up.
    stored: u64,
    filled: Duration,
    next: u64,
    taken: BTreeSet<String>,
}

/// Why a name gives no key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Redeem {
    /// No KME of this link issued it to these SAEs.
    Unknown,
    /// It was redeemed before.
    Taken,
}

impl Store {
    /// A full store that names its keys from `first` on.
    ///
    /// A KME that restarts must be given a higher `first` than it had come to.
    pub fn new(link: Link, pace: Pace, first: u64) -> Self {
        Self {
            link,
            pace,
            stored: pace.capacity.saturating_mul(1000),
            filled: Duration::ZERO,
            next: first,
            taken: BTreeSet::new(),
        }
    }

    /// The link that the keys are of.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// How fast the link makes keys.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Takes a key out; whether there was one.
    pub fn consume(&mut self, now: Duration) -> bool {
        self.stored(now);
        match self.stored.checked_sub(1000) {
            Some(left) => {
                self.stored = left;
                true
            }
            None => false,
        }
    }

    /// The names of the keys that this end was asked for by name.
    pub fn redeemed(&self) -> &BTreeSet<String> {
        &self.taken
    }

    /// How many keys wait, `now` after the start.
    pub fn stored(&mut self, now: Duration) -> u64 {
        let passed = now.saturating_sub(self.filled);
        let lost = self.pace.outages.map_or(Duration::ZERO, |outages| {
            outages.between(&self.link, self.filled, now.max(self.filled))
        });
        let worked = passed.saturating_sub(lost);
        let milliseconds = u64::try_from(worked.as_millis()).unwrap_or(u64::MAX);
        self.filled = now.max(self.filled);
        self.stored = self
            .stored
            .saturating_add(milliseconds.saturating_mul(self.pace.rate))
            .min(self.pace.capacity.saturating_mul(1000));
        self.stored / 1000
    }

    /// Takes a key of `length` bytes out for these two; `None` if none is left.
    pub fn issue(
        &mut self,
        master: &str,
        slave: &str,
        length: u8,
        now: Duration,
    ) -> Option<String> {
        if !self.consume(now) {
            return None;
        }
        let name = self.link.name(master, slave, self.next, length);
        self.next = self.next.saturating_add(1);
        Some(name)
    }

    /// Gives the other end its half: the length in bytes of the key of this name, once.
    ///
    /// # Errors
    ///
    /// [`Redeem`].
    pub fn redeem(&mut self, master: &str, slave: &str, name: &str) -> Result<u8, Redeem> {
        let length = self.knows(master, slave, name)?;
        self.taken.insert(name.to_owned());
        Ok(length)
    }

    /// The same, and the key stays.
    ///
    /// # Errors
    ///
    /// [`Redeem`].
    pub fn knows(&self, master: &str, slave: &str, name: &str) -> Result<u8, Redeem> {
        let length = self.link.recognise(master, slave, name);
        if self.taken.contains(name) {
            return Err(Redeem::Taken);
        }
        length.ok_or(Redeem::Unknown)
    }
}

impl Outages {
    /// How long the link made nothing between two moments of the store's time.
    fn between(self, link: &Link, from: Duration, to: Duration) -> Duration {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let every = millis(self.every).max(1);
        let lasting = millis(self.lasting).min(every);
        let start = millis(self.start);
        let (from, to) = (
            start.saturating_add(millis(from)),
            start.saturating_add(millis(to)),
        );
        let mut lost = 0_u64;
        for period in from / every..=to / every {
            let draw = link.derive(b"outage", &[&period.to_be_bytes()]);
            let [d0, d1, d2, d3, d4, d5, d6, d7, ..] = draw;
            let draw = u64::from_be_bytes([d0, d1, d2, d3, d4, d5, d6, d7]);
            let room = every.saturating_sub(lasting).saturating_add(1);
            let begin = period.saturating_mul(every).saturating_add(draw % room);
            let end = begin.saturating_add(lasting);
            lost = lost.saturating_add(end.min(to).saturating_sub(begin.max(from)));
        }
        Duration::from_millis(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(rate: u64, capacity: u64) -> Store {
        let pace = Pace {
            rate,
            capacity,
            outages: None,
        };
        Store::new(Link::new(1), pace, 5)
    }

    #[test]
    fn an_empty_store_gives_nothing_until_the_link_made_more() {
        let mut store = store(2, 1);
        assert!(store.issue("a", "b", 32, Duration::ZERO).is_some());
        assert!(
            store
                .issue("a", "b", 32, Duration::from_millis(499))
                .is_none()
        );
        assert!(
            store
                .issue("a", "b", 32, Duration::from_millis(500))
                .is_some()
        );
        assert_eq!(store.stored(Duration::from_secs(9)), 1);
    }

    #[test]
    fn both_ends_lose_the_same_times_and_as_much_as_was_ordered() {
        let outages = Outages {
            every: Duration::from_secs(10),
            lasting: Duration::from_secs(4),
            start: Duration::from_secs(1_000_000),
        };
        let (link, hour) = (Link::new(3), Duration::from_hours(1));
        let lost = outages.between(&link, Duration::ZERO, hour);
        assert_eq!(lost, Duration::from_mins(24));
        let late = Outages {
            start: outages.start + Duration::from_mins(1),
            ..outages
        };
        for second in 60..100 {
            let at = |second| Duration::from_secs(second);
            assert_eq!(
                outages.between(&link, at(second), at(second + 1)),
                late.between(&link, at(second - 60), at(second - 59)),
            );
        }
        let mut store = store(1000, 10_000_000);
        store.pace.outages = Some(outages);
        store.stored = 0;
        assert_eq!(store.stored(hour), 1000 * 6 * 360);
    }

    #[test]
    fn a_name_is_redeemed_once_and_only_at_the_right_end() {
        let mut here = store(1, 1);
        let mut there = store(1, 1);
        let name = here.issue("a", "b", 32, Duration::ZERO).unwrap();
        assert_eq!(there.redeem("b", "a", &name), Err(Redeem::Unknown));
        assert_eq!(there.redeem("a", "b", &name), Ok(32));
        assert_eq!(there.redeem("a", "b", &name), Err(Redeem::Taken));
    }
}
