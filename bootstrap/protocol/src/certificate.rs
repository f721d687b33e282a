//! X.509 certificates (RFC 5280) with ECDSA keys, and paths of them.
//!
//! A box that was on a shelf does not know what time it is, only what time it is not before: the
//! floor in its TPM. So a certificate that ended before the floor is refused, and none is refused
//! for not having begun.

use core::fmt;

use bartizan_evidence::lease::OwnerTime;
use der::asn1::{AnyRef, ObjectIdentifier, OctetString, PrintableStringRef, Utf8StringRef};
use der::oid::AssociatedOid;
use der::{Decode, Encode};
use p384::ecdsa::signature::hazmat::PrehashVerifier as _;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName,
};

/// The most bytes of one certificate.
pub const CERTIFICATE_MAX: usize = 4 * 1024;

/// The most certificates between a leaf and its anchor.
pub const INTERMEDIATES_MAX: usize = 4;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");

/// Critical extensions that are understood; any other is refused (RFC 5280, 4.2).
const UNDERSTOOD: [ObjectIdentifier; 4] = [
    BasicConstraints::OID,
    KeyUsage::OID,
    ExtendedKeyUsage::OID,
    SubjectAltName::OID,
];

/// A certificate in strict DER.
#[derive(Clone, Eq, PartialEq)]
pub struct Certificate {
    der: Vec<u8>,
    parsed: x509_cert::Certificate,
}

/// A public key for ECDSA.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EcKey {
    /// On P-256.
    P256(p256::ecdsa::VerifyingKey),
    /// On P-384.
    P384(p384::ecdsa::VerifyingKey),
}

/// Why a certificate does not count.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// More bytes than a certificate has.
    #[error("a certificate has more than {CERTIFICATE_MAX} bytes")]
    TooLong,
    /// Not the DER of a certificate.
    #[error("cannot decode a certificate")]
    Malformed(#[source] der::Error),
    /// The items of a certificate, in another encoding than the one.
    #[error("a certificate is not in distinguished encoding")]
    NotDer,
    /// Not an ECDSA key on P-256 or P-384.
    #[error("a certificate has a key of an unknown kind")]
    Key,
    /// Not ECDSA with SHA-256, SHA-384 or SHA-512.
    #[error("a certificate is signed by an unknown algorithm")]
    Algorithm,
    /// Neither the anchor nor a certificate at hand has issued it.
    #[error("a certificate does not chain to the anchor")]
    NoPath,
    /// Too many certificates.
    #[error("more than {INTERMEDIATES_MAX} certificates stand between a leaf and the anchor")]
    TooMany,
    /// It ended before what is surely past.
    #[error("a certificate has expired")]
    Expired,
    /// It issued another one, and must not.
    #[error("a certificate issued another one that it must not issue")]
    NotAnIssuer,
    /// Its key may not sign data.
    #[error("a certificate's key usage does not include digital signatures")]
    KeyUsage,
    /// A critical extension that nobody here understands.
    #[error("a certificate has an unknown critical extension")]
    Critical,
}

impl Certificate {
    /// Takes the DER of one certificate.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] if it is none, is not DER, or has more than [`CERTIFICATE_MAX`] bytes.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > CERTIFICATE_MAX {
            return Err(CertificateError::TooLong);
        }
        let parsed = x509_cert::Certificate::from_der(der).map_err(CertificateError::Malformed)?;
        let again = parsed.to_der().map_err(CertificateError::Malformed)?;
        if again != der {
            return Err(CertificateError::NotDer);
        }
        Ok(Self { der: again, parsed })
    }

    /// Its DER.
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// Its public key.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Key`] if it is none for ECDSA on P-256 or P-384.
    pub fn key(&self) -> Result<EcKey, CertificateError> {
        let spki = self.parsed.tbs_certificate().subject_public_key_info();
        let curve = spki
            .algorithm
            .parameters
            .as_ref()
            .filter(|_| spki.algorithm.oid == EC_PUBLIC_KEY)
            .and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
        let point = spki.subject_public_key.as_bytes().unwrap_or_default();
        match curve {
            Some(P256) => p256::ecdsa::VerifyingKey::from_sec1_bytes(point)
                .map(EcKey::P256)
                .ok(),
            Some(P384) => p384::ecdsa::VerifyingKey::from_sec1_bytes(point)
                .map(EcKey::P384)
                .ok(),
            _ => None,
        }
        .ok_or(CertificateError::Key)
    }

    /// The DER of its `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Malformed`] if it does not encode.
    pub fn spki(&self) -> Result<Vec<u8>, CertificateError> {
        self.parsed
            .tbs_certificate()
            .subject_public_key_info()
            .to_der()
            .map_err(CertificateError::Malformed)
    }

    /// The `serialNumber` of its subject (X.520, 6.2.9), if there is exactly one.
    pub fn subject_serial_number(&self) -> Option<String> {
        let subject = self.parsed.tbs_certificate().subject();
        let mut serials = subject
            .iter()
            .filter(|attribute| attribute.oid == SERIAL_NUMBER);
        let serial = AnyRef::from(&serials.next()?.value);
        if serials.next().is_some() {
            return None;
        }
        serial
            .decode_as::<PrintableStringRef<'_>>()
            .map(|text| text.as_str().to_owned())
            .or_else(|_| {
                serial
                    .decode_as::<Utf8StringRef<'_>>()
                    .map(|text| text.as_str().to_owned())
            })
            .ok()
    }

    /// The only `dNSName` of its subject; none if there are several, or other names beside it.
    pub fn dns_name(&self) -> Option<String> {
        let names = self.extension::<SubjectAltName>().ok()??;
        match names.0.as_slice() {
            [GeneralName::DnsName(name)] => Some(name.as_str().to_owned()),
            _ => None,
        }
    }

    /// The `keyIdentifier` of its authority (RFC 5280, 4.2.1.1), as the DER of an OCTET STRING: the
    /// `idevid-issuer` of a voucher (RFC 8366, 5.3).
    pub fn authority_key_identifier(&self) -> Option<Vec<u8>> {
        let authority = self.extension::<AuthorityKeyIdentifier>().ok()??;
        let identifier: OctetString = authority.key_identifier?;
        identifier.to_der().ok()
    }

    /// The certificate that issued none of the others, if it is the only one.
    pub(crate) fn leaf_of(certificates: &[Self]) -> Option<&Self> {
        let mut leaves = certificates.iter().filter(|one| {
            !certificates
                .iter()
                .any(|other| other != *one && other.issued_by(one))
        });
        let leaf = leaves.next()?;
        leaves.next().is_none().then_some(leaf)
    }

    /// Its issuer's name and its serial number, as a CMS signer is named by.
    pub(crate) fn issuer_and_serial(&self) -> der::Result<Vec<u8>> {
        let tbs = self.parsed.tbs_certificate();
        let mut value = tbs.issuer().to_der()?;
        tbs.serial_number().encode_to_vec(&mut value)?;
        der::asn1::Any::new(der::Tag::Sequence, value)?.to_der()
    }

    /// Whether its last second is before the floor.
    fn expired(&self, floor: OwnerTime) -> bool {
        let end = self.parsed.tbs_certificate().validity().not_after;
        end.to_unix_duration().as_secs() < floor.0
    }

    fn issued_by(&self, issuer: &Self) -> bool {
        self.parsed.tbs_certificate().issuer() == issuer.parsed.tbs_certificate().subject()
    }

    /// Checks the signature over it.
    fn signed_by(&self, issuer: &EcKey) -> Result<(), CertificateError> {
        let algorithm = self.parsed.signature_algorithm();
        if algorithm != self.parsed.tbs_certificate().signature() || algorithm.parameters.is_some()
        {
            return Err(CertificateError::Algorithm);
        }
        let tbs = self
            .parsed
            .tbs_certificate()
            .to_der()
            .map_err(CertificateError::Malformed)?;
        let digest = match algorithm.oid {
            ECDSA_SHA256 => Sha256::digest(tbs).to_vec(),
            ECDSA_SHA384 => Sha384::digest(tbs).to_vec(),
            ECDSA_SHA512 => Sha512::digest(tbs).to_vec(),
            _ => return Err(CertificateError::Algorithm),
        };
        let signature = self.parsed.signature().as_bytes().unwrap_or_default();
        issuer
            .verify_digest(&digest, signature)
            .ok_or(CertificateError::NoPath)
    }

    /// Checks that it may issue a certificate with `below` issuers between that and a leaf.
    fn check_issuer(&self, below: usize) -> Result<(), CertificateError> {
        let basic = self.extension::<BasicConstraints>()?;
        let authority = basic.is_some_and(|basic| {
            let most = basic.path_len_constraint;
            basic.ca && most.is_none_or(|most| below <= usize::from(most))
        });
        // A root need not say what its key is for (RFC 5280, 6.1.4 n).
        let usage = self.extension::<KeyUsage>()?;
        if !authority || usage.is_some_and(|usage| !usage.key_cert_sign()) {
            return Err(CertificateError::NotAnIssuer);
        }
        Ok(())
    }

    fn check_critical(&self) -> Result<(), CertificateError> {
        let extensions = self.parsed.tbs_certificate().extensions();
        let unknown = extensions
            .into_iter()
            .flatten()
            .any(|extension| extension.critical && !UNDERSTOOD.contains(&extension.extn_id));
        if unknown {
            return Err(CertificateError::Critical);
        }
        Ok(())
    }

    /// One extension, if it is there.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Malformed`] if it is there twice or does not decode.
    fn extension<'a, T: Decode<'a, Error = der::Error> + AssociatedOid>(
        &'a self,
    ) -> Result<Option<T>, CertificateError> {
        let extensions = self.parsed.tbs_certificate().extensions();
        let mut found = extensions
            .into_iter()
            .flatten()
            .filter(|extension| extension.extn_id == T::OID);
        let Some(extension) = found.next() else {
            return Ok(None);
        };
        if found.next().is_some() {
            return Err(CertificateError::NotDer);
        }
        T::from_der(extension.extn_value.as_bytes())
            .map(Some)
            .map_err(CertificateError::Malformed)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.parsed.tbs_certificate().subject();
        write!(f, "Certificate({subject})")
    }
}

impl EcKey {
    /// Checks a DER `Ecdsa-Sig-Value` over a digest.
    fn verify_digest(&self, digest: &[u8], signature: &[u8]) -> Option<()> {
        match self {
            Self::P256(key) => {
                let signature = p256::ecdsa::Signature::from_der(signature).ok()?;
                key.verify_prehash(digest, &signature).ok()
            }
            Self::P384(key) => {
                let signature = p384::ecdsa::Signature::from_der(signature).ok()?;
                key.verify_prehash(digest, &signature).ok()
            }
        }
    }
}

/// Checks that `leaf` chains to `anchor`, through as many of `others` as it takes, and may sign.
///
/// The anchor is trusted as it is: only its name, its key and, if it issues, its right to do so
/// count. It may be the leaf itself.
///
/// # Errors
///
/// [`CertificateError`] if there is no path, or a certificate on it does not count.
pub fn check_path(
    leaf: &Certificate,
    others: &[Certificate],
    anchor: &Certificate,
    floor: OwnerTime,
) -> Result<(), CertificateError> {
    let usage = leaf.extension::<KeyUsage>()?;
    if usage.is_some_and(|usage| !usage.digital_signature()) {
        return Err(CertificateError::KeyUsage);
    }
    let mut current = leaf;
    for below in 0..=INTERMEDIATES_MAX {
        current.check_critical()?;
        if current.expired(floor) {
            return Err(CertificateError::Expired);
        }
        if current == anchor {
            return Ok(());
        }
        let (issuer, last) = if current.issued_by(anchor) {
            (anchor, true)
        } else {
            let mut issuers = others.iter().filter(|other| *other != current);
            let issuer = issuers.find(|other| current.issued_by(other));
            (issuer.ok_or(CertificateError::NoPath)?, false)
        };
        issuer.check_issuer(below)?;
        current.signed_by(&issuer.key()?)?;
        if last {
            return Ok(());
        }
        current = issuer;
    }
    Err(CertificateError::TooMany)
}
