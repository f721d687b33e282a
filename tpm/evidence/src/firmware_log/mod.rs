//! The firmware's log: what was measured before the kernel ran (TCG PC Client Platform Firmware
//! Profile 1.06, 10).
//!
//! Both formats: crypto-agile, where every event carries a digest for each bank, and the older one
//! with SHA-1 only. Types and data of events are not authenticated: they are checked for form, and
//! only the digests decide.

mod event_type;
mod reader;

pub use event_type::EventType;

use crate::replay::{Bank, PCRS, Pcrs};
use reader::{Reader, SpecId};

/// The most bytes of a log.
pub const LOG_MAX: usize = 4 * 1024 * 1024;

/// The most events of a log.
pub const EVENTS_MAX: usize = 20_000;

/// Why bytes are no log, or none that may be believed. Events are counted from 0.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LogError {
    /// More bytes than a log may have.
    #[error("a log has at most {LOG_MAX} bytes")]
    TooLong,
    /// More events than a log may have.
    #[error("a log has at most {EVENTS_MAX} events")]
    TooManyEvents,
    /// It ends within an event.
    #[error("the log ends within event {0}")]
    Truncated(usize),
    /// The event that describes the log is not in its form.
    #[error("the Spec ID event is malformed")]
    SpecId,
    /// An event of no PCR.
    #[error("event {event} is of PCR {pcr}")]
    Pcr {
        /// Which event.
        event: usize,
        /// As claimed.
        pcr: u32,
    },
    /// A type that no specification names.
    #[error("event {event} has the unknown type {value:#x}")]
    UnknownType {
        /// Which event.
        event: usize,
        /// As found.
        value: u32,
    },
    /// Digests that the log did not announce, or one twice, or none of a bank.
    #[error("event {0} has other digests than the log says")]
    Digests(usize),
    /// The event that says where the TPM was started from is malformed, late or repeated.
    #[error("event {0} misstates the startup locality")]
    Locality(usize),
    /// A separator separates nothing: its digest is none of those a separator has.
    #[error("event {0} is no separator")]
    Separator(usize),
    /// The log has no digests of a bank.
    #[error("the log has no {} digests", .0.name())]
    Bank(Bank),
}

/// A log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FirmwareLog<'a> {
    format: Format,
    locality: u8,
    events: Vec<Event<'a>>,
}

/// In which format a log is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// `TCG_PCR_EVENT2`: a digest for each bank.
    CryptoAgile,
    /// `TCG_PCR_EVENT`: SHA-1 only.
    Sha1,
}

/// One event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event<'a> {
    /// The PCR; `None` for an event that extends none.
    pub pcr: Option<u8>,
    /// Its type.
    pub kind: EventType,
    /// Its digests, by the number of their algorithm.
    pub digests: Vec<(u16, &'a [u8])>,
    /// What was measured, or a description of it.
    pub data: &'a [u8],
}

impl Event<'_> {
    fn digest(&self, bank: Bank) -> Option<&[u8]> {
        self.digests
            .iter()
            .find(|(id, _)| *id == bank.id())
            .map(|(_, digest)| *digest)
    }
}

impl<'a> FirmwareLog<'a> {
    /// Parses a log; no bytes are a log without events.
    ///
    /// # Errors
    ///
    /// [`LogError`] for the first event that is not as it must be.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LogError> {
        if bytes.len() > LOG_MAX {
            return Err(LogError::TooLong);
        }
        let mut from = Reader::new(bytes);
        let mut log = Self {
            format: Format::Sha1,
            locality: 0,
            events: Vec::new(),
        };
        let mut spec = SpecId::sha1();
        if !from.is_empty() {
            let first = from.event_sha1(0)?;
            if first.kind == EventType::NO_ACTION
                && let Some(announced) = SpecId::parse(first.data)?
            {
                log.format = Format::CryptoAgile;
                spec = announced;
            }
            log.events.push(first);
        }
        while !from.is_empty() {
            let number = log.events.len();
            if number >= EVENTS_MAX {
                return Err(LogError::TooManyEvents);
            }
            log.events.push(match log.format {
                Format::CryptoAgile => from.event_agile(number, &spec)?,
                Format::Sha1 => from.event_sha1(number)?,
            });
        }
        log.locality = log.startup_locality()?;
        log.check_separators()?;
        Ok(log)
    }

    /// In which format it is.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Where the TPM was started from.
    pub const fn locality(&self) -> u8 {
        self.locality
    }

    /// Its events, in their order.
    pub fn events(&self) -> &[Event<'a>] {
        &self.events
    }

    /// Computes the PCRs of a bank.
    ///
    /// # Errors
    ///
    /// [`LogError::Bank`] or [`LogError::Digests`] if an event has no digest of the bank.
    pub fn replay(&self, bank: Bank) -> Result<Pcrs, LogError> {
        if self.format == Format::Sha1 && bank != Bank::Sha1 && !self.events.is_empty() {
            return Err(LogError::Bank(bank));
        }
        let mut pcrs = Pcrs::started(bank, self.locality);
        for (number, event) in self.events.iter().enumerate() {
            if let Some(pcr) = event.pcr {
                let digest = event.digest(bank).ok_or(LogError::Digests(number))?;
                pcrs.extend(pcr, digest);
            }
        }
        Ok(pcrs)
    }

    /// From the event that says so, else from the presence of an H-CRTM (Profile, 10.4.5.3).
    fn startup_locality(&self) -> Result<u8, LogError> {
        const SIGNATURE: &[u8] = b"StartupLocality\0";
        let mut locality = None;
        let mut extended = None;
        for (number, event) in self.events.iter().enumerate() {
            if event.pcr == Some(0) && extended.is_none() {
                extended = Some(event.kind);
            }
            if event.kind != EventType::NO_ACTION {
                continue;
            }
            let Some(stated) = event.data.strip_prefix(SIGNATURE) else {
                continue;
            };
            // It would change what is extended already.
            if locality.is_some() || extended.is_some() {
                return Err(LogError::Locality(number));
            }
            locality = match stated {
                [stated @ (0 | 3 | 4)] => Some(*stated),
                _ => return Err(LogError::Locality(number)),
            };
        }
        Ok(match (locality, extended) {
            (Some(stated), _) => stated,
            (None, Some(EventType::EFI_HCRTM_EVENT)) => 4,
            (None, _) => 0,
        })
    }

    /// A separator has the digest of one of these (Profile, 10.4.1; the last is Windows', for PCRs
    /// 12 to 14): no other event can pass for one.
    fn check_separators(&self) -> Result<(), LogError> {
        const MEANINGS: [[u8; 4]; 4] = [[0; 4], [0xff; 4], [1, 0, 0, 0], *b"WBCL"];
        for (number, event) in self.events.iter().enumerate() {
            if event.kind != EventType::SEPARATOR {
                continue;
            }
            for bank in Bank::ALL {
                if let Some(digest) = event.digest(bank)
                    && !MEANINGS
                        .iter()
                        .any(|meaning| bank.digest(&[meaning]) == digest)
                {
                    return Err(LogError::Separator(number));
                }
            }
        }
        Ok(())
    }
}

/// The PCR of an event, which counts only where the event extends one.
fn extended_pcr(event: usize, kind: EventType, pcr: u32) -> Result<Option<u8>, LogError> {
    if kind == EventType::NO_ACTION {
        return Ok(None);
    }
    u8::try_from(pcr)
        .ok()
        .filter(|pcr| *pcr < PCRS)
        .map(Some)
        .ok_or(LogError::Pcr { event, pcr })
}
