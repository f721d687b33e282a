//! CMS (RFC 5652) as vouchers and conveyed information use it: `SignedData` with exactly two
//! signers over the same content, both required.
//!
//! | signer | named by | digest | signature |
//! |---|---|---|---|
//! | ES384 | issuer and serial number of a certificate | SHA-384 | ECDSA on P-384 |
//! | ML-DSA-65 (RFC 9882) | key identifier: 20 bytes of SHA-256 of the key | SHA-512 | pure, no context |
//!
//! Both sign attributes: content type, message digest and, if the signer likes, the time of signing,
//! by which nothing is decided. There is no other attribute, signer, algorithm or encoding: what was
//! decoded is encoded again and compared.

mod asn1;
mod attributes;
mod chain;
mod message;

use core::fmt;

use bartizan_evidence::cose::Algorithm;
use bartizan_evidence::lease::OwnerTime;
use der::asn1::ObjectIdentifier;
use ml_dsa::{EncodedSignature, EncodedVerifyingKey, MlDsa65};
use p384::ecdsa::signature::Verifier as _;
use sha2::{Digest as _, Sha256};

use crate::certificate::{Certificate, CertificateError, EcKey, check_path};
use asn1::SignerInfo;
pub use chain::{certificates, chain};
use message::Message;

/// The most bytes of one message.
pub const CMS_MAX: usize = 32 * 1024;

/// The most certificates in one message.
pub const CERTIFICATES_MAX: usize = 8;

/// What is signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ContentType {
    /// A voucher in JSON (RFC 8366, 5.4: `id-ct-animaJSONVoucher`).
    Voucher,
    /// Conveyed information in JSON (RFC 8572, 3.1: `id-ct-sztpConveyedInfoJSON`).
    ConveyedInformation,
}

impl ContentType {
    const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Voucher => ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.40"),
            Self::ConveyedInformation => ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.43"),
        }
    }
}

/// Why bytes are no message of these signers.
#[derive(Debug, thiserror::Error)]
pub enum CmsError {
    /// More bytes than a message has.
    #[error("a message has more than {CMS_MAX} bytes")]
    TooLong,
    /// Not the DER of a message.
    #[error("cannot decode a message")]
    Malformed(#[source] der::Error),
    /// Its items, in another form than the one.
    #[error("a message is not in its one form")]
    Form,
    /// Something else is signed.
    #[error("a message has content of another type")]
    ContentType,
    /// There is no such signature.
    #[error("a message has no {0} signature")]
    Missing(Algorithm),
    /// A signer's attributes are not over this content.
    #[error("the {0} signer's attributes are not over the content")]
    Attributes(Algorithm),
    /// Another signer than the one that must have.
    #[error("the {0} signer is another one")]
    Signer(Algorithm),
    /// A signature is wrong.
    #[error("the {0} signature is wrong")]
    Signature(Algorithm),
    /// A certificate in it does not decode, or does not count.
    #[error("a certificate of a message does not count")]
    Certificate(#[source] CertificateError),
}

/// An ML-DSA-65 public key (FIPS 204).
#[derive(Clone, PartialEq)]
pub struct MlDsa65Key {
    bytes: Vec<u8>,
    key: ml_dsa::VerifyingKey<MlDsa65>,
}

impl MlDsa65Key {
    /// Bytes of a key (FIPS 204, table 2).
    pub const LEN: usize = 1952;

    /// Takes the bytes of a key; none if they are not [`Self::LEN`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let encoded = EncodedVerifyingKey::<MlDsa65>::try_from(bytes).ok()?;
        Some(Self {
            bytes: bytes.to_vec(),
            key: ml_dsa::VerifyingKey::decode(&encoded),
        })
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How a message names it.
    fn identifier(&self) -> Vec<u8> {
        Sha256::digest(&self.bytes)
            .iter()
            .take(20)
            .copied()
            .collect()
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Option<()> {
        let signature = EncodedSignature::<MlDsa65>::try_from(signature).ok()?;
        let signature = ml_dsa::Signature::decode(&signature)?;
        self.key.verify(message, &signature).ok()
    }
}

impl Eq for MlDsa65Key {}

impl fmt::Debug for MlDsa65Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MlDsa65Key(..)")
    }
}

/// Whose ES384 signature counts.
#[derive(Clone, Copy, Debug)]
pub enum Signer<'a> {
    /// That of a certificate in the message which chains to an anchor.
    Under {
        /// The anchor.
        anchor: &'a Certificate,
        /// It is no earlier than this.
        floor: OwnerTime,
    },
    /// That of this certificate, wherever it came from; it was checked.
    Is(&'a Certificate),
}

/// Checks a message and both its signatures, and returns the content.
///
/// # Errors
///
/// [`CmsError`] if `bytes` is anything but one message of the type, or a signature is missing,
/// wrong, or of somebody else.
pub fn open(
    bytes: &[u8],
    content_type: ContentType,
    signer: Signer<'_>,
    ml_dsa_65: &MlDsa65Key,
) -> Result<Vec<u8>, CmsError> {
    let message = Message::decode(bytes)?;
    if message.content_type != content_type.oid() {
        return Err(CmsError::ContentType);
    }
    let es384 = message.signer(Algorithm::Es384)?;
    let second = message.signer(Algorithm::MlDsa65)?;
    match signer {
        Signer::Is(certificate) => check_es384(es384, certificate)?,
        Signer::Under { anchor, floor } => {
            let named = message
                .certificates
                .iter()
                .find(|certificate| es384.is_of(certificate));
            let leaf = named.ok_or(CmsError::Signer(Algorithm::Es384))?;
            check_path(leaf, &message.certificates, anchor, floor)
                .map_err(CmsError::Certificate)?;
            check_es384(es384, leaf)?;
        }
    }
    check_ml_dsa_65(second, ml_dsa_65)?;
    Ok(message.content)
}

fn check_es384(signer: &SignerInfo, certificate: &Certificate) -> Result<(), CmsError> {
    if !signer.is_of(certificate) {
        return Err(CmsError::Signer(Algorithm::Es384));
    }
    let EcKey::P384(key) = certificate.key().map_err(CmsError::Certificate)? else {
        return Err(CmsError::Certificate(CertificateError::Key));
    };
    let message = signer.to_be_signed()?;
    p384::ecdsa::Signature::from_der(signer.signature.as_bytes())
        .and_then(|signature| key.verify(&message, &signature))
        .map_err(|_| CmsError::Signature(Algorithm::Es384))
}

fn check_ml_dsa_65(signer: &SignerInfo, key: &MlDsa65Key) -> Result<(), CmsError> {
    if !signer.is_of_key(&key.identifier()) {
        return Err(CmsError::Signer(Algorithm::MlDsa65));
    }
    key.verify(&signer.to_be_signed()?, signer.signature.as_bytes())
        .ok_or(CmsError::Signature(Algorithm::MlDsa65))
}

/// Content that waits for its two signatures.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// What it is.
    pub content_type: ContentType,
    /// The bytes.
    pub content: &'a [u8],
    /// The time of signing, for a human reader.
    pub signed: Option<OwnerTime>,
}

impl Draft<'_> {
    /// The bytes that a signer signs: the DER of its attributes (RFC 5652, 5.4).
    ///
    /// # Errors
    ///
    /// [`CmsError::Malformed`] if a time has no encoding.
    pub fn to_be_signed(&self, algorithm: Algorithm) -> Result<Vec<u8>, CmsError> {
        let attributes = attributes::of(self, algorithm).map_err(CmsError::Malformed)?;
        der::Encode::to_der(&attributes).map_err(CmsError::Malformed)
    }

    /// Puts the content and its signatures into a message: `es384` as a DER `Ecdsa-Sig-Value` by
    /// the first of `certificates`, `ml_dsa_65` by `key`.
    ///
    /// # Errors
    ///
    /// [`CmsError`] if a signature is wrong or the message would break a limit.
    pub fn assemble(
        &self,
        certificates: &[Certificate],
        es384: &[u8],
        key: &MlDsa65Key,
        ml_dsa_65: &[u8],
    ) -> Result<Vec<u8>, CmsError> {
        let leaf = certificates
            .first()
            .ok_or(CmsError::Signer(Algorithm::Es384))?;
        let signers = vec![
            SignerInfo::es384(self, leaf, es384).map_err(CmsError::Malformed)?,
            SignerInfo::ml_dsa_65(self, &key.identifier(), ml_dsa_65)
                .map_err(CmsError::Malformed)?,
        ];
        let message = Message {
            content_type: self.content_type.oid(),
            content: self.content.to_vec(),
            certificates: certificates.to_vec(),
            signers,
        };
        check_es384(message.signer(Algorithm::Es384)?, leaf)?;
        check_ml_dsa_65(message.signer(Algorithm::MlDsa65)?, key)?;
        message.encode()
    }
}

/// A message with one of its signatures alone, for tools that do not know the other algorithm; no
/// gateway takes it.
///
/// # Errors
///
/// [`CmsError`] if `bytes` is no message, or has no such signature.
pub fn half(bytes: &[u8], algorithm: Algorithm) -> Result<Vec<u8>, CmsError> {
    let mut message = Message::decode(bytes)?;
    let signer = message.signer(algorithm)?.clone();
    message.signers = vec![signer];
    message.encode()
}

/// Puts two halves over the same content together, each made by a tool or a machine of its own.
///
/// # Errors
///
/// [`CmsError`] if one is no message with one signature, or the contents differ.
pub fn join(es384: &[u8], ml_dsa_65: &[u8]) -> Result<Vec<u8>, CmsError> {
    let mut message = Message::decode(es384)?;
    let second = Message::decode(ml_dsa_65)?;
    if (message.content_type, &message.content) != (second.content_type, &second.content) {
        return Err(CmsError::ContentType);
    }
    message.signers = vec![
        message.signer(Algorithm::Es384)?.clone(),
        second.signer(Algorithm::MlDsa65)?.clone(),
    ];
    message.encode()
}
