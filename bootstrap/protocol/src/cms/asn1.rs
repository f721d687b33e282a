//! The ASN.1 of `SignedData` (RFC 5652, 5), as much of it as there is in the one form.
//!
//! Certificates and signers stay `Any` in their sets: those are ordered by encoding, and are.

use bartizan_evidence::cose::Algorithm;
use der::asn1::{Any, ObjectIdentifier, OctetString, SetOfVec};
use der::{Decode as _, Encode as _, Sequence, Tag, TagNumber};
use x509_cert::attr::Attribute;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::{CmsError, Draft, attributes};
use crate::certificate::Certificate;

/// `id-signedData` (RFC 5652, 5.1).
pub(super) const SIGNED_DATA: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");

const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ML_DSA_65: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");

/// `CMSVersion` of a signer named by issuer and serial number, and by its key (RFC 5652, 5.3).
const BY_CERTIFICATE: u8 = 1;
const BY_KEY: u8 = 3;

/// RFC 5652, 3.
#[derive(Sequence)]
pub(super) struct ContentInfo {
    pub(super) content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    pub(super) content: SignedData,
}

/// RFC 5652, 5.1, without revocation lists.
#[derive(Sequence)]
pub(super) struct SignedData {
    pub(super) version: u8,
    pub(super) digest_algorithms: SetOfVec<AlgorithmIdentifierOwned>,
    pub(super) encapsulated: Encapsulated,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    pub(super) certificates: Option<SetOfVec<Any>>,
    pub(super) signers: SetOfVec<Any>,
}

/// RFC 5652, 5.2.
#[derive(Sequence)]
pub(super) struct Encapsulated {
    pub(super) content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) content: Option<OctetString>,
}

/// RFC 5652, 5.3, with signed and without unsigned attributes.
#[derive(Clone, Debug, Eq, PartialEq, Sequence)]
pub(super) struct SignerInfo {
    version: u8,
    identifier: Any,
    digest_algorithm: AlgorithmIdentifierOwned,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    signed_attributes: SetOfVec<Attribute>,
    signature_algorithm: AlgorithmIdentifierOwned,
    pub(super) signature: OctetString,
}

impl SignerInfo {
    pub(super) fn es384(
        draft: &Draft<'_>,
        certificate: &Certificate,
        signature: &[u8],
    ) -> der::Result<Self> {
        let identifier = Any::from_der(&certificate.issuer_and_serial()?)?;
        Self::new(draft, Algorithm::Es384, identifier, signature)
    }

    pub(super) fn ml_dsa_65(draft: &Draft<'_>, key: &[u8], signature: &[u8]) -> der::Result<Self> {
        Self::new(draft, Algorithm::MlDsa65, by_key(key)?, signature)
    }

    fn new(
        draft: &Draft<'_>,
        algorithm: Algorithm,
        identifier: Any,
        signature: &[u8],
    ) -> der::Result<Self> {
        Ok(Self {
            version: version(algorithm),
            identifier,
            digest_algorithm: plain(digest_algorithm(algorithm)),
            signed_attributes: attributes::of(draft, algorithm)?,
            signature_algorithm: plain(signature_algorithm(algorithm)),
            signature: OctetString::new(signature)?,
        })
    }

    /// Its algorithm; none if it is not one of the two, or something else does not go with it.
    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        [Algorithm::Es384, Algorithm::MlDsa65]
            .into_iter()
            .find(|algorithm| {
                self.version == version(*algorithm)
                    && self.digest_algorithm == plain(digest_algorithm(*algorithm))
                    && self.signature_algorithm == plain(signature_algorithm(*algorithm))
            })
    }

    pub(super) fn digest_algorithm(&self) -> &AlgorithmIdentifierOwned {
        &self.digest_algorithm
    }

    pub(super) fn attributes(&self) -> &SetOfVec<Attribute> {
        &self.signed_attributes
    }

    /// Whether it names this certificate.
    pub(super) fn is_of(&self, certificate: &Certificate) -> bool {
        let named = certificate
            .issuer_and_serial()
            .and_then(|der| Any::from_der(&der));
        named.is_ok_and(|named| named == self.identifier)
    }

    /// Whether it names this key.
    pub(super) fn is_of_key(&self, identifier: &[u8]) -> bool {
        by_key(identifier).is_ok_and(|named| named == self.identifier)
    }

    /// What is signed: the attributes as a SET OF, not under the tag that they have inside
    /// (RFC 5652, 5.4).
    pub(super) fn to_be_signed(&self) -> Result<Vec<u8>, CmsError> {
        self.signed_attributes.to_der().map_err(CmsError::Malformed)
    }
}

fn by_key(identifier: &[u8]) -> der::Result<Any> {
    let tag = Tag::ContextSpecific {
        constructed: false,
        number: TagNumber(0),
    };
    Any::new(tag, identifier)
}

/// An algorithm without parameters (RFC 5754, 2 and 3.2; RFC 9882, 2).
fn plain(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned {
        oid,
        parameters: None,
    }
}

const fn version(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Es384 => BY_CERTIFICATE,
        Algorithm::MlDsa65 => BY_KEY,
    }
}

const fn digest_algorithm(algorithm: Algorithm) -> ObjectIdentifier {
    match algorithm {
        Algorithm::Es384 => SHA384,
        Algorithm::MlDsa65 => SHA512,
    }
}

const fn signature_algorithm(algorithm: Algorithm) -> ObjectIdentifier {
    match algorithm {
        Algorithm::Es384 => ECDSA_SHA384,
        Algorithm::MlDsa65 => ML_DSA_65,
    }
}
