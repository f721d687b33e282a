//! Keys that wait in this gateway for orders to come, so that those are answered at once.
//!
//! A pool follows demand: it holds as many keys as orders came lately, less one, so that a lone order
//! fetches none ahead. What it may hold is bounded in number and in age, so that a crash or a link that
//! fails wastes a bounded number.

use core::time::Duration;
use std::collections::VecDeque;

use bartizan_model::ids::KeyId;
use bartizan_model::time::BootTime;
use bartizan_secret::Secret;

/// The most keys of one pair of SAEs.
pub(crate) const POOL_MAX: usize = 8;

/// The most keys of all.
pub(crate) const POOLS_MAX: usize = 64;

/// How long a key waits at most, and how long an order counts as demand.
pub(crate) const AGE_MAX: Duration = Duration::from_mins(1);

/// The keys of one pair through one KME.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    keys: VecDeque<Pooled>,
    /// When orders came, the oldest first; no more than count.
    demand: VecDeque<BootTime>,
    /// Keys that were asked for.
    coming: usize,
}

#[derive(Debug)]
struct Pooled {
    name: KeyId,
    key: Secret,
    since: BootTime,
}

impl Pool {
    /// An order came: it is demand, and takes the oldest key there is.
    pub(crate) fn order(&mut self, now: BootTime) -> Option<(KeyId, Secret)> {
        if self.demand.len() > POOL_MAX {
            self.demand.pop_front();
        }
        self.demand.push_back(now);
        let pooled = self
            .keys
            .pop_front_if(|pooled| now.since(pooled.since) < AGE_MAX)?;
        Some((pooled.name, pooled.key))
    }

    /// How many keys are to be fetched, where `elsewhere` keys wait or come in other pools; they
    /// count as coming.
    pub(crate) fn fetch(&mut self, elsewhere: usize, now: BootTime) -> usize {
        while self
            .demand
            .pop_front_if(|at| now.since(*at) >= AGE_MAX)
            .is_some()
        {}
        let wanted = self.demand.len().saturating_sub(1).min(POOL_MAX);
        let room = POOLS_MAX.saturating_sub(elsewhere).min(wanted);
        let missing = room.saturating_sub(self.size());
        self.coming = self.coming.saturating_add(missing);
        missing
    }

    /// A key that was fetched has come.
    pub(crate) fn put(&mut self, name: KeyId, key: Secret, now: BootTime) {
        self.coming = self.coming.saturating_sub(1);
        if self.keys.len() < POOL_MAX {
            self.keys.push_back(Pooled {
                name,
                key,
                since: now,
            });
        }
    }

    /// One that was fetched will not come.
    pub(crate) fn missed(&mut self) {
        self.coming = self.coming.saturating_sub(1);
    }

    /// Wipes what waits for too long; how many.
    pub(crate) fn expire(&mut self, now: BootTime) -> usize {
        let before = self.keys.len();
        self.keys.retain(|pooled| now.since(pooled.since) < AGE_MAX);
        before.saturating_sub(self.keys.len())
    }

    /// Wipes everything, and forgets the demand: the link is not to be trusted. How many.
    pub(crate) fn wipe(&mut self) -> usize {
        self.demand.clear();
        let wiped = self.keys.len();
        self.keys.clear();
        wiped
    }

    /// Keys that wait.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Keys that wait or come.
    pub(crate) fn size(&self) -> usize {
        self.keys.len().saturating_add(self.coming)
    }

    /// When [`Pool::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Option<BootTime> {
        Some(self.keys.front()?.since.after(AGE_MAX))
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

    fn at(seconds: u64) -> BootTime {
        BootTime(Duration::from_secs(seconds))
    }

    fn put(pool: &mut Pool, number: u64, now: BootTime) {
        let name = KeyId::try_from(number.to_string()).unwrap();
        let key = Secret::from_fn(32, |bytes| bytes.fill(1)).unwrap();
        pool.put(name, key, now);
    }

    #[test]
    fn a_lone_order_fetches_nothing_ahead() {
        let mut pool = Pool::default();
        assert!(pool.order(at(0)).is_none());
        assert_eq!(pool.fetch(0, at(0)), 0);
        assert!(pool.order(at(90)).is_none());
        assert_eq!(pool.fetch(0, at(90)), 0);
    }

    #[test]
    fn the_oldest_key_goes_first_and_none_that_is_too_old() {
        let mut pool = Pool::default();
        for _ in 0..4 {
            pool.order(at(0));
        }
        assert_eq!(pool.fetch(0, at(0)), 3);
        assert_eq!(pool.fetch(0, at(0)), 0, "they are coming");
        for number in 0..3 {
            put(&mut pool, number, at(number));
        }
        assert_eq!(pool.order(at(3)).unwrap().0.as_str(), "0");
        assert_eq!(pool.deadline(), Some(at(61)));
        assert_eq!(pool.expire(at(61)), 1);
        assert!(pool.order(at(62)).is_none());
        assert_eq!(pool.expire(at(62)), 1);
    }

    #[test]
    fn a_link_that_fails_leaves_no_key_and_no_demand() {
        let mut pool = Pool::default();
        for _ in 0..5 {
            pool.order(at(0));
        }
        assert_eq!(pool.fetch(0, at(0)), 4);
        put(&mut pool, 1, at(0));
        pool.missed();
        assert_eq!((pool.size(), pool.wipe()), (3, 1));
        assert_eq!(pool.fetch(0, at(0)), 0);
    }

    proptest! {
        /// Whatever comes when, no pool holds more than it may, and each key is given once at most.
        #[test]
        fn a_pool_is_bounded_and_gives_each_key_once(
            events in proptest::collection::vec((0_u8..5, 0_u64..30), 0..200),
            elsewhere in 0..POOLS_MAX,
        ) {
            let mut pool = Pool::default();
            let mut given = std::collections::BTreeSet::new();
            let (mut now, mut number, mut coming) = (0, 0, 0);
            for (event, wait) in events {
                now += wait;
                match event {
                    0 | 1 => {
                        if let Some((name, _)) = pool.order(at(now)) {
                            prop_assert!(given.insert(name));
                        }
                        coming += pool.fetch(elsewhere, at(now));
                    }
                    2 if coming > 0 => {
                        coming -= 1;
                        number += 1;
                        put(&mut pool, number, at(now));
                    }
                    3 if coming > 0 => {
                        coming -= 1;
                        pool.missed();
                    }
                    _ => {
                        pool.expire(at(now));
                        prop_assert!(pool.deadline().is_none_or(|deadline| deadline > at(now)));
                    }
                }
                prop_assert!(pool.size() <= POOL_MAX);
                prop_assert_eq!(pool.size(), pool.len() + coming);
            }
        }
    }
}
