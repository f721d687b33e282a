//! Versions of the gateway's software: numbers with dots between them.

use core::fmt;

/// The most numbers of a version.
const PARTS_MAX: usize = 8;

/// A version, compared number by number; where one ends, zeros go on.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct OsVersion([u32; PARTS_MAX]);

/// Not a version.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a version is 1 to {PARTS_MAX} numbers with dots between them")]
pub struct VersionError;

impl TryFrom<&str> for OsVersion {
    type Error = VersionError;

    fn try_from(text: &str) -> Result<Self, VersionError> {
        let mut parts = [0; PARTS_MAX];
        let mut rest = parts.iter_mut();
        for number in text.split('.') {
            let digits = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit());
            let part = rest.next().filter(|_| digits).ok_or(VersionError)?;
            *part = number.parse().map_err(|_| VersionError)?;
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for OsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = &self.0;
        let last = rest.iter().rposition(|part| *part != 0);
        write!(f, "{first}")?;
        let shown = last.map_or(0, |last| last.saturating_add(1));
        rest.iter()
            .take(shown)
            .try_for_each(|part| write!(f, ".{part}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> OsVersion {
        OsVersion::try_from(text).unwrap()
    }

    #[test]
    fn versions_are_compared_number_by_number() {
        assert!(version("1.9") < version("1.10"));
        assert!(version("1.10.1") > version("1.10"));
        assert_eq!(version("1"), version("1.0.0"));
        assert_eq!(version("1.0.2.0").to_string(), "1.0.2");
        for bad in [
            "",
            ".",
            "1.",
            "v1",
            "1.-2",
            "+1",
            "1.2-rc",
            "1.2.3.4.5.6.7.8.9",
            "4294967296",
        ] {
            assert_eq!(OsVersion::try_from(bad), Err(VersionError), "{bad}");
        }
    }
}
