//! YANG's `date-and-time` (RFC 6991, 3), the profile of RFC 3339 that vouchers use.

use core::str::FromStr as _;
use core::time::Duration;

use bartizan_evidence::lease::OwnerTime;
use der::DateTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Whole seconds in UTC: `2026-11-23T17:00:00Z`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Date(pub(crate) OwnerTime);

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let date = DateTime::from_unix_duration(Duration::from_secs(self.0.0))
            .map_err(|_| serde::ser::Error::custom("a date after the year 9999"))?;
        serializer.collect_str(&date)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| de::Error::custom("not a date and time in UTC"))
    }
}

/// Reads `YYYY-MM-DDThh:mm:ssZ`, with a fraction of a second and `+00:00` allowed and both dropped:
/// a moment in another zone is refused rather than guessed at.
fn parse(text: &str) -> Option<Date> {
    let text = text
        .strip_suffix('Z')
        .or_else(|| text.strip_suffix("+00:00"))?;
    let seconds = match text.split_once('.') {
        None => text,
        Some((seconds, fraction)) => {
            let digits = !fraction.is_empty() && fraction.bytes().all(|c| c.is_ascii_digit());
            digits.then_some(seconds)?
        }
    };
    let date = DateTime::from_str(&format!("{seconds}Z")).ok()?;
    Some(Date(OwnerTime(date.unix_duration().as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_moments_in_utc_are_dates() {
        let second = Some(Date(OwnerTime(1_477_000_000)));
        for text in [
            "2016-10-20T21:46:40Z",
            "2016-10-20T21:46:40.000Z",
            "2016-10-20T21:46:40+00:00",
        ] {
            assert_eq!(parse(text), second, "{text}");
        }
        for text in [
            "2016-10-20T21:46:40",
            "2016-10-20T21:46:40+02:00",
            "2016-10-20T21:46:40.Z",
            "2016-10-20T21:46:40.0xZ",
            "2016-13-20T21:46:40Z",
            "2016-10-20 21:46:40Z",
            "1969-12-31T23:59:59Z",
            "",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for seconds in [0, 1, 1_477_000_000, 4_102_444_800, 253_402_300_799] {
            let date = Date(OwnerTime(seconds));
            let text = serde_json::to_string(&date).unwrap();
            assert_eq!(serde_json::from_str::<Date>(&text).unwrap(), date, "{text}");
        }
    }
}
