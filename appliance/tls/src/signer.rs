//! A key in the TPM that signs, asked through the tpm edge.

use core::time::Duration;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use bartizan_model::identity::KeyName;
use bartizan_model::message::{FromTpm, ToTpm};
use der::oid::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use rustls::sign::SigningKey;
use rustls::{Error, OtherError, SignatureAlgorithm, SignatureScheme};
use x509_cert::Certificate;

use crate::error::NameError;
use crate::tpm::{Tpm, TpmError};

/// How long one signature may take; a discrete TPM needs 30 to 120 ms, and two neighbours may be
/// ahead of us.
const SIGNATURE_LIMIT: Duration = Duration::from_secs(5);

/// Which of the two curves a key of the TPM is of; the hash goes with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Curve {
    /// P-256, with SHA-256.
    P256,
    /// P-384, with SHA-384.
    P384,
}

/// Signs in the TPM: ECDSA with one of its keys.
///
/// A signature blocks its thread until the TPM has answered, so it belongs on a thread that may
/// wait: [`connect`](crate::connect) and [`accept`](crate::accept) see to it, and whoever drives
/// rustls by hand must.
#[derive(Clone, Debug)]
pub struct Signer {
    tpm: Tpm,
    key: KeyName,
    curve: Curve,
}

impl Curve {
    /// The curve of a certificate's key.
    ///
    /// # Errors
    ///
    /// [`NameError::Malformed`] if it is no certificate, [`NameError::Curve`] if its key is of
    /// another kind.
    pub fn of_certificate(certificate: &[u8]) -> Result<Self, NameError> {
        let certificate = Certificate::from_der(certificate).map_err(NameError::Malformed)?;
        let key = certificate.tbs_certificate().subject_public_key_info();
        let parameters = key.algorithm.parameters.as_ref();
        let parameters = parameters.and_then(|parameters| parameters.to_der().ok());
        let curve = parameters.and_then(|der| ObjectIdentifier::from_der(&der).ok());
        match curve {
            Some(SECP256R1) => Ok(Self::P256),
            Some(SECP384R1) => Ok(Self::P384),
            _ => Err(NameError::Curve),
        }
    }

    /// The digest that a key of this curve signs.
    pub fn digest(self, message: &[u8]) -> Vec<u8> {
        let hash = match self {
            Self::P256 => &SHA256,
            Self::P384 => &SHA384,
        };
        digest(hash, message).as_ref().to_vec()
    }

    fn scheme(self) -> SignatureScheme {
        match self {
            Self::P256 => SignatureScheme::ECDSA_NISTP256_SHA256,
            Self::P384 => SignatureScheme::ECDSA_NISTP384_SHA384,
        }
    }
}

impl Signer {
    /// The owner's identity: always P-256.
    pub fn ldevid(tpm: Tpm) -> Self {
        Self {
            tpm,
            key: KeyName::Ldevid,
            curve: Curve::P256,
        }
    }

    /// The maker's identity, of the curve that its certificate or public area tells.
    pub fn idevid(tpm: Tpm, curve: Curve) -> Self {
        Self {
            tpm,
            key: KeyName::Idevid,
            curve,
        }
    }

    /// Signs a message: DER `Ecdsa-Sig-Value`; blocks.
    ///
    /// # Errors
    ///
    /// [`TpmError`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TpmError> {
        let (key, digest) = (self.key, self.curve.digest(message));
        let answer = self
            .tpm
            .ask(SIGNATURE_LIMIT, |order| ToTpm::Sign { order, key, digest })?;
        if let FromTpm::Signature { signature, .. } = answer {
            Ok(signature)
        } else {
            Err(TpmError::OtherAnswer)
        }
    }
}

impl SigningKey for Signer {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        offered
            .contains(&self.curve.scheme())
            .then(|| -> Box<dyn rustls::sign::Signer> { Box::new(self.clone()) })
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl rustls::sign::Signer for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Signer::sign(self, message).map_err(|error| Error::Other(OtherError(Arc::new(error))))
    }

    fn scheme(&self) -> SignatureScheme {
        self.curve.scheme()
    }
}

pub(crate) fn sha256(message: &[u8]) -> [u8; 32] {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest(&SHA256, message).as_ref());
    sha256
}

const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
