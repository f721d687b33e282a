//! The verifier's keys: what they have both signed, gateways believe.
#![forbid(unsafe_code)]

use core::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ML_DSA_65_SIGNING, PqdsaKeyPair,
};
use bartizan_evidence::cose::{self, Algorithm, ES384_LEN, KeyError, ML_DSA_65_LEN};
use bartizan_model::config::VerifierKeys;
use zeroize::Zeroizing;

/// The files of a saved signer, each a PKCS#8 document; beside them what others pin, each the bare
/// bytes of a public key.
const ES384_FILE: &str = "es384.p8";
const ML_DSA_65_FILE: &str = "ml-dsa-65.p8";
const ES384_PUBLIC: &str = "es384.pub";
const ML_DSA_65_PUBLIC: &str = "ml-dsa-65.pub";

/// More than any key file has.
const FILE_MAX: u64 = 8 * 1024;

/// Both keys.
pub struct Signer {
    es384: EcdsaKeyPair,
    ml_dsa_65: PqdsaKeyPair,
}

/// Why there is no signer or no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The cryptographic library refused.
    #[error("cannot generate a key or sign with it")]
    Crypto(#[from] Unspecified),
    /// A file holds no such key.
    #[error("cannot read the key for {algorithm}")]
    Key {
        /// Whose key.
        algorithm: Algorithm,
        /// What is wrong with it.
        #[source]
        cause: KeyRejected,
    },
    /// A file holds no such public key.
    #[error("cannot read a public key")]
    Public(#[source] KeyError),
    /// A file cannot be read or written.
    #[error("cannot access a key file")]
    File(#[from] io::Error),
    /// A signature came out with another length than its algorithm has.
    #[error("the {0} signature has a wrong length")]
    Length(Algorithm),
}

impl Signer {
    /// Makes a fresh pair of keys.
    ///
    /// # Errors
    ///
    /// [`SignerError::Crypto`] without randomness.
    pub fn generate() -> Result<Self, SignerError> {
        Ok(Self {
            es384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)?,
            ml_dsa_65: PqdsaKeyPair::generate(&ML_DSA_65_SIGNING)?,
        })
    }

    /// Reads the keys that [`Signer::save`] wrote into `directory`.
    ///
    /// # Errors
    ///
    /// [`SignerError`] if a file is missing or holds no such key.
    pub fn load(directory: &Path) -> Result<Self, SignerError> {
        let es384 = read(&directory.join(ES384_FILE))?;
        let ml_dsa_65 = read(&directory.join(ML_DSA_65_FILE))?;
        let key = |algorithm| move |cause| SignerError::Key { algorithm, cause };
        Ok(Self {
            es384: EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &es384)
                .map_err(key(Algorithm::Es384))?,
            ml_dsa_65: PqdsaKeyPair::from_pkcs8(&ML_DSA_65_SIGNING, &ml_dsa_65)
                .map_err(key(Algorithm::MlDsa65))?,
        })
    }

    /// Writes the keys into `directory`, readable by the owner alone; never over older ones.
    ///
    /// # Errors
    ///
    /// [`SignerError`] if a file exists already or cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), SignerError> {
        let es384 = self.es384.to_pkcs8v1()?;
        let ml_dsa_65 = self.ml_dsa_65.to_pkcs8v1()?;
        write(&directory.join(ES384_FILE), es384.as_ref())?;
        write(&directory.join(ML_DSA_65_FILE), ml_dsa_65.as_ref())?;
        let public = self.public_keys();
        write(&directory.join(ES384_PUBLIC), &public.es384)?;
        write(&directory.join(ML_DSA_65_PUBLIC), &public.ml_dsa_65)?;
        Ok(())
    }

    /// The keys that a gateway pins.
    pub fn public_keys(&self) -> VerifierKeys {
        VerifierKeys {
            es384: self.es384.public_key().as_ref().to_vec(),
            ml_dsa_65: self.ml_dsa_65.public_key().as_ref().to_vec(),
        }
    }

    /// Signs a payload by both keys and puts it into the envelope of [`cose`].
    ///
    /// # Errors
    ///
    /// [`SignerError`] if the cryptographic library refuses.
    pub fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        let signed = cose::to_be_signed(Algorithm::Es384, payload);
        let es384 = self.es384.sign(&SystemRandom::new(), &signed)?;
        let es384: &[u8; ES384_LEN] = es384
            .as_ref()
            .try_into()
            .map_err(|_| SignerError::Length(Algorithm::Es384))?;

        let signed = cose::to_be_signed(Algorithm::MlDsa65, payload);
        let mut ml_dsa_65 = [0; ML_DSA_65_LEN];
        if self.ml_dsa_65.sign(&signed, &mut ml_dsa_65)? != ML_DSA_65_LEN {
            return Err(SignerError::Length(Algorithm::MlDsa65));
        }
        Ok(cose::assemble(payload, es384, &ml_dsa_65))
    }
}

/// Reads the public keys that [`Signer::save`] left in `directory`.
///
/// # Errors
///
/// [`SignerError::File`], [`SignerError::Public`].
pub fn public_keys(directory: &Path) -> Result<VerifierKeys, SignerError> {
    let es384 = read(&directory.join(ES384_PUBLIC))?.to_vec();
    let ml_dsa_65 = read(&directory.join(ML_DSA_65_PUBLIC))?.to_vec();
    cose::VerifierKeys::new(&es384, &ml_dsa_65).map_err(SignerError::Public)?;
    Ok(VerifierKeys { es384, ml_dsa_65 })
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, io::Error> {
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)?.take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), io::Error> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
