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

    /// The names of the keys that this end was asked for by name.
    pub fn redeemed(&self) -> &BTreeSet<String> {
        &self.taken
    }

    /// How many keys wait, `now` after the start.
    pub fn stored(&mut self, now: Duration) -> u64 {
        let passed = now.saturating_sub(self.filled);
        let milliseconds = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
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
        self.stored(now);
        self.stored = self.stored.checked_sub(1000)?;
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
        let length = self
            .link
            .recognise(master, slave, name)
            .ok_or(Redeem::Unknown)?;
        if !self.taken.insert(name.to_owned()) {
            return Err(Redeem::Taken);
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(rate: u64, capacity: u64) -> Store {
        Store::new(Link::new(1), Pace { rate, capacity }, 5)
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
    fn a_name_is_redeemed_once_and_only_at_the_right_end() {
        let mut here = store(1, 1);
        let mut there = store(1, 1);
        let name = here.issue("a", "b", 32, Duration::ZERO).unwrap();
        assert_eq!(there.redeem("b", "a", &name), Err(Redeem::Unknown));
        assert_eq!(there.redeem("a", "b", &name), Ok(32));
        assert_eq!(there.redeem("a", "b", &name), Err(Redeem::Taken));
    }
}
