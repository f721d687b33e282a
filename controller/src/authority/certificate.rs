//! The bytes of a certificate (RFC 5280) of a gateway.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::fill;
use bartizan_evidence::lease::OwnerTime;
use core::str::FromStr as _;
use core::time::Duration;
use der::asn1::{
    Any, BitString, GeneralizedTime, Ia5String, ObjectIdentifier, OctetString, UtcTime,
};
use der::oid::AssociatedOid;
use der::{Decode as _, Encode, Sequence};
use x509_cert::Certificate;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages,
    SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

use super::{AuthorityError, Curve, Subject};

/// What differs from certificate to certificate.
pub(super) struct Content<'a> {
    pub(super) serial: &'a [u8],
    pub(super) issuer: &'a Name,
    pub(super) key_id: &'a [u8],
    pub(super) algorithm: ObjectIdentifier,
    pub(super) not_before: OwnerTime,
    pub(super) not_after: OwnerTime,
    pub(super) subject: Subject<'a>,
    pub(super) spki: &'a [u8],
}

/// `TBSCertificate` of version 3, with extensions (RFC 5280, 4.1).
#[derive(Sequence)]
struct Tbs {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: u8,
    serial_number: SerialNumber,
    signature: AlgorithmIdentifierOwned,
    issuer: Name,
    validity: Validity,
    subject: Name,
    subject_public_key_info: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

/// `Certificate` around bytes that are signed already.
#[derive(Sequence)]
struct Signed {
    tbs_certificate: Any,
    signature_algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

/// Sixteen random bytes that are a positive number.
pub(super) fn random_serial() -> Result<Vec<u8>, AuthorityError> {
    let mut serial = vec![0; 16];
    fill(&mut serial)?;
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(serial)
}

/// The DER bytes that the CA signs.
pub(super) fn to_be_signed(content: &Content<'_>) -> Result<Vec<u8>, AuthorityError> {
    let spki = SubjectPublicKeyInfoOwned::from_der(content.spki)?;
    if curve(&spki) != Some(Curve::P256) {
        return Err(AuthorityError::Subject);
    }
    let name = match content.subject {
        Subject::Node(node) => node.as_str(),
        Subject::Sae(sae) => sae.as_str(),
    };
    let usages: &[ObjectIdentifier] = match content.subject {
        Subject::Node(_) => &[SERVER_AUTH, CLIENT_AUTH],
        Subject::Sae(_) => &[CLIENT_AUTH],
    };
    let mut extensions = vec![
        extension(false, &authority_key(content.key_id)?)?,
        extension(false, &SubjectKeyIdentifier(OctetString::new(hash(&spki))?))?,
        extension(true, &KeyUsage(KeyUsages::DigitalSignature.into()))?,
        extension(false, &ExtendedKeyUsage(usages.to_vec()))?,
    ];
    if let Subject::Node(node) = content.subject {
        let name = GeneralName::DnsName(Ia5String::new(node.as_str())?);
        extensions.push(extension(false, &SubjectAltName(vec![name]))?);
    }
    Ok(Tbs {
        version: 2,
        serial_number: SerialNumber::new(content.serial)?,
        signature: plain(content.algorithm),
        issuer: content.issuer.clone(),
        validity: Validity::new(time(content.not_before)?, time(content.not_after)?),
        // Neither id has a character that RFC 4514 would escape.
        subject: Name::from_str(&format!("CN={name}"))?,
        subject_public_key_info: spki,
        extensions,
    }
    .to_der()?)
}

/// Puts the signature to what was signed.
pub(super) fn assemble(
    tbs: &[u8],
    algorithm: ObjectIdentifier,
    signature: &[u8],
) -> Result<Vec<u8>, AuthorityError> {
    Ok(Signed {
        tbs_certificate: Any::from_der(tbs)?,
        signature_algorithm: plain(algorithm),
        signature: BitString::from_bytes(signature)?,
    }
    .to_der()?)
}

/// The key in a CA's certificate: its curve and its point.
pub(super) fn ca_key(ca: &Certificate) -> Result<(Curve, Vec<u8>), AuthorityError> {
    let tbs = ca.tbs_certificate();
    let constraints = tbs.get_extension::<BasicConstraints>()?;
    if !constraints.is_some_and(|(_, constraints)| constraints.ca) {
        return Err(AuthorityError::NoCa);
    }
    let spki = tbs.subject_public_key_info();
    let curve = curve(spki).ok_or(AuthorityError::NoCa)?;
    Ok((curve, spki.subject_public_key.raw_bytes().to_vec()))
}

/// `subjectKeyIdentifier` as it stands in the CA's certificate, or as we make it.
pub(super) fn key_id(ca: &Certificate) -> Result<Vec<u8>, AuthorityError> {
    let tbs = ca.tbs_certificate();
    let stands = tbs.get_extension::<SubjectKeyIdentifier>()?;
    Ok(stands.map_or_else(
        || hash(tbs.subject_public_key_info()),
        |(_, id)| id.0.as_bytes().to_vec(),
    ))
}

fn curve(spki: &SubjectPublicKeyInfoOwned) -> Option<Curve> {
    if spki.algorithm.oid != EC_PUBLIC_KEY {
        return None;
    }
    let named: ObjectIdentifier = spki.algorithm.parameters.as_ref()?.decode_as().ok()?;
    match named {
        SECP256R1 => Some(Curve::P256),
        SECP384R1 => Some(Curve::P384),
        _ => None,
    }
}

/// RFC 7093, 2, method 1.
fn hash(spki: &SubjectPublicKeyInfoOwned) -> Vec<u8> {
    let digest = digest(&SHA256, spki.subject_public_key.raw_bytes());
    digest.as_ref().iter().copied().take(20).collect()
}

fn authority_key(id: &[u8]) -> Result<AuthorityKeyIdentifier, AuthorityError> {
    Ok(AuthorityKeyIdentifier {
        key_identifier: Some(OctetString::new(id)?),
        authority_cert_issuer: None,
        authority_cert_serial_number: None,
    })
}

fn extension<E: AssociatedOid + Encode>(
    critical: bool,
    content: &E,
) -> Result<Extension, AuthorityError> {
    Ok(Extension {
        extn_id: E::OID,
        critical,
        extn_value: OctetString::new(content.to_der()?)?,
    })
}

fn plain(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned {
        oid,
        parameters: None,
    }
}

/// RFC 5280, 4.1.2.5: two digits for the year until 2049.
fn time(at: OwnerTime) -> Result<Time, AuthorityError> {
    let since = Duration::from_secs(at.0);
    Ok(match UtcTime::from_unix_duration(since) {
        Ok(time) => Time::UtcTime(time),
        Err(_) => Time::GeneralTime(GeneralizedTime::from_unix_duration(since)?),
    })
}

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
