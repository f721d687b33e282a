//! Versions of images: dotted numbers.

use core::fmt;

/// The most numbers of a version.
pub const NUMBERS_MAX: usize = 4;

/// The most bytes of a version.
pub const VERSION_MAX: usize = 23;

/// The most digits of a number of a version.
const DIGITS_MAX: usize = 5;

/// An image's version, `1.2.3`: one to four numbers of up to five digits, without leading zeros.
///
/// They are ordered number by number, and `1.2` is before `1.2.0`: as the boot loader orders them
/// (UAPI.10, version format).
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Version(Vec<u32>);

/// A text is no version.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a version is one to {NUMBERS_MAX} dotted numbers of up to {DIGITS_MAX} digits")]
pub struct VersionError;

impl TryFrom<&str> for Version {
    type Error = VersionError;

    fn try_from(text: &str) -> Result<Self, VersionError> {
        if text.len() > VERSION_MAX {
            return Err(VersionError);
        }
        let numbers = text
            .split('.')
            .map(number)
            .collect::<Option<Vec<u32>>>()
            .ok_or(VersionError)?;
        if numbers.len() > NUMBERS_MAX {
            return Err(VersionError);
        }
        Ok(Self(numbers))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, number) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(".")?;
            }
            write!(f, "{number}")?;
        }
        Ok(())
    }
}

fn number(digits: &str) -> Option<u32> {
    let plain = (1..=DIGITS_MAX).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::try_from(text).unwrap()
    }

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let order = [
            "0", "0.9", "1", "1.2", "1.2.0", "1.2.3", "1.10", "2", "10.0",
        ];
        for pair in order.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn a_version_is_written_in_one_way() {
        for text in ["0", "1.2.3.4", "99999.99999.99999.99999"] {
            assert_eq!(version(text).to_string(), text);
        }
        for bad in [
            "",
            ".",
            "1.",
            ".1",
            "01",
            "1.02",
            "+1",
            "-1",
            "1 ",
            "a",
            "1..2",
            "1.2.3.4.5",
            "100000",
            "1_0",
            "\u{661}",
        ] {
            assert_eq!(Version::try_from(bad), Err(VersionError), "{bad}");
        }
    }
}
