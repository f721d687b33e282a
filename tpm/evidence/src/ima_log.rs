//! The kernel's log (IMA), binary: which files were measured into PCR 10.
//!
//! Only templates that carry the file's hash with its algorithm (`ima-ng`, `ima-sig` and their
//! like): the old `ima` template has no digest but SHA-1. A violation extends by ones (Linux,
//! `Documentation/security/IMA-templates.rst`). The log grows while it is read: PCR 10 may stand
//! at any of its entries.

use crate::replay::{Bank, Pcrs};

/// The most bytes of a log.
pub const LOG_MAX: usize = 4 * 1024 * 1024;

/// The most entries of a log.
pub const ENTRIES_MAX: usize = 20_000;

/// The only PCR that IMA extends.
pub const PCR: u8 = 10;

/// The longest name of a template.
const NAME_MAX: usize = 64;

/// Bytes of a SHA-1 digest.
const TEMPLATE_HASH_LEN: usize = 20;

/// Why bytes are no log. Entries are counted from 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LogError {
    /// More bytes than a log may have.
    #[error("a log has at most {LOG_MAX} bytes")]
    TooLong,
    /// More entries than a log may have.
    #[error("a log has at most {ENTRIES_MAX} entries")]
    TooManyEntries,
    /// It ends within an entry.
    #[error("the log ends within entry {0}")]
    Truncated(usize),
    /// An entry of another PCR.
    #[error("entry {entry} is of PCR {pcr}")]
    Pcr {
        /// Which entry.
        entry: usize,
        /// As claimed.
        pcr: u32,
    },
    /// A template without the file's hash, or none at all.
    #[error("entry {0} has a template that cannot be replayed")]
    Template(usize),
    /// The entry's data has another digest than the entry says.
    #[error("entry {0} has another template hash than its data")]
    TemplateHash(usize),
}

/// A log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImaLog<'a> {
    entries: Vec<Entry<'a>>,
}

/// One entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry<'a> {
    /// What was measured: the template's data.
    Measured(&'a [u8]),
    /// A file was written while it was read: nothing sure can be said.
    Violation,
}

impl<'a> ImaLog<'a> {
    /// Parses a log; no bytes are a log without entries.
    ///
    /// # Errors
    ///
    /// [`LogError`] for the first entry that is not as it must be.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LogError> {
        if bytes.len() > LOG_MAX {
            return Err(LogError::TooLong);
        }
        let mut entries = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let number = entries.len();
            if number >= ENTRIES_MAX {
                return Err(LogError::TooManyEntries);
            }
            entries.push(read_entry(&mut rest, number)?);
        }
        Ok(Self { entries })
    }

    /// Its entries, in their order.
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// Extends PCR 10 entry by entry, at most until it has `value`; returns how many it took, or
    /// `None` if it never had it.
    pub fn replay_until(&self, pcrs: &mut Pcrs, value: &[u8]) -> Option<usize> {
        let bank = pcrs.bank();
        for (number, entry) in self.entries.iter().enumerate() {
            if pcrs.value(PCR) == value {
                return Some(number);
            }
            let digest = match entry {
                Entry::Measured(data) => bank.digest(&[data]),
                Entry::Violation => vec![0xff; bank.width()],
            };
            pcrs.extend(PCR, &digest);
        }
        (pcrs.value(PCR) == value).then_some(self.entries.len())
    }
}

fn read_entry<'a>(rest: &mut &'a [u8], number: usize) -> Result<Entry<'a>, LogError> {
    let cut = LogError::Truncated(number);
    let pcr = u32_le(rest).ok_or(cut)?;
    if pcr != u32::from(PCR) {
        return Err(LogError::Pcr { entry: number, pcr });
    }
    let hash = take(rest, TEMPLATE_HASH_LEN).ok_or(cut)?;
    let name = sized(rest).ok_or(cut)?;
    if name.len() > NAME_MAX || !name.starts_with(b"ima-") {
        return Err(LogError::Template(number));
    }
    let data = sized(rest).ok_or(cut)?;
    if hash.iter().all(|byte| *byte == 0) {
        return Ok(Entry::Violation);
    }
    if Bank::Sha1.digest(&[data]) != hash {
        return Err(LogError::TemplateHash(number));
    }
    Ok(Entry::Measured(data))
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, following) = rest.split_at_checked(len)?;
    *rest = following;
    Some(taken)
}

fn u32_le(rest: &mut &[u8]) -> Option<u32> {
    let (taken, following) = rest.split_first_chunk()?;
    *rest = following;
    Some(u32::from_le_bytes(*taken))
}

fn sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(u32_le(rest)?).ok()?;
    take(rest, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(data: &[u8]) -> Vec<u8> {
        let hash = Bank::Sha1.digest(&[data]);
        raw(10, &hash, b"ima-ng", data)
    }

    fn raw(pcr: u32, hash: &[u8], name: &[u8], data: &[u8]) -> Vec<u8> {
        let mut entry = pcr.to_le_bytes().to_vec();
        entry.extend(hash);
        for part in [name, data] {
            entry.extend(u32::try_from(part.len()).unwrap().to_le_bytes());
            entry.extend(part);
        }
        entry
    }

    #[test]
    fn pcr_10_may_stand_at_any_entry() {
        let violation = raw(10, &[0; 20], b"ima-ng", b"file");
        let bytes = [entry(b"one"), violation, entry(b"three")].concat();
        let log = ImaLog::parse(&bytes).unwrap();
        let mut stand = Pcrs::started(Bank::Sha256, 0);
        let mut at = vec![stand.value(10)];
        for digest in [
            Bank::Sha256.digest(&[b"one"]),
            vec![0xff; 32],
            Bank::Sha256.digest(&[b"three"]),
        ] {
            stand.extend(10, &digest);
            at.push(stand.value(10));
        }
        for (taken, value) in at.iter().enumerate() {
            let mut pcrs = Pcrs::started(Bank::Sha256, 0);
            assert_eq!(log.replay_until(&mut pcrs, value), Some(taken));
        }
        let mut pcrs = Pcrs::started(Bank::Sha256, 0);
        assert_eq!(log.replay_until(&mut pcrs, &[7; 32]), None);
    }

    #[test]
    fn what_cannot_be_replayed_is_refused() {
        let hash = Bank::Sha1.digest(&[b"x"]);
        let refused = |bytes: &[u8]| ImaLog::parse(bytes).unwrap_err();
        assert_eq!(
            refused(&raw(11, &hash, b"ima-ng", b"x")),
            LogError::Pcr { entry: 0, pcr: 11 }
        );
        assert_eq!(
            refused(&raw(10, &hash, b"ima", b"x")),
            LogError::Template(0)
        );
        assert_eq!(
            refused(&raw(10, &hash, b"ima-ng", b"y")),
            LogError::TemplateHash(0)
        );
        let whole = entry(b"one");
        for len in 1..whole.len() {
            assert!(ImaLog::parse(&whole[..len]).is_err());
        }
    }
}
