//! PCRs as they come out of a log: extended one event after the other.

use std::collections::BTreeMap;

use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

/// PCRs of a TPM for PC clients.
pub const PCRS: u8 = 24;

/// A bank of PCRs, by its hash. What is appraised is the SHA-256 bank; the others are for logs of
/// other makers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bank {
    /// SHA-1; for replay only, nothing is trusted by it.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Bank {
    /// Every bank, the weakest first.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Its number in the TCG Algorithm Registry.
    pub const fn id(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
            Self::Sha512 => 0x000d,
        }
    }

    /// Its name, as systemd and the IMA log write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Bytes of a value.
    pub const fn width(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Hashes `parts`, one after the other.
    pub fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        fn over<D: sha2::Digest>(parts: &[&[u8]]) -> Vec<u8> {
            let mut hash = D::new();
            for part in parts {
                hash.update(part);
            }
            hash.finalize().to_vec()
        }
        match self {
            Self::Sha1 => over::<Sha1>(parts),
            Self::Sha256 => over::<Sha256>(parts),
            Self::Sha384 => over::<Sha384>(parts),
            Self::Sha512 => over::<Sha512>(parts),
        }
    }
}

/// The PCRs of a bank, from the reset on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pcrs {
    bank: Bank,
    locality: u8,
    extended: BTreeMap<u8, Vec<u8>>,
}

impl Pcrs {
    /// PCRs as they are when the TPM was started from `locality`: 0, 3, or 4 for an H-CRTM (PC
    /// Client Platform Firmware Profile, 3.3.4).
    pub const fn started(bank: Bank, locality: u8) -> Self {
        Self {
            bank,
            locality,
            extended: BTreeMap::new(),
        }
    }

    /// Which bank.
    pub const fn bank(&self) -> Bank {
        self.bank
    }

    /// Extends a PCR with a digest of the bank (Part 1, 17.2).
    pub fn extend(&mut self, pcr: u8, digest: &[u8]) {
        // DRTM resets PCRs 17 to 22 to zero before it extends them.
        let before = match self.extended.get(&pcr) {
            Some(value) => value.clone(),
            None if pcr == 0 => self.reset_value(0),
            None => vec![0; self.bank.width()],
        };
        let after = self.bank.digest(&[&before, digest]);
        self.extended.insert(pcr, after);
    }

    /// The value of a PCR: what it was extended to, or its reset value.
    pub fn value(&self, pcr: u8) -> Vec<u8> {
        self.extended
            .get(&pcr)
            .cloned()
            .unwrap_or_else(|| self.reset_value(pcr))
    }

    /// Whether anything extended a PCR.
    pub fn is_extended(&self, pcr: u8) -> bool {
        self.extended.contains_key(&pcr)
    }

    fn reset_value(&self, pcr: u8) -> Vec<u8> {
        // PC Client Platform TPM Profile, 4.6.2.
        let fill = if (17..=22).contains(&pcr) { 0xff } else { 0 };
        let mut value = vec![fill; self.bank.width()];
        if let (0, Some(last)) = (pcr, value.last_mut()) {
            *last = self.locality;
        }
        value
    }
}
