//! The manifest itself.
//!
//! The payload of the envelope of [`bartizan_evidence::cose`], in deterministic CBOR:
//!
//! ```text
//! {0: "urn:bartizan:update-1", 1: machine, 2: version, 3: least running version,
//!  4: rollback epoch, 5: root hash, 6: [[size, sha256] .. ]}        one pair a part, in their order
//! ```
//!
//! The profile keeps reference values from being a manifest, though the same keys sign both. There
//! is one encoding: what was read is written again and compared.

use core::fmt;

use bartizan_evidence::cbor::Writer;
use bartizan_evidence::cose::{self, Algorithm, CoseError, VerifierKeys};
use bartizan_evidence::quote::Digest;
use minicbor::decode::Error as CborError;

use crate::decode;
use crate::version::{Version, VersionError};

/// The most bytes of a signed manifest; the longest that can be made has about 4000.
pub const MANIFEST_MAX: usize = 8 * 1024;

/// The most bytes of a machine's name.
pub const MACHINE_MAX: usize = 32;

pub(crate) const PROFILE: &str = "urn:bartizan:update-1";

/// One piece of an image, in the order in which a bundle holds them: an update takes the first
/// three and leaves the rest.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Part {
    /// The root file system.
    Root,
    /// The hash tree over it.
    Verity,
    /// Kernel, initrd and command line, signed.
    Uki,
    /// The same for recovery; only a flashed disk has it. It may be empty: there is none.
    Recovery,
    /// The boot loader, signed; only a flashed disk has it.
    BootLoader,
    /// Reference values, signed: what the verifier expects of the image.
    ReferenceValues,
    /// What the image is made of.
    BillOfMaterials,
}

/// One value a part.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Contents<T> {
    /// Of [`Part::Root`].
    pub root: T,
    /// Of [`Part::Verity`].
    pub verity: T,
    /// Of [`Part::Uki`].
    pub uki: T,
    /// Of [`Part::Recovery`].
    pub recovery: T,
    /// Of [`Part::BootLoader`].
    pub boot_loader: T,
    /// Of [`Part::ReferenceValues`].
    pub reference_values: T,
    /// Of [`Part::BillOfMaterials`].
    pub bill_of_materials: T,
}

/// What a part must be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PartContents {
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of them.
    pub sha256: Digest,
}

/// What an update says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    /// Which machines it is for.
    pub machine: String,
    /// Its version.
    pub version: Version,
    /// A box that runs an older version takes another one first.
    pub min_version: Version,
    /// A box with a higher floor does not take it.
    pub rollback_epoch: u64,
    /// The root of the hash tree; its halves name the partitions.
    pub root_hash: Digest,
    /// What each part must be.
    pub parts: Contents<PartContents>,
}

/// Why bytes are no manifest of this maker, or a manifest cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// More bytes than it may have.
    #[error("a manifest has at most {MANIFEST_MAX} bytes")]
    TooLong,
    /// Not an envelope.
    #[error("a manifest is a COSE_Sign with two signatures")]
    Envelope(#[source] CoseError),
    /// A signature is not of the pinned key over this manifest.
    #[error("the {0} signature of the manifest is wrong")]
    Signature(Algorithm),
    /// Signed, but not the CBOR items of a manifest.
    #[error("cannot decode the manifest")]
    Malformed(#[source] CborError),
    /// The items, but in another form than the one.
    #[error("the manifest is not in its one form")]
    Form,
    /// A version is none.
    #[error("a version of the manifest is none")]
    Version(#[source] VersionError),
    /// The machine's name is empty, too long or has other characters than it may.
    #[error("the manifest's machine is named by up to {MACHINE_MAX} of a to z, 0 to 9 and -")]
    Machine,
    /// A part is empty, larger than such a part may be, or not of whole blocks.
    #[error("the manifest's {0} has no size that it may have")]
    Size(Part),
    /// The least version is not before the version.
    #[error("the manifest's least version is not before its version")]
    LeastVersion,
}

impl Manifest {
    /// The payload: what [`cose::to_be_signed`] and [`cose::assemble`] take.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] if a value is not as it may be.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        let mut out = Writer::default();
        out.map(7).unsigned(0).text(PROFILE);
        out.unsigned(1).text(&self.machine);
        out.unsigned(2).text(&self.version.to_string());
        out.unsigned(3).text(&self.min_version.to_string());
        out.unsigned(4).unsigned(self.rollback_epoch);
        out.unsigned(5).bytes(&self.root_hash);
        out.unsigned(6).array(decode::PARTS);
        for part in Part::ALL {
            let contents = self.part(part);
            out.array(2).unsigned(contents.size).bytes(&contents.sha256);
        }
        Ok(out.into_bytes())
    }

    /// Checks a signed manifest: its form, both signatures, and every limit.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] if it is none of this maker.
    pub fn verify(bytes: &[u8], keys: &VerifierKeys) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_MAX {
            return Err(ManifestError::TooLong);
        }
        let payload = cose::open(bytes, keys).map_err(|cause| match cause {
            CoseError::Signature(algorithm) => ManifestError::Signature(algorithm),
            CoseError::Malformed(_) | CoseError::Form => ManifestError::Envelope(cause),
        })?;
        Self::decode(payload)
    }

    /// Decodes a payload whose signatures somebody else checked.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] if it is not the one encoding of a manifest within the limits.
    pub fn decode(payload: &[u8]) -> Result<Self, ManifestError> {
        let manifest = decode::manifest(payload)?;
        if manifest.encode()? != payload {
            return Err(ManifestError::Form);
        }
        Ok(manifest)
    }

    /// What a part must be.
    pub const fn part(&self, part: Part) -> PartContents {
        self.parts.of(part)
    }

    /// Where a part begins, counted from the first part.
    pub fn offset(&self, part: Part) -> u64 {
        Part::ALL
            .into_iter()
            .take_while(|before| *before < part)
            .fold(0, |sum, before| sum.saturating_add(self.part(before).size))
    }

    /// The bytes of all parts together.
    pub fn parts_len(&self) -> u64 {
        Part::ALL
            .into_iter()
            .fold(0, |sum, part| sum.saturating_add(self.part(part).size))
    }

    /// The bytes of the parts that an update takes, which come first.
    pub fn update_len(&self) -> u64 {
        self.offset(Part::Recovery)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if !(1..=MACHINE_MAX).contains(&self.machine.len()) || !self.machine.bytes().all(plain) {
            return Err(ManifestError::Machine);
        }
        if self.min_version >= self.version {
            return Err(ManifestError::LeastVersion);
        }
        for part in Part::ALL {
            let size = self.part(part).size;
            let whole = size.is_multiple_of(part.granularity());
            // A maker may do without recovery, and without no other part.
            let missing = size == 0 && part != Part::Recovery;
            if missing || size > part.size_max() || !whole {
                return Err(ManifestError::Size(part));
            }
        }
        Ok(())
    }
}

impl Part {
    /// Every part, in order.
    pub const ALL: [Self; 7] = [
        Self::Root,
        Self::Verity,
        Self::Uki,
        Self::Recovery,
        Self::BootLoader,
        Self::ReferenceValues,
        Self::BillOfMaterials,
    ];

    /// The most bytes that it may have.
    pub const fn size_max(self) -> u64 {
        match self {
            Self::Root => 1024 * MIB,
            Self::Verity => 32 * MIB,
            Self::Uki | Self::Recovery => 160 * MIB,
            Self::BootLoader => MIB,
            Self::ReferenceValues => MIB / 4,
            Self::BillOfMaterials => 16 * MIB,
        }
    }

    /// Its size is a multiple of so many bytes: what goes to a partition is whole blocks.
    const fn granularity(self) -> u64 {
        match self {
            Self::Root | Self::Verity => 4096,
            Self::Uki
            | Self::Recovery
            | Self::BootLoader
            | Self::ReferenceValues
            | Self::BillOfMaterials => 1,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Root => "root",
            Self::Verity => "hash tree",
            Self::Uki => "kernel image",
            Self::Recovery => "recovery image",
            Self::BootLoader => "boot loader",
            Self::ReferenceValues => "reference values",
            Self::BillOfMaterials => "bill of materials",
        })
    }
}

impl<T: Copy> Contents<T> {
    /// The value of a part.
    pub const fn of(&self, part: Part) -> T {
        match part {
            Part::Root => self.root,
            Part::Verity => self.verity,
            Part::Uki => self.uki,
            Part::Recovery => self.recovery,
            Part::BootLoader => self.boot_loader,
            Part::ReferenceValues => self.reference_values,
            Part::BillOfMaterials => self.bill_of_materials,
        }
    }
}

const MIB: u64 = 1024 * 1024;
