//! Certificates by hand: whom a chain names, with which key, and whether an anchor stands behind it.
//!
//! Nothing is refused for its time: no clock here is the owner's. Who meets the certificate in a
//! handshake judges it.

use bartizan_model::config::Der;
use bartizan_model::ids::{NodeId, Thumbprint};
use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use p384::ecdsa::signature::Verifier;
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");

/// What is wrong with certificates.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Not a certificate.
    #[error("not a DER certificate")]
    Malformed,
    /// No certificate at all.
    #[error("no certificate")]
    Empty,
    /// The leaf has no `dNSName`, several, or one that is no node's.
    #[error("the leaf does not name one node")]
    Name,
    /// Not a P-256 key.
    #[error("the leaf's key is not on P-256")]
    Key,
    /// No anchor has signed it, directly or through the chain.
    #[error("no anchor stands behind it")]
    Unanchored,
}

/// A leaf that an anchor stands behind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Leaf {
    /// Whom it names.
    pub node: NodeId,
    /// Its key.
    pub key: Thumbprint,
    /// When its time begins, in seconds since 1970: whoever signed it knew that it was no earlier.
    pub begins: u64,
}

impl Leaf {
    /// Reads the leaf of a chain that is in order, the leaf first, under one of the anchors.
    ///
    /// # Errors
    ///
    /// [`ChainError`] with what is wrong.
    pub fn of(chain: &[Der], anchors: &[Der]) -> Result<Self, ChainError> {
        let chain = parse(chain)?;
        let anchors = parse(anchors)?;
        for pair in chain.windows(2) {
            let [one, issuer] = pair else { continue };
            if !issues(issuer, one) {
                return Err(ChainError::Unanchored);
            }
        }
        let last = chain.last().ok_or(ChainError::Empty)?;
        if !anchors.iter().any(|anchor| issues(anchor, last)) {
            return Err(ChainError::Unanchored);
        }
        let leaf = chain.first().ok_or(ChainError::Empty)?;
        if curve(leaf) != Some(P256) {
            return Err(ChainError::Key);
        }
        Ok(Self {
            node: node(leaf)?,
            key: thumbprint(leaf)?,
            begins: begins(leaf),
        })
    }
}

/// Whether a certificate is one, with a key on P-384: what a voucher's root is.
pub fn is_p384(certificate: &Certificate) -> bool {
    curve(certificate) == Some(P384)
}

fn parse(list: &[Der]) -> Result<Vec<Certificate>, ChainError> {
    list.iter()
        .map(|der| Certificate::from_der(&der.0).map_err(|_| ChainError::Malformed))
        .collect()
}

/// The only `dNSName`.
fn node(leaf: &Certificate) -> Result<NodeId, ChainError> {
    let names = leaf
        .tbs_certificate()
        .get_extension::<SubjectAltName>()
        .map_err(|_| ChainError::Malformed)?
        .map_or_else(Vec::new, |(_, names)| names.0);
    let mut names = names.iter().filter_map(|name| {
        if let GeneralName::DnsName(name) = name {
            Some(name.as_str())
        } else {
            None
        }
    });
    match (names.next(), names.next()) {
        (Some(name), None) => NodeId::try_from(name).map_err(|_| ChainError::Name),
        _ => Err(ChainError::Name),
    }
}

fn begins(leaf: &Certificate) -> u64 {
    let begins = leaf.tbs_certificate().validity().not_before;
    begins.to_unix_duration().as_secs()
}

fn thumbprint(leaf: &Certificate) -> Result<Thumbprint, ChainError> {
    let key = leaf.tbs_certificate().subject_public_key_info().to_der();
    let key = key.map_err(|_| ChainError::Malformed)?;
    Ok(Thumbprint(Sha256::digest(key).into()))
}

fn curve(certificate: &Certificate) -> Option<ObjectIdentifier> {
    let algorithm = &certificate
        .tbs_certificate()
        .subject_public_key_info()
        .algorithm;
    if algorithm.oid != EC_PUBLIC_KEY {
        return None;
    }
    algorithm.parameters.as_ref()?.decode_as().ok()
}

/// Whether `issuer` is a CA and has signed `certificate` (RFC 5280, 6.1.3).
fn issues(issuer: &Certificate, certificate: &Certificate) -> bool {
    let constraints = issuer.tbs_certificate().get_extension::<BasicConstraints>();
    let is_ca = matches!(constraints, Ok(Some((_, constraints))) if constraints.ca);
    let named = certificate.tbs_certificate().issuer() == issuer.tbs_certificate().subject();
    is_ca && named && has_signed(issuer, certificate).is_some()
}

fn has_signed(issuer: &Certificate, certificate: &Certificate) -> Option<()> {
    let algorithm = certificate.signature_algorithm();
    if algorithm != certificate.tbs_certificate().signature() {
        return None;
    }
    let body = certificate.tbs_certificate().to_der().ok()?;
    let signature = certificate.signature().as_bytes()?;
    let key = issuer.tbs_certificate().subject_public_key_info();
    let key = key.subject_public_key.as_bytes()?;
    match (curve(issuer)?, algorithm.oid) {
        (P256, ECDSA_SHA256) => {
            let signature = p256::ecdsa::Signature::from_der(signature).ok()?;
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?;
            key.verify(&body, &signature).ok()
        }
        (P384, ECDSA_SHA384) => {
            let signature = p384::ecdsa::Signature::from_der(signature).ok()?;
            let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?;
            key.verify(&body, &signature).ok()
        }
        _ => None,
    }
}
