//! The owner's CA: who a gateway is, for a day.
//!
//! The key is a file, or an object of a PKCS#11 token. A key in a TPM is reached the second way,
//! through the module `tpm2-pkcs11`.

mod certificate;
mod token;

use core::fmt;
use core::time::Duration;

use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair as _,
};
use bartizan_evidence::lease::OwnerTime;
use bartizan_model::config::Der;
use bartizan_model::ids::{NodeId, SaeId};
use der::Decode as _;
use der::asn1::ObjectIdentifier;
use x509_cert::Certificate;
use x509_cert::name::Name;

pub use token::{TokenError, TokenKey};

/// A CA with its key.
pub struct Authority {
    /// The CA's certificate and those above it, without the root: what follows a leaf.
    chain: Vec<Der>,
    issuer: Name,
    /// `subjectKeyIdentifier` of the CA.
    key_id: Vec<u8>,
    curve: Curve,
    key: CaKey,
}

/// Where the CA's key is.
pub enum CaKey {
    /// In this process.
    File(EcdsaKeyPair),
    /// In a PKCS#11 token.
    Token(TokenKey),
}

/// The curve of a CA's key; the hash goes with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Curve {
    /// P-256 with SHA-256.
    P256,
    /// P-384 with SHA-384.
    P384,
}

/// Whom a certificate names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subject<'a> {
    /// A gateway: its only `dNSName`.
    Node(&'a NodeId),
    /// A gateway as a KME knows it: its common name (ETSI GS QKD 014, 5.1).
    Sae(&'a SaeId),
}

/// A certificate with what follows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issued {
    /// The leaf first, the root left out.
    pub chain: Vec<Der>,
    /// The leaf's serial number.
    pub serial: Vec<u8>,
    /// When it ends.
    pub expires: OwnerTime,
}

/// There is no CA, or no certificate of it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// No certificate is given.
    #[error("the CA has no certificate")]
    NoCertificate,
    /// What is given as one is none, or one cannot be written.
    #[error("a certificate cannot be decoded or encoded")]
    Der(#[from] der::Error),
    /// The CA's certificate is for another kind of key, or for none that may sign certificates.
    #[error("the CA's certificate is not for a CA with a key on P-256 or P-384")]
    NoCa,
    /// The key is none of that kind.
    #[error("the CA's key cannot be used")]
    Key(#[from] KeyRejected),
    /// The key is another one than the certificate's.
    #[error("the CA's key is not the one in its certificate")]
    OtherKey,
    /// The token does not do it.
    #[error("the CA's token")]
    Token(#[from] TokenError),
    /// What is to be certified is no key on P-256.
    #[error("only keys on P-256 are certified")]
    Subject,
    /// The cryptographic library refuses.
    #[error("the cryptographic library does not sign")]
    Crypto,
}

impl Authority {
    /// Puts a CA's certificate, those above it, and its key together.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] if they do not fit.
    pub fn new(certificates: &[Der], key: CaKey) -> Result<Self, AuthorityError> {
        let ca = certificates.first().ok_or(AuthorityError::NoCertificate)?;
        let ca = Certificate::from_der(&ca.0)?;
        let (curve, point) = certificate::ca_key(&ca)?;
        if key.public()? != point {
            return Err(AuthorityError::OtherKey);
        }
        let mut chain = Vec::new();
        for der in certificates {
            let above = Certificate::from_der(&der.0)?;
            let above = above.tbs_certificate();
            if above.issuer() != above.subject() {
                chain.push(der.clone());
            }
        }
        Ok(Self {
            chain,
            issuer: ca.tbs_certificate().subject().clone(),
            key_id: certificate::key_id(&ca)?,
            curve,
            key,
        })
    }

    /// Reads a key as a file holds it.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Key`] if it is no PKCS#8 key on the curve of the CA's certificate.
    pub fn file_key(ca: &Der, pkcs8: &[u8]) -> Result<CaKey, AuthorityError> {
        let (curve, _) = certificate::ca_key(&Certificate::from_der(&ca.0)?)?;
        let key = EcdsaKeyPair::from_pkcs8(curve.signing(), pkcs8)?;
        Ok(CaKey::File(key))
    }

    /// Certifies a key, from a little before `now` on.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`]; nothing is certified then.
    pub fn certify(
        &self,
        subject: Subject<'_>,
        spki: &[u8],
        now: OwnerTime,
        lifetime: Duration,
    ) -> Result<Issued, AuthorityError> {
        let serial = certificate::random_serial()?;
        let expires = now.after(lifetime);
        let tbs = certificate::to_be_signed(&certificate::Content {
            serial: &serial,
            issuer: &self.issuer,
            key_id: &self.key_id,
            algorithm: self.curve.algorithm(),
            not_before: OwnerTime(now.0.saturating_sub(BACKDATED.as_secs())),
            not_after: expires,
            subject,
            spki,
        })?;
        let signature = self.key.sign(self.curve, &tbs)?;
        let leaf = certificate::assemble(&tbs, self.curve.algorithm(), &signature)?;
        let mut chain = vec![Der(leaf)];
        chain.extend(self.chain.iter().cloned());
        Ok(Issued {
            chain,
            serial,
            expires,
        })
    }
}

impl CaKey {
    /// The point, uncompressed (SEC 1, 2.3.3).
    fn public(&self) -> Result<Vec<u8>, AuthorityError> {
        match self {
            Self::File(key) => Ok(key.public_key().as_ref().to_vec()),
            Self::Token(key) => Ok(key.public()?),
        }
    }

    /// DER `Ecdsa-Sig-Value`.
    fn sign(&self, curve: Curve, message: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        match self {
            Self::File(key) => Ok(key.sign(&SystemRandom::new(), message)?.as_ref().to_vec()),
            Self::Token(key) => Ok(key.sign(curve, message)?),
        }
    }
}

impl Curve {
    const fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        }
    }

    /// RFC 5758, 3.2.
    const fn algorithm(self) -> ObjectIdentifier {
        match self {
            Self::P256 => ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"),
            Self::P384 => ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"),
        }
    }
}

impl From<Unspecified> for AuthorityError {
    fn from(_: Unspecified) -> Self {
        Self::Crypto
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.issuer)
    }
}

impl fmt::Debug for CaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File(_) => "CaKey::File",
            Self::Token(_) => "CaKey::Token",
        })
    }
}

/// Clocks differ: a certificate begins this long before it is signed.
const BACKDATED: Duration = Duration::from_mins(5);
