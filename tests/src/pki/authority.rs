//! A certificate authority that certifies whatever a test asks for.

use std::fmt;
use std::path::Path;

use bartizan_model::config::Der;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    PublicKeyData, SignatureAlgorithm, date_time_ymd,
};
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::write;

/// A root of trust, P-384.
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
        // Also of what is no certificate: a voucher, conveyed information.
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params.extended_key_usages = Vec::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
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

    /// Certifies a key once more, for these `dNSName`s.
    ///
    /// # Panics
    /// As [`Authority::issue`].
    pub fn issue_again(&self, names: &[&str], certified: &Certified) -> Vec<Der> {
        let certificate = params(names, Valid::Always).signed_by(&certified.key, &self.issuer);
        vec![Der(certificate.expect("a certificate").der().to_vec())]
    }

    /// Certifies a key that sits elsewhere: a DER `SubjectPublicKeyInfo`. Returns PEM.
    ///
    /// # Panics
    /// If it is no such thing, or a name is none.
    pub fn certify(&self, names: &[&str], valid: Valid, public_key: &[u8]) -> String {
        let key = KeyElsewhere::new(public_key);
        let certificate = params(names, valid).signed_by(&key, &self.issuer);
        certificate.expect("a certificate").pem()
    }

    /// Certifies a key that sits elsewhere, with everything else as given.
    pub(super) fn certify_as(&self, params: &CertificateParams, public_key: &[u8]) -> Der {
        let key = KeyElsewhere::new(public_key);
        let certificate = params.signed_by(&key, &self.issuer);
        Der(certificate.expect("a certificate").der().to_vec())
    }

    /// Its private key, PKCS #8 PEM.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
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

/// A key whose private half is not here.
struct KeyElsewhere {
    bits: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl KeyElsewhere {
    fn new(public_key: &[u8]) -> Self {
        const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
        const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
        const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
        let public_key = SubjectPublicKeyInfoRef::from_der(public_key).expect("a public key");
        let curve = || {
            public_key
                .algorithm
                .parameters_oid()
                .expect("a named curve")
        };
        let algorithm = if public_key.algorithm.oid == RSA {
            &PKCS_RSA_SHA256
        } else if curve() == P256 {
            &PKCS_ECDSA_P256_SHA256
        } else {
            assert_eq!(curve(), P384, "a key that is certified");
            &PKCS_ECDSA_P384_SHA384
        };
        Self {
            bits: public_key.subject_public_key.raw_bytes().to_vec(),
            algorithm,
        }
    }
}

impl PublicKeyData for KeyElsewhere {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

/// What signs messages.
pub(super) fn signer_params(name: &str) -> CertificateParams {
    let mut params = params(&[], Valid::Always);
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = Vec::new();
    params
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
