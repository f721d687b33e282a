//! The moment of an event, as a notification words it.

use core::fmt;
use core::time::Duration;

/// A moment of the system's clock: time since 1970 without leap seconds. For the reader's eye only;
/// nothing is decided by it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct UnixTime(pub Duration);

const SECONDS_A_DAY: u64 = 86_400;

impl fmt::Display for UnixTime {
    /// RFC 3339 in UTC, with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (year, month, day) = date(seconds / SECONDS_A_DAY);
        let second = seconds % SECONDS_A_DAY;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            second / 3600,
            second / 60 % 60,
            second % 60,
            self.0.subsec_millis()
        )
    }
}

/// The date of a day counted from 1970-01-01, in the Gregorian calendar.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "days are at most 2^64 / 86400, so no sum comes near 2^64 and no difference below 0"
)]
fn date(days: u64) -> (u64, u64, u64) {
    // Years begin in March, so that a leap day is the last of its year; eras are 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + carry, month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_rfc_3339() {
        let at =
            |seconds, millis: u32| UnixTime(Duration::new(seconds, millis * 1_000_000)).to_string();
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400, 7), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(951_868_799, 999), "2000-02-29T23:59:59.999Z");
        assert_eq!(at(1_798_761_599, 0), "2026-12-31T23:59:59.000Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn the_end_of_time_has_a_date() {
        let text = UnixTime(Duration::from_secs(u64::MAX)).to_string();
        assert!(text.ends_with('Z'));
    }
}
