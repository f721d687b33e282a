//! `TPMT_SIGNATURE` (Part 2, 11.3.4), as far as evidence may be signed so: ECDSA.

use super::Hash;
use super::parameters::{read_ecdsa, read_hash, write_ecdsa};
use super::reader::{Reader, StructureError, write_sized};

/// An ECDSA signature.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EcdsaSignature {
    /// What the message was hashed with.
    pub hash: Hash,
    /// The first half, as the TPM gave it: leading zeros may be missing.
    pub r: Vec<u8>,
    /// The second half.
    pub s: Vec<u8>,
}

impl EcdsaSignature {
    /// Parses a `TPMT_SIGNATURE`.
    ///
    /// # Errors
    ///
    /// [`StructureError`] for anything but ECDSA with a hash no weaker than SHA-256.
    pub fn parse(bytes: &[u8]) -> Result<Self, StructureError> {
        let mut from = Reader::new(bytes);
        read_ecdsa(&mut from)?;
        let signature = Self {
            hash: read_hash(&mut from, "the signature's hash")?,
            r: from.sized(48, "r")?.to_vec(),
            s: from.sized(48, "s")?.to_vec(),
        };
        from.end()?;
        Ok(signature)
    }

    /// The `TPMT_SIGNATURE`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_ecdsa(&mut out);
        out.extend(self.hash.id().to_be_bytes());
        write_sized(&mut out, &self.r);
        write_sized(&mut out, &self.s);
        out
    }

    /// Both halves, each of `len` bytes; `None` if one is longer.
    pub(crate) fn fixed(&self, len: usize) -> Option<Vec<u8>> {
        let mut fixed = Vec::new();
        for half in [&self.r, &self.s] {
            let missing = len.checked_sub(half.len())?;
            fixed.extend(core::iter::repeat_n(0, missing));
            fixed.extend(half);
        }
        Some(fixed)
    }
}
