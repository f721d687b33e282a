//! The one clock of the engine, and what is known of the owner's.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment, as the time since boot, sleep included (`CLOCK_BOOTTIME`).
///
/// It never steps and nobody can set it, so leases and deadlines are judged by it alone.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct BootTime(pub Duration);

impl BootTime {
    /// The moment `wait` after this one; the end of time where there is none.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }

    /// How long ago `earlier` was; zero if it is still to come.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// What the owner's clock showed at a moment of ours; it has gone on since.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct OwnerMoment {
    /// Seconds since 1970, UTC.
    pub seconds: u64,
    /// When it showed them.
    pub at: BootTime,
}

impl OwnerMoment {
    /// What it shows at `now`, in seconds since 1970.
    pub fn shows(self, now: BootTime) -> u64 {
        self.seconds.saturating_add(now.since(self.at).as_secs())
    }
}

/// What a boot knows of the owner's time; by it alone are certificates judged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct KnownTime {
    /// It is no earlier than this, in seconds since 1970: what the TPM keeps, and what the owner or
    /// the maker has signed.
    pub floor: u64,
    /// The owner's clock, once a lease has shown it.
    pub owner: Option<OwnerMoment>,
}

impl KnownTime {
    /// It is no earlier than this, in seconds since 1970.
    pub fn at_least(self, now: BootTime) -> u64 {
        let owner = self.owner.map_or(0, |owner| owner.shows(now));
        self.floor.max(owner)
    }

    /// Adds what else is known. Where two clocks differ the later counts: time never goes back.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let owner = match (self.owner, other.owner) {
            (Some(one), Some(another)) => {
                let both = one.at.max(another.at);
                Some(if another.shows(both) > one.shows(both) {
                    another
                } else {
                    one
                })
            }
            (one, another) => one.or(another),
        };
        Self {
            floor: self.floor.max(other.floor),
            owner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime(Duration::from_secs(seconds))
    }

    fn shown(seconds: u64, at: BootTime) -> KnownTime {
        KnownTime {
            floor: 0,
            owner: Some(OwnerMoment { seconds, at }),
        }
    }

    #[test]
    fn the_owners_clock_goes_on_with_the_time_since_boot() {
        let known = shown(1_000, at(10));
        assert_eq!(known.at_least(at(10)), 1_000);
        assert_eq!(known.at_least(at(75)), 1_065);
    }

    #[test]
    fn time_never_goes_back() {
        let floor = KnownTime {
            floor: 5_000,
            owner: None,
        };
        let early = shown(1_000, at(10));
        let late = shown(1_100, at(20));
        for known in [early.and(late), late.and(early)] {
            assert_eq!(known.at_least(at(30)), 1_110);
            assert_eq!(known.and(floor).at_least(at(30)), 5_000);
            assert_eq!(floor.and(known).at_least(at(30)), 5_000);
        }
        // A clock that was shown later and shows less than the other by then changes nothing.
        assert_eq!(early.and(shown(1_005, at(20))).at_least(at(20)), 1_010);
        assert_eq!(KnownTime::default().at_least(at(9)), 0);
    }
}
