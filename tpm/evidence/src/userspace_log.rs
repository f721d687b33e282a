//! Userspace's log: what systemd measured after the kernel ran.
//!
//! `/run/log/systemd/tpm2-measure.log`, written since systemd 255: a JSON text sequence (RFC 7464)
//! of records close to the TCG Canonical Event Log. Since 258 there are records of NV indices, which
//! extend no PCR. Contents are not authenticated: only the digests decide.

use serde::Deserialize;

use crate::replay::{Bank, PCRS, Pcrs};

/// The most bytes of a log.
pub const LOG_MAX: usize = 4 * 1024 * 1024;

/// The most records of a log.
pub const RECORDS_MAX: usize = 20_000;

/// The most bytes of a record.
pub const RECORD_MAX: usize = 64 * 1024;

/// Begins a record (RFC 7464, 2.2).
const RECORD_SEPARATOR: u8 = 0x1e;

/// Why bytes are no log. Records are counted from 0.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// More bytes than a log may have.
    #[error("a log has at most {LOG_MAX} bytes")]
    TooLong,
    /// More records than a log may have.
    #[error("a log has at most {RECORDS_MAX} records")]
    TooManyRecords,
    /// A record does not begin or end as it must: it was cut, or not written whole.
    #[error("record {0} is not whole")]
    Framing(usize),
    /// A record is not the JSON of one.
    #[error("record {record} cannot be read")]
    Malformed {
        /// Which record.
        record: usize,
        /// What is wrong.
        #[source]
        cause: serde_json::Error,
    },
    /// A record of no PCR and no NV index, or of both, or of a PCR that does not exist.
    #[error("record {0} is of no PCR")]
    Pcr(usize),
    /// A digest of no width that its algorithm has, or two of one algorithm.
    #[error("record {0} has wrong digests")]
    Digests(usize),
    /// A record has no digest of the bank.
    #[error("record {record} has no {} digest", .bank.name())]
    Bank {
        /// Which record.
        record: usize,
        /// Which bank.
        bank: Bank,
    },
}

/// A log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserspaceLog {
    records: Vec<Record>,
}

/// One record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// The PCR; `None` for an NV index.
    pub pcr: Option<u8>,
    /// The digests of the banks that are known.
    pub digests: Vec<(Bank, Vec<u8>)>,
    /// What systemd says that it measured, if it says so.
    pub description: String,
}

impl UserspaceLog {
    /// Parses a log; no bytes are a log without records.
    ///
    /// # Errors
    ///
    /// [`LogError`] for the first record that is not as it must be.
    pub fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        if bytes.len() > LOG_MAX {
            return Err(LogError::TooLong);
        }
        let mut records = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let number = records.len();
            if number >= RECORDS_MAX {
                return Err(LogError::TooManyRecords);
            }
            let (text, following) = split_record(rest).ok_or(LogError::Framing(number))?;
            rest = following;
            records.push(Record::read(number, text)?);
        }
        Ok(Self { records })
    }

    /// Whether there is no record.
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Its records, in their order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Extends PCRs, as the firmware left them.
    ///
    /// # Errors
    ///
    /// [`LogError::Bank`] if a record has no digest of their bank.
    pub fn replay(&self, pcrs: &mut Pcrs) -> Result<(), LogError> {
        let bank = pcrs.bank();
        for (number, record) in self.records.iter().enumerate() {
            let Some(pcr) = record.pcr else { continue };
            let digest = record.digests.iter().find(|(known, _)| *known == bank);
            let (_, digest) = digest.ok_or(LogError::Bank {
                record: number,
                bank,
            })?;
            pcrs.extend(pcr, digest);
        }
        Ok(())
    }
}

/// The JSON of a record; members that are not here extend nothing.
#[derive(Deserialize)]
struct RawRecord {
    pcr: Option<u32>,
    #[serde(alias = "nvIndex")]
    nv_index: Option<u32>,
    digests: Vec<RawDigest>,
    #[serde(default)]
    content: RawContent,
}

#[derive(Deserialize)]
struct RawDigest {
    #[serde(rename = "hashAlg")]
    algorithm: String,
    digest: String,
}

#[derive(Default, Deserialize)]
struct RawContent {
    string: Option<String>,
}

impl Record {
    fn read(number: usize, text: &[u8]) -> Result<Self, LogError> {
        let raw: RawRecord = serde_json::from_slice(text).map_err(|cause| LogError::Malformed {
            record: number,
            cause,
        })?;
        let pcr = match (raw.pcr, raw.nv_index) {
            (Some(pcr), None) => {
                let pcr = u8::try_from(pcr).ok().filter(|pcr| *pcr < PCRS);
                Some(pcr.ok_or(LogError::Pcr(number))?)
            }
            (None, Some(_)) => None,
            (Some(_), Some(_)) | (None, None) => return Err(LogError::Pcr(number)),
        };
        let mut digests: Vec<(Bank, Vec<u8>)> = Vec::new();
        for raw in raw.digests {
            let known = Bank::ALL
                .into_iter()
                .find(|bank| bank.name() == raw.algorithm);
            // An algorithm that is not known is of a bank that is not replayed.
            let Some(bank) = known else { continue };
            let digest = crate::hex::decode(&raw.digest)
                .filter(|digest| digest.len() == bank.width())
                .filter(|_| digests.iter().all(|(earlier, _)| *earlier != bank))
                .ok_or(LogError::Digests(number))?;
            digests.push((bank, digest));
        }
        Ok(Self {
            pcr,
            digests,
            description: raw.content.string.unwrap_or_default(),
        })
    }
}

/// Splits the first record off: a separator, the text, a line feed.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = bytes.strip_prefix(&[RECORD_SEPARATOR])?;
    let end = text
        .iter()
        .position(|byte| *byte == RECORD_SEPARATOR)
        .unwrap_or(text.len());
    let (text, following) = text.split_at_checked(end)?;
    // What was not written to its end has none.
    let text = text.strip_suffix(b"\n")?;
    (text.len() <= RECORD_MAX).then_some((text, following))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(pcr: u8, digest: &str) -> String {
        format!(
            "\u{1e}{{\"pcr\":{pcr},\"digests\":[{{\"hashAlg\":\"sha256\",\"digest\":\"{digest}\"}}],\
             \"content_type\":\"systemd\",\"content\":{{\"string\":\"enter-initrd\",\
             \"bootId\":\"0123456789abcdef0123456789abcdef\",\"timestamp\":1,\"eventType\":\"phase\"}}}}\n"
        )
    }

    #[test]
    fn records_extend_in_their_order() {
        let first = "11".repeat(32);
        let second = "22".repeat(32);
        let text = record(11, &first) + &record(15, &first) + &record(11, &second);
        let log = UserspaceLog::parse(text.as_bytes()).unwrap();
        assert_eq!(log.records()[0].description, "enter-initrd");
        let mut pcrs = Pcrs::started(Bank::Sha256, 0);
        log.replay(&mut pcrs).unwrap();
        let mut by_hand = Pcrs::started(Bank::Sha256, 0);
        by_hand.extend(11, &[0x11; 32]);
        by_hand.extend(11, &[0x22; 32]);
        by_hand.extend(15, &[0x11; 32]);
        assert_eq!(pcrs, by_hand);
    }

    #[test]
    fn an_nv_index_extends_no_pcr() {
        let text = record(11, &"11".repeat(32)).replace("\"pcr\":11", "\"nv_index\":30474752");
        let log = UserspaceLog::parse(text.as_bytes()).unwrap();
        let mut pcrs = Pcrs::started(Bank::Sha256, 0);
        log.replay(&mut pcrs).unwrap();
        assert_eq!(pcrs, Pcrs::started(Bank::Sha256, 0));
    }

    #[test]
    fn what_was_not_written_whole_is_refused() {
        let whole = record(11, &"11".repeat(32));
        for len in 1..whole.len() {
            assert!(UserspaceLog::parse(&whole.as_bytes()[..len]).is_err());
        }
        let glued = whole.trim_end().to_owned() + &whole;
        assert!(matches!(
            UserspaceLog::parse(glued.as_bytes()),
            Err(LogError::Framing(0))
        ));
    }

    #[test]
    fn a_record_says_one_thing() {
        let whole = record(11, &"11".repeat(32));
        let refused = |from: &str, to: &str| {
            UserspaceLog::parse(whole.replacen(from, to, 1).as_bytes()).unwrap_err()
        };
        assert!(matches!(refused("\"pcr\":11,", ""), LogError::Pcr(0)));
        assert!(matches!(
            refused("\"pcr\":11", "\"pcr\":24"),
            LogError::Pcr(0)
        ));
        assert!(matches!(
            refused("\"pcr\":11", "\"pcr\":11,\"nv_index\":1"),
            LogError::Pcr(0)
        ));
        assert!(matches!(refused("1111", "11"), LogError::Digests(0)));
        assert!(matches!(refused("1111", "gg11"), LogError::Digests(0)));
        assert!(matches!(
            refused("\"pcr\":11", "\"pcr\":11,\"pcr\":12"),
            LogError::Malformed { .. }
        ));
        let sha384 = UserspaceLog::parse(
            whole
                .replace("sha256", "sha384")
                .replace(&"11".repeat(32), &"11".repeat(48))
                .as_bytes(),
        );
        let mut pcrs = Pcrs::started(Bank::Sha256, 0);
        assert!(matches!(
            sha384.unwrap().replay(&mut pcrs),
            Err(LogError::Bank { record: 0, .. })
        ));
    }
}
