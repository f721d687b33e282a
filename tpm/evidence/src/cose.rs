//! `COSE_Sign` (RFC 9052, 4.1) with exactly two signatures over the same payload: ES384, then
//! ML-DSA-65.
//!
//! ```text
//! 98([ h'', {}, payload, [ [ << {1: -35} >>, {}, ES384 ], [ << {1: -49} >>, {}, ML-DSA-65 ] ] ])
//! ```
//!
//! Nothing else is an envelope: no other header, order or number of signatures, no other encoding
//! of the same items. [`open`] takes the three variable parts out, assembles them anew and compares.

use core::fmt;

use minicbor::decode::{self, Decoder};
use ml_dsa::signature::Verifier;
use ml_dsa::{EncodedSignature, EncodedVerifyingKey, MlDsa65};

use crate::cbor::Writer;

/// Bytes of an ES384 signature: r, then s (RFC 9053, 2.1).
pub const ES384_LEN: usize = 96;

/// Bytes of an ML-DSA-65 signature (FIPS 204, table 2).
pub const ML_DSA_65_LEN: usize = 3309;

/// Bytes of an uncompressed P-384 public key (SEC 1, 2.3.3).
const ES384_KEY_LEN: usize = 97;

/// `COSE_Sign` (RFC 9052, table 1).
const TAG: u64 = 98;

/// The header parameter `alg` (RFC 9052, 3.1).
const ALG: u64 = 1;

/// One of the two algorithms.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    /// ECDSA on P-384 with SHA-384 (RFC 9053, 2.1).
    Es384,
    /// ML-DSA-65 (FIPS 204), pure, with an empty context.
    MlDsa65,
}

impl Algorithm {
    /// Its number in the IANA registry "COSE Algorithms".
    const fn id(self) -> i64 {
        match self {
            Self::Es384 => -35,
            Self::MlDsa65 => -49,
        }
    }

    fn protected(self) -> Vec<u8> {
        let mut header = Writer::default();
        header.map(1).unsigned(ALG).int(self.id());
        header.into_bytes()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Es384 => "ES384",
            Self::MlDsa65 => "ML-DSA-65",
        })
    }
}

/// A pinned key is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a verifier key for {0}")]
pub struct KeyError(pub Algorithm);

/// Why an envelope does not open.
#[derive(Debug, thiserror::Error)]
pub enum CoseError {
    /// Not the CBOR items of an envelope.
    #[error("cannot decode the envelope")]
    Malformed(#[source] decode::Error),
    /// The items, but in another form than the one.
    #[error("the envelope is not in its one form")]
    Form,
    /// A signature is not of the pinned key over this payload.
    #[error("the {0} signature is wrong")]
    Signature(Algorithm),
}

/// The pinned public keys; what one of them did not sign, nobody signed.
pub struct VerifierKeys {
    es384: p384::ecdsa::VerifyingKey,
    ml_dsa_65: ml_dsa::VerifyingKey<MlDsa65>,
}

impl VerifierKeys {
    /// Takes a P-384 key (SEC 1 uncompressed, 97 bytes) and an ML-DSA-65 key (1952 bytes).
    ///
    /// # Errors
    ///
    /// [`KeyError`] if a key has another length, or the first is no point of the curve.
    pub fn new(es384: &[u8], ml_dsa_65: &[u8]) -> Result<Self, KeyError> {
        let point = Some(es384).filter(|key| key.len() == ES384_KEY_LEN);
        let es384 = point
            .and_then(|key| p384::ecdsa::VerifyingKey::from_sec1_bytes(key).ok())
            .ok_or(KeyError(Algorithm::Es384))?;
        let ml_dsa_65 = EncodedVerifyingKey::<MlDsa65>::try_from(ml_dsa_65)
            .map_err(|_| KeyError(Algorithm::MlDsa65))?;
        Ok(Self {
            es384,
            ml_dsa_65: ml_dsa::VerifyingKey::decode(&ml_dsa_65),
        })
    }

    fn check_es384(&self, payload: &[u8], signature: &[u8]) -> Option<()> {
        let signature = p384::ecdsa::Signature::from_slice(signature).ok()?;
        let signed = to_be_signed(Algorithm::Es384, payload);
        self.es384.verify(&signed, &signature).ok()
    }

    fn check_ml_dsa_65(&self, payload: &[u8], signature: &[u8]) -> Option<()> {
        let signature = EncodedSignature::<MlDsa65>::try_from(signature).ok()?;
        let signature = ml_dsa::Signature::decode(&signature)?;
        let signed = to_be_signed(Algorithm::MlDsa65, payload);
        self.ml_dsa_65.verify(&signed, &signature).ok()
    }
}

impl fmt::Debug for VerifierKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifierKeys(ES384, ML-DSA-65)")
    }
}

/// The bytes that a signer signs: the `Sig_structure` of RFC 9052, 4.4, with no external data.
pub fn to_be_signed(algorithm: Algorithm, payload: &[u8]) -> Vec<u8> {
    let mut structure = Writer::default();
    structure
        .array(5)
        .text("Signature")
        .bytes(&[])
        .bytes(&algorithm.protected())
        .bytes(&[])
        .bytes(payload);
    structure.into_bytes()
}

/// Puts a payload and its two signatures into an envelope.
pub fn assemble(
    payload: &[u8],
    es384: &[u8; ES384_LEN],
    ml_dsa_65: &[u8; ML_DSA_65_LEN],
) -> Vec<u8> {
    write(&Parts {
        payload,
        es384,
        ml_dsa_65,
    })
}

/// Checks an envelope and both its signatures, and returns the payload.
///
/// # Errors
///
/// [`CoseError`] if `bytes` is anything but one envelope, or a signature is wrong.
pub fn open<'a>(bytes: &'a [u8], keys: &VerifierKeys) -> Result<&'a [u8], CoseError> {
    let parts = read(bytes).map_err(CoseError::Malformed)?;
    if write(&parts) != bytes {
        return Err(CoseError::Form);
    }
    keys.check_es384(parts.payload, parts.es384)
        .ok_or(CoseError::Signature(Algorithm::Es384))?;
    keys.check_ml_dsa_65(parts.payload, parts.ml_dsa_65)
        .ok_or(CoseError::Signature(Algorithm::MlDsa65))?;
    Ok(parts.payload)
}

/// What differs from envelope to envelope.
struct Parts<'a> {
    payload: &'a [u8],
    es384: &'a [u8],
    ml_dsa_65: &'a [u8],
}

/// Finds the variable parts; whether the rest is right, the comparison in [`open`] says.
fn read(bytes: &[u8]) -> Result<Parts<'_>, decode::Error> {
    let mut items = Decoder::new(bytes);
    items.tag()?;
    items.array()?;
    items.bytes()?;
    items.map()?;
    let payload = items.bytes()?;
    items.array()?;
    let es384 = read_signature(&mut items)?;
    let ml_dsa_65 = read_signature(&mut items)?;
    Ok(Parts {
        payload,
        es384,
        ml_dsa_65,
    })
}

fn read_signature<'a>(items: &mut Decoder<'a>) -> Result<&'a [u8], decode::Error> {
    items.array()?;
    items.bytes()?;
    items.map()?;
    items.bytes()
}

fn write(parts: &Parts<'_>) -> Vec<u8> {
    let mut envelope = Writer::default();
    envelope.tag(TAG).array(4).bytes(&[]).map(0);
    envelope.bytes(parts.payload).array(2);
    for (algorithm, signature) in [
        (Algorithm::Es384, parts.es384),
        (Algorithm::MlDsa65, parts.ml_dsa_65),
    ] {
        envelope.array(3).bytes(&algorithm.protected()).map(0);
        envelope.bytes(signature);
    }
    envelope.into_bytes()
}
