//! Names of boot entries: `bartizan_1.2.3+3-0.efi`, with the boot loader's counters in them.
//!
//! The boot loader takes one try off before it starts an entry, and leaves an entry without tries
//! for last (systemd-boot, automatic boot assessment). An entry without counters is good.

use core::fmt;

use bartizan_manifest::Version;

/// How often a new entry is tried before the boot loader goes back.
pub const TRIES: u32 = 3;

const PREFIX: &str = "bartizan_";
const SUFFIX: &str = ".efi";

/// The name of one of our boot entries.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct BootEntry {
    /// Which version it starts.
    pub version: Version,
    /// Whether it is good or on trial.
    pub standing: Standing,
}

/// What the boot loader makes of an entry.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Standing {
    /// It has proven itself.
    Blessed,
    /// It has not yet.
    OnTrial {
        /// How often it may still be started; with 0 it is bad.
        left: u32,
        /// How often it was.
        done: u32,
    },
}

impl BootEntry {
    /// A new entry with all its tries.
    pub const fn untried(version: Version) -> Self {
        Self {
            version,
            standing: Standing::OnTrial {
                left: TRIES,
                done: 0,
            },
        }
    }

    /// The entry of a version that has proven itself.
    pub const fn blessed(version: Version) -> Self {
        Self {
            version,
            standing: Standing::Blessed,
        }
    }

    /// Reads a name; `None` if it is no entry of ours.
    pub fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
        let Some((version, counters)) = stem.split_once('+') else {
            return Some(Self::blessed(Version::try_from(stem).ok()?));
        };
        let (left, done) = match counters.split_once('-') {
            Some((left, done)) => (counter(left)?, counter(done)?),
            None => (counter(counters)?, 0),
        };
        Some(Self {
            version: Version::try_from(version).ok()?,
            standing: Standing::OnTrial { left, done },
        })
    }
}

impl fmt::Display for BootEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.version)?;
        match self.standing {
            Standing::Blessed => {}
            Standing::OnTrial { left, done: 0 } => write!(f, "+{left}")?,
            Standing::OnTrial { left, done } => write!(f, "+{left}-{done}")?,
        }
        f.write_str(SUFFIX)
    }
}

fn counter(digits: &str) -> Option<u32> {
    let plain = (1..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_the_boot_loader_writes_them() {
        let entry = |left, done| BootEntry {
            version: Version::try_from("1.2").unwrap(),
            standing: Standing::OnTrial { left, done },
        };
        for (name, expected) in [
            ("bartizan_1.2+3.efi", entry(3, 0)),
            ("bartizan_1.2+2-1.efi", entry(2, 1)),
            ("bartizan_1.2+0-3.efi", entry(0, 3)),
        ] {
            assert_eq!(BootEntry::parse(name), Some(expected.clone()));
            assert_eq!(expected.to_string(), name);
        }
        let blessed = BootEntry::parse("bartizan_1.2.efi").unwrap();
        assert_eq!(blessed.standing, Standing::Blessed);
        assert_eq!(blessed.to_string(), "bartizan_1.2.efi");
        for other in [
            "recovery.efi",
            "bartizan_.efi",
            "bartizan_1.2",
            "bartizan_1.2+.efi",
            "bartizan_1.2+3-.efi",
            "bartizan_1.2+-1.efi",
            "bartizan_1.2+3+3.efi",
            "bartizan_1.2+1234567890.efi",
            "BARTIZ~1.EFI",
        ] {
            assert_eq!(BootEntry::parse(other), None, "{other}");
        }
    }
}
