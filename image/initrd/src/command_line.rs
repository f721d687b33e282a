//! The one word of the kernel command line that the initrd knows.

use std::fs;

use crate::Fault;

/// A root hash of SHA-256, as 64 lower-case hex digits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RootHash(String);

impl RootHash {
    /// Reads it from the command line that the kernel was started with.
    pub(crate) fn of_this_boot() -> Result<Self, Fault> {
        let line = fs::read_to_string("/proc/cmdline").map_err(|cause| Fault::Io {
            what: "read the command line",
            cause,
        })?;
        Self::parse(&line).ok_or(Fault::RootHash)
    }

    /// Two root hashes are none: nobody could say which one counts.
    fn parse(line: &str) -> Option<Self> {
        let mut values = line
            .split_ascii_whitespace()
            .filter_map(|word| word.strip_prefix("roothash="));
        let value = values.next()?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let whole = value.len() == 64 && value.bytes().all(is_digit) && values.next().is_none();
        whole.then(|| Self(value.to_owned()))
    }

    /// The digits.
    pub(crate) fn digits(&self) -> &str {
        &self.0
    }

    /// The PARTUUIDs of the data and of the hash tree: the first and the last 16 bytes.
    pub(crate) fn partitions(&self) -> [u128; 2] {
        let (data, tree) = self.0.split_at(32);
        [data, tree].map(|digits| u128::from_str_radix(digits, 16).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef";

    #[test]
    fn a_slot_is_named_by_the_halves_of_its_root_hash() {
        let hash = RootHash::parse(&format!("quiet roothash={DIGITS} panic=10\n")).unwrap();
        assert_eq!(
            hash.partitions(),
            [
                0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
                0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
            ]
        );
    }

    #[test]
    fn what_is_not_one_whole_root_hash_is_none() {
        let upper = DIGITS.to_uppercase();
        let short = &DIGITS[1..];
        for line in [
            String::new(),
            format!("xroothash={DIGITS}"),
            format!("roothash={upper}"),
            format!("roothash={short}"),
            format!("roothash={DIGITS} roothash={DIGITS}"),
            format!("roothash={short}é"),
        ] {
            assert_eq!(RootHash::parse(&line), None, "{line}");
        }
    }
}
