//! Structures of the TPM 2.0 Library, Part 2, as far as evidence needs them.
//!
//! Big-endian, with every length checked before anything is taken; what follows a structure is an
//! error. What was parsed encodes to the very same bytes.

mod attest;
mod parameters;
mod public;
mod reader;
mod signature;
mod spki;
mod template;

pub use attest::{Attest, Body, CertifyInfo, ClockInfo, QuoteInfo, Selection};
pub(crate) use attest::{KIND, MAGIC};
pub use parameters::{Curve, EccScheme, RsaScheme, Symmetric};
pub use public::{Attributes, Key, Public};
pub use reader::StructureError;
pub use signature::EcdsaSignature;
pub(crate) use spki::{RSA_ENCRYPTION, RsaPublicKey, SubjectPublicKeyInfo};
pub use template::{EndorsementTemplate, endorsement_template};

use sha2::{Digest, Sha256, Sha384, Sha512};

/// A hash algorithm (`TPMI_ALG_HASH`); SHA-1 is not one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Hash {
    /// `TPM_ALG_SHA256`.
    Sha256,
    /// `TPM_ALG_SHA384`.
    Sha384,
    /// `TPM_ALG_SHA512`.
    Sha512,
}

impl Hash {
    /// Its number in the TCG Algorithm Registry.
    pub const fn id(self) -> u16 {
        match self {
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
            Self::Sha512 => 0x000d,
        }
    }

    pub(crate) const fn from_id(id: u16) -> Option<Self> {
        match id {
            0x000b => Some(Self::Sha256),
            0x000c => Some(Self::Sha384),
            0x000d => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Hashes `parts`, one after the other.
    pub fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        fn over<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
            let mut hash = D::new();
            for part in parts {
                hash.update(part);
            }
            hash.finalize().to_vec()
        }
        match self {
            Self::Sha256 => over::<Sha256>(parts),
            Self::Sha384 => over::<Sha384>(parts),
            Self::Sha512 => over::<Sha512>(parts),
        }
    }
}

/// The Name of an object: the algorithm's number and the digest of its public area (Part 1, 16).
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Name(pub Vec<u8>);

impl Name {
    /// The qualified Name of a primary of the endorsement hierarchy that has this Name (Part 1,
    /// 16.5).
    #[must_use]
    pub fn under_endorsement(&self, hash: Hash) -> Self {
        const RH_ENDORSEMENT: [u8; 4] = 0x4000_000b_u32.to_be_bytes();
        let mut name = hash.id().to_be_bytes().to_vec();
        name.extend(hash.digest(&[&RH_ENDORSEMENT, &self.0]));
        Self(name)
    }
}
