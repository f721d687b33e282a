//! `TPMS_ATTEST` (Part 2, 10.12.12): what a TPM signed about itself.

use super::parameters::read_hash;
use super::reader::{Reader, StructureError};
use super::{Hash, Name};

/// `TPM_GENERATED_VALUE`: a restricted key never signs foreign bytes that begin so.
const GENERATED: u32 = 0xff54_4347;
const ST_ATTEST_CERTIFY: u16 = 0x8017;
const ST_ATTEST_QUOTE: u16 = 0x8018;

/// The longest Name: SHA-512 and the algorithm's number.
const NAME_MAX: usize = 66;

/// What a TPM signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attest {
    /// The qualified Name of the signing key.
    pub signer: Name,
    /// What the asker sent: `qualifyingData`.
    pub extra_data: Vec<u8>,
    /// The TPM's clock and counters.
    pub clock: ClockInfo,
    /// The TPM's firmware.
    pub firmware_version: u64,
    /// What it says.
    pub body: Body,
}

/// The kind of statement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// `TPM2_Quote`.
    Quote(QuoteInfo),
    /// `TPM2_Certify`.
    Certify(CertifyInfo),
}

/// `TPMS_CLOCK_INFO` (Part 2, 10.11.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClockInfo {
    /// Milliseconds that the TPM had power since the last `TPM2_Clear`.
    pub clock: u64,
    /// Boots since the last `TPM2_Clear`.
    pub reset_count: u32,
    /// Resumptions since the last boot.
    pub restart_count: u32,
    /// Whether no higher `clock` was ever shown; after a loss of power one may have been.
    pub safe: bool,
}

/// `TPMS_QUOTE_INFO` (Part 2, 10.12.4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QuoteInfo {
    /// Which PCRs.
    pub selections: Vec<Selection>,
    /// The digest of their values.
    pub digest: Vec<u8>,
}

/// `TPMS_PCR_SELECTION` (Part 2, 10.6.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Selection {
    /// The bank; `None` for one with another hash, SHA-1 among them.
    pub bank: Option<Hash>,
    /// Bit n is PCR n.
    pub pcrs: u32,
}

/// `TPMS_CERTIFY_INFO` (Part 2, 10.12.3).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertifyInfo {
    /// The certified object's Name.
    pub name: Name,
    /// Its qualified Name.
    pub qualified_name: Name,
}

impl Attest {
    /// Parses a `TPMS_ATTEST` of a quote or a certification.
    ///
    /// # Errors
    ///
    /// [`StructureError`] for anything else.
    pub fn parse(bytes: &[u8]) -> Result<Self, StructureError> {
        let mut from = Reader::new(bytes);
        let magic = from.u32(MAGIC)?;
        if magic != GENERATED {
            return Err(StructureError::Value {
                field: MAGIC,
                value: magic.into(),
            });
        }
        let kind = from.u16(KIND)?;
        let signer = read_name(&mut from, "qualifiedSigner")?;
        let extra_data = from.sized(66, "extraData")?.to_vec();
        let clock = ClockInfo::read(&mut from)?;
        let firmware_version = from.u64("firmwareVersion")?;
        let body = match kind {
            ST_ATTEST_QUOTE => Body::Quote(QuoteInfo::read(&mut from)?),
            ST_ATTEST_CERTIFY => Body::Certify(CertifyInfo {
                name: read_name(&mut from, "the certified name")?,
                qualified_name: read_name(&mut from, "the certified qualified name")?,
            }),
            other => {
                return Err(StructureError::Value {
                    field: KIND,
                    value: other.into(),
                });
            }
        };
        from.end()?;
        Ok(Self {
            signer,
            extra_data,
            clock,
            firmware_version,
            body,
        })
    }
}

/// The fields that [`crate::verdict::Rule::V1`] is about.
pub(crate) const MAGIC: &str = "magic";
pub(crate) const KIND: &str = "the type of the attestation";

impl ClockInfo {
    fn read(from: &mut Reader<'_>) -> Result<Self, StructureError> {
        Ok(Self {
            clock: from.u64("clock")?,
            reset_count: from.u32("resetCount")?,
            restart_count: from.u32("restartCount")?,
            safe: match from.u8("safe")? {
                0 => false,
                1 => true,
                other => {
                    return Err(StructureError::Value {
                        field: "safe",
                        value: other.into(),
                    });
                }
            },
        })
    }

    /// Whether nothing was started anew between the two.
    pub const fn same_boot(&self, other: &Self) -> bool {
        self.reset_count == other.reset_count && self.restart_count == other.restart_count
    }
}

impl QuoteInfo {
    fn read(from: &mut Reader<'_>) -> Result<Self, StructureError> {
        let count = from.u32("the count of selections")?;
        // One for each hash of a TPM at the most.
        if count > 16 {
            return Err(StructureError::Value {
                field: "the count of selections",
                value: count.into(),
            });
        }
        let selections = (0..count)
            .map(|_| Selection::read(from))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            selections,
            digest: from.sized(64, "pcrDigest")?.to_vec(),
        })
    }
}

impl Selection {
    fn read(from: &mut Reader<'_>) -> Result<Self, StructureError> {
        let bank = Hash::from_id(from.u16("the bank")?);
        let size = from.u8("sizeofSelect")?;
        if size > 4 {
            return Err(StructureError::Value {
                field: "sizeofSelect",
                value: size.into(),
            });
        }
        let octets = from.take(usize::from(size), "pcrSelect")?;
        let pcrs = octets.iter().rev().fold(0, |pcrs: u32, octet| {
            pcrs.wrapping_shl(8) | u32::from(*octet)
        });
        Ok(Self { bank, pcrs })
    }
}

fn read_name(from: &mut Reader<'_>, field: &'static str) -> Result<Name, StructureError> {
    let name = from.sized(NAME_MAX, field)?;
    let mut inner = Reader::new(name);
    let hash = read_hash(&mut inner, field)?;
    inner.take(hash.digest(&[]).len(), field)?;
    inner.end()?;
    Ok(Name(name.to_vec()))
}
