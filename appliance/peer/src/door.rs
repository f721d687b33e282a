//! Who may begin a handshake: without I/O and clock.
//!
//! A handshake costs a thread and, before the other end has shown anything, a signature of the TPM
//! that control and qkd need too. So few run at once, few from one address, and few a second;
//! addresses that we expect peers at have their own share, which strangers cannot use up.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::IpAddr;

use bartizan_model::time::BootTime;

use crate::pace::Pace;

/// Handshakes at once, from addresses that we expect and from others.
pub(crate) const EXPECTED_MAX: usize = 12;
pub(crate) const STRANGERS_MAX: usize = 4;
/// Handshakes at once from one address.
const ONE_ADDRESS_MAX: usize = 2;

const EXPECTED_PACE: Pace = Pace::new(32, Duration::from_millis(50));
const STRANGERS_PACE: Pace = Pace::new(8, Duration::from_millis(500));

/// Whether a peer is expected at the address that a connection comes from. One behind address
/// translation is not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Guest {
    Expected,
    Stranger,
}

/// A place at the door, to be given back by [`Door::leave`].
#[derive(Debug)]
pub(crate) struct Place {
    source: IpAddr,
    guest: Guest,
}

/// The door is closed for now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Closed;

/// The handshakes that run.
#[derive(Debug)]
pub(crate) struct Door {
    sources: BTreeMap<IpAddr, usize>,
    expected: Share,
    strangers: Share,
}

#[derive(Debug)]
struct Share {
    running: usize,
    most: usize,
    pace: Pace,
}

impl Door {
    pub(crate) fn new() -> Self {
        let share = |most, pace| Share {
            running: 0,
            most,
            pace,
        };
        Self {
            sources: BTreeMap::new(),
            expected: share(EXPECTED_MAX, EXPECTED_PACE),
            strangers: share(STRANGERS_MAX, STRANGERS_PACE),
        }
    }

    /// A connection comes from this address.
    ///
    /// # Errors
    ///
    /// [`Closed`]: it is to be dropped.
    pub(crate) fn knock(
        &mut self,
        source: IpAddr,
        guest: Guest,
        now: BootTime,
    ) -> Result<Place, Closed> {
        let source = source.to_canonical();
        let here = self.sources.get(&source).copied().unwrap_or_default();
        let share = match guest {
            Guest::Expected => &mut self.expected,
            Guest::Stranger => &mut self.strangers,
        };
        if here >= ONE_ADDRESS_MAX || share.running >= share.most {
            return Err(Closed);
        }
        share.pace.take(now).map_err(|_wait| Closed)?;
        share.running = share.running.saturating_add(1);
        self.sources.insert(source, here.saturating_add(1));
        Ok(Place { source, guest })
    }

    /// A handshake ended, well or not.
    pub(crate) fn leave(&mut self, place: &Place) {
        let share = match place.guest {
            Guest::Expected => &mut self.expected,
            Guest::Stranger => &mut self.strangers,
        };
        share.running = share.running.saturating_sub(1);
        if let Some(here) = self.sources.get_mut(&place.source) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                self.sources.remove(&place.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> BootTime {
        BootTime(Duration::from_millis(millis))
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn strangers_take_no_place_of_those_that_are_expected() {
        let mut door = Door::new();
        let mut places = Vec::new();
        for last in 0..200 {
            places.extend(door.knock(address(last), Guest::Stranger, at(0)));
        }
        assert_eq!(places.len(), STRANGERS_MAX);
        for last in 0..200 {
            places.extend(door.knock(address(last), Guest::Expected, at(0)));
        }
        assert_eq!(places.len(), STRANGERS_MAX + EXPECTED_MAX);
        for place in &places {
            door.leave(place);
        }
        assert!(door.sources.is_empty());
        assert!(door.knock(address(0), Guest::Stranger, at(0)).is_ok());
    }

    #[test]
    fn one_address_takes_few_places_in_whichever_form() {
        let mut door = Door::new();
        let _first = door.knock(address(1), Guest::Expected, at(0)).unwrap();
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        let second = door.knock(mapped, Guest::Expected, at(0)).unwrap();
        let third = door.knock(address(1), Guest::Expected, at(0));
        assert_eq!(third.unwrap_err(), Closed);
        door.leave(&second);
        assert!(door.knock(mapped, Guest::Expected, at(0)).is_ok());
    }

    #[test]
    fn handshakes_that_end_at_once_are_few_a_second_too() {
        for (guest, burst, interval) in [(Guest::Stranger, 8, 500), (Guest::Expected, 32, 50)] {
            let mut door = Door::new();
            let passed = (0..100)
                .filter_map(|_| {
                    door.knock(address(1), guest, at(0))
                        .ok()
                        .map(|place| door.leave(&place))
                })
                .count();
            assert_eq!(passed, burst);
            assert!(door.knock(address(1), guest, at(interval)).is_ok());
            assert!(door.knock(address(1), guest, at(interval)).is_err());
        }
    }
}
