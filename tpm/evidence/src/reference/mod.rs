//! Reference values: what an image of ours measures, signed by its maker.
//!
//! A `CoRIM` (draft-ietf-rats-corim) with one `CoMID` of reference triples, as the payload of the
//! envelope of [`crate::cose`] (the draft's own is a `COSE_Sign1`, which has no room for two
//! signatures):
//!
//! ```text
//! 501({0: image, 1: [506(<< CoMID >>)], 3: 32("urn:bartizan:corim-1")})
//! CoMID = {1: {0: image}, 4: {0: [
//!   [ {0: {1: "Bartizan", 2: "gateway"}}, [                         what the image is
//!       {1: {0: {0: os-version}, 1: 552(rollback epoch), 13: [554(PCR signing key, PEM)], -1: log}},
//!       {1: {14: {4: [[1, digest]..], 7: .., 9: .., 12: .., 13: .., 14: ..}}},
//!       {0: phase, 1: {14: {11: [[1, digest]]}}} .. ] ],
//!   [ {0: {1: vendor, 2: model}}, [ {1: {14: {0: [[1, digest]..], 2: ..}}} ] ] .. ]}}
//! ```
//!
//! Of several digests of a PCR each is good. -1 is ours: whether the image's systemd keeps a
//! [`crate::userspace_log`]. There is one encoding: what was read is written again and compared.

mod decode;
mod encode;

use std::collections::BTreeMap;

use minicbor::decode::Error as CborError;

use crate::cose::{self, Algorithm, CoseError, VerifierKeys};
use crate::pcr_key::PcrSigningKey;
use crate::quote::Digest;

/// The most bytes of signed reference values.
pub const REFERENCE_MAX: usize = 256 * 1024;

/// The most digests of a PCR.
pub const DIGESTS_MAX: usize = 64;

/// The most boot phases.
pub const PHASES_MAX: usize = 16;

/// The most models of hardware.
pub const HARDWARE_MAX: usize = 256;

/// The most bytes of a name or a version: visible ASCII.
pub const TEXT_MAX: usize = 128;

/// PCRs that every image has exact values for; 11 has them phase by phase.
pub const EXACT_PCRS: [u8; 6] = [4, 7, 9, 12, 13, 14];

/// What an image measures.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReferenceValues {
    /// Its name: the `CoRIM`'s id and the `CoMID`'s.
    pub image: String,
    /// Its `os-version`: dotted numbers.
    pub os_version: String,
    /// An image below the floor of a box does not count there.
    pub rollback_epoch: u64,
    /// The key that signs its PCR 11 policies.
    pub signing_key: PcrSigningKey,
    /// Whether its systemd logs what it measures.
    pub userspace_log: UserspaceLogging,
    /// The good values of each of [`EXACT_PCRS`], at least one.
    pub exact: BTreeMap<u8, Vec<Digest>>,
    /// The good values of PCR 11, in the order of boot.
    pub phases: Vec<Phase>,
    /// On which hardware it may run; any, if there is none.
    pub hardware: Vec<Hardware>,
}

/// Whether userspace's measurements are logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UserspaceLogging {
    /// By systemd 255 or later: PCRs 9 and 11 to 15 replay from both logs.
    Logged,
    /// Not at all: what userspace extends is judged by its exact value alone.
    Unlogged,
}

/// PCR 11 in a phase of boot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Phase {
    /// The phases so far, as `systemd-measure` writes them: `enter-initrd:leave-initrd`.
    pub name: String,
    /// The value.
    pub pcr11: Digest,
}

/// A model of hardware and what its firmware measures.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hardware {
    /// Its vendor.
    pub vendor: String,
    /// Its model.
    pub model: String,
    /// The good values of PCR 0: the firmware.
    pub pcr0: Vec<Digest>,
    /// The good values of PCR 2: option ROMs.
    pub pcr2: Vec<Digest>,
}

/// Why bytes are no reference values of this maker, or values cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// More bytes than they may have.
    #[error("reference values have at most {REFERENCE_MAX} bytes")]
    TooLong,
    /// Not an envelope.
    #[error("reference values are a COSE_Sign with two signatures")]
    Envelope(#[source] CoseError),
    /// A signature is not of the pinned key over these values.
    #[error("the {0} signature of reference values is wrong")]
    Signature(Algorithm),
    /// Signed, but not the CBOR items of a `CoRIM` of ours.
    #[error("cannot decode reference values")]
    Malformed(#[source] CborError),
    /// The items, but in another form than the one.
    #[error("reference values are not in their one form")]
    Form,
    /// The PCR signing key is none.
    #[error("the PCR signing key of reference values is none")]
    Key(#[source] crate::pcr_key::PcrKeyError),
    /// A PCR without a value, or too many of something.
    #[error("reference values have a wrong number of {0}")]
    Count(&'static str),
    /// A name or a version that is empty, too long or not visible ASCII.
    #[error("{0} of reference values is no such text")]
    Text(&'static str),
}

impl ReferenceValues {
    /// The payload: what [`cose::to_be_signed`] and [`cose::assemble`] take.
    ///
    /// # Errors
    ///
    /// [`ReferenceError::Count`] or [`ReferenceError::Text`] if they are not whole.
    pub fn encode(&self) -> Result<Vec<u8>, ReferenceError> {
        self.check()?;
        Ok(encode::corim(self))
    }

    /// Checks signed reference values: their form, both signatures, and that they are whole.
    ///
    /// # Errors
    ///
    /// [`ReferenceError`] if they are none of this maker.
    pub fn verify(bytes: &[u8], keys: &VerifierKeys) -> Result<Self, ReferenceError> {
        if bytes.len() > REFERENCE_MAX {
            return Err(ReferenceError::TooLong);
        }
        let payload = cose::open(bytes, keys).map_err(|cause| match cause {
            CoseError::Signature(algorithm) => ReferenceError::Signature(algorithm),
            CoseError::Malformed(_) | CoseError::Form => ReferenceError::Envelope(cause),
        })?;
        let values = decode::corim(payload)?;
        if values.encode()? != payload {
            return Err(ReferenceError::Form);
        }
        Ok(values)
    }

    fn check(&self) -> Result<(), ReferenceError> {
        check_text("the image's name", &self.image)?;
        check_text("the version", &self.os_version)?;
        if !self.exact.keys().copied().eq(EXACT_PCRS) {
            return Err(ReferenceError::Count("PCRs"));
        }
        for digests in self.exact.values() {
            check_count("digests", digests.len(), DIGESTS_MAX)?;
        }
        check_count("phases", self.phases.len(), PHASES_MAX)?;
        for phase in &self.phases {
            check_text("a phase", &phase.name)?;
        }
        if self.hardware.len() > HARDWARE_MAX {
            return Err(ReferenceError::Count("models"));
        }
        for hardware in &self.hardware {
            check_text("a vendor", &hardware.vendor)?;
            check_text("a model", &hardware.model)?;
            for digests in [&hardware.pcr0, &hardware.pcr2] {
                check_count("digests", digests.len(), DIGESTS_MAX)?;
            }
        }
        Ok(())
    }
}

fn check_text(what: &'static str, text: &str) -> Result<(), ReferenceError> {
    let visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if visible && (1..=TEXT_MAX).contains(&text.len()) {
        return Ok(());
    }
    Err(ReferenceError::Text(what))
}

fn check_count(what: &'static str, count: usize, max: usize) -> Result<(), ReferenceError> {
    if (1..=max).contains(&count) {
        return Ok(());
    }
    Err(ReferenceError::Count(what))
}

/// The labels of the draft, and ours.
mod label {
    pub(super) const CORIM: u64 = 501;
    pub(super) const COMID: u64 = 506;
    pub(super) const URI: u64 = 32;
    pub(super) const SVN: u64 = 552;
    pub(super) const PKIX_BASE64_KEY: u64 = 554;
    pub(super) const PROFILE_NAME: &str = "urn:bartizan:corim-1";

    pub(super) const ID: u64 = 0;
    pub(super) const TAGS: u64 = 1;
    pub(super) const PROFILE: u64 = 3;

    pub(super) const TAG_IDENTITY: u64 = 1;
    pub(super) const TAG_ID: u64 = 0;
    pub(super) const TRIPLES: u64 = 4;
    pub(super) const REFERENCE_TRIPLES: u64 = 0;

    pub(super) const CLASS: u64 = 0;
    pub(super) const VENDOR: u64 = 1;
    pub(super) const MODEL: u64 = 2;
    pub(super) const OUR_VENDOR: &str = "Bartizan";
    pub(super) const OUR_MODEL: &str = "gateway";

    pub(super) const MKEY: u64 = 0;
    pub(super) const MVAL: u64 = 1;
    pub(super) const VERSION: u64 = 0;
    pub(super) const ROLLBACK: u64 = 1;
    pub(super) const CRYPTOKEYS: u64 = 13;
    pub(super) const INTEGRITY_REGISTERS: u64 = 14;
    pub(super) const USERSPACE_LOG: i64 = -1;

    /// SHA-256 in the IANA registry "Named Information Hash Algorithm".
    pub(super) const SHA_256: u64 = 1;
}
