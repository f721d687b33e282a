//! A certificate authority that certifies whatever a test asks for.

use std::fmt;
use std::path::Path;

use bartizan_model::config::Der;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm,
    date_time_ymd,
};
use x509_cert::der::Decode as _;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::write;

/// A root of trust, P-256.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key in software.
pub struct Certified {
    pem: String,
    chain: Vec<Der>,
    key: KeyPair,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Valid {
    /// As long as anybody runs these tests.
    Always,
    /// Until the year 2001.
    InThePast,
    /// From the year 2098 on.
    InTheFuture,
}

impl Authority {
    /// Makes one with a key of its own.
    ///
    /// # Panics
    /// If the machine has no randomness.
    pub fn new(name: &str) -> Self {
        let mut params = params(&[], Valid::Always);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = Vec::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate of a CA");
        Self { issuer }
    }

    /// Its own certificate.
    pub fn anchor(&self) -> Der {
        Der(self.issuer.der().to_vec())
    }

    /// Its own certificate, for a file.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Makes a key and certifies it for these `dNSName`s.
    ///
    /// # Panics
    /// If one of them is no name at all.
    pub fn issue(&self, names: &[&str]) -> Certified {
        self.issue_valid(names, Valid::Always)
    }

    /// As [`Authority::issue`], with a time of validity.
    ///
    /// # Panics
    /// As [`Authority::issue`].
    pub fn issue_valid(&self, names: &[&str], valid: Valid) -> Certified {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(names, valid).signed_by(&key, &self.issuer);
        let certificate = certificate.expect("a certificate");
        Certified {
            pem: certificate.pem(),
            chain: vec![Der(certificate.der().to_vec())],
            key,
        }
    }

    /// Certifies a P-256 key that sits elsewhere: a DER `SubjectPublicKeyInfo`. Returns PEM.
    ///
    /// # Panics
    /// If it is no such thing, or a name is none.
    pub fn certify(&self, names: &[&str], valid: Valid, public_key: &[u8]) -> String {
        let public_key = SubjectPublicKeyInfoRef::from_der(public_key).expect("a public key");
        let key = KeyElsewhere(public_key.subject_public_key.raw_bytes().to_vec());
        let certificate = params(names, valid).signed_by(&key, &self.issuer);
        certificate.expect("a certificate").pem()
    }
}

impl Certified {
    /// The certificate.
    pub fn chain(&self) -> &[Der] {
        &self.chain
    }

    /// The private key, PKCS #8 DER.
    pub fn key(&self) -> &[u8] {
        self.key.serialized_der()
    }

    /// Writes `certificate.pem` and `key.pem`.
    ///
    /// # Panics
    /// If the directory cannot be written.
    pub fn write(&self, directory: &Path) {
        write(&directory.join("certificate.pem"), &self.pem);
        write(&directory.join("key.pem"), &self.key.serialize_pem());
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

impl fmt::Debug for Certified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certified")
    }
}

/// A point on P-256 whose private half is not here.
struct KeyElsewhere(Vec<u8>);

impl PublicKeyData for KeyElsewhere {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// What a node, a controller or a KME has: both ends of TLS.
fn params(names: &[&str], valid: Valid) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    (params.not_before, params.not_after) = match valid {
        Valid::Always => (date_time_ymd(2000, 1, 1), date_time_ymd(2099, 1, 1)),
        Valid::InThePast => (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1)),
        Valid::InTheFuture => (date_time_ymd(2098, 1, 1), date_time_ymd(2099, 1, 1)),
    };
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}
