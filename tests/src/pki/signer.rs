//! Two keys that sign the same: one of today, one for the time of quantum computers.

use core::fmt;
use std::{fs, path::Path};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ML_DSA_65_SIGNING,
        PqdsaKeyPair,
    },
};
use bartizan_evidence::cose::{self, Algorithm, ML_DSA_65_LEN};
use bartizan_model::config::VerifierKeys;

/// ECDSA P-384 and ML-DSA-65.
pub struct Signer {
    es384: EcdsaKeyPair,
    ml_dsa_65: PqdsaKeyPair,
}

impl Signer {
    /// Makes both.
    ///
    /// # Panics
    /// If the machine has no randomness.
    pub fn generate() -> Self {
        Self {
            es384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key"),
            ml_dsa_65: PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).expect("a key"),
        }
    }

    /// Writes `es384.p8` and `ml-dsa-65.p8`, each PKCS #8.
    ///
    /// # Panics
    /// If the directory cannot be written.
    pub fn save(&self, directory: &Path) {
        fs::create_dir_all(directory).expect("a signer's directory");
        let es384 = self.es384.to_pkcs8v1().expect("a key's document");
        let ml_dsa_65 = self.ml_dsa_65.to_pkcs8v1().expect("a key's document");
        fs::write(directory.join("es384.p8"), es384).expect("write a key");
        fs::write(directory.join("ml-dsa-65.p8"), ml_dsa_65).expect("write a key");
    }

    /// Both public halves.
    pub fn public_keys(&self) -> VerifierKeys {
        VerifierKeys {
            es384: self.es384.public_key().as_ref().to_vec(),
            ml_dsa_65: self.ml_dsa_65.public_key().as_ref().to_vec(),
        }
    }

    /// Signs an envelope of COSE with both.
    ///
    /// # Panics
    /// If a key does not sign.
    pub fn sign(&self, payload: &[u8]) -> Vec<u8> {
        let signed = cose::to_be_signed(Algorithm::Es384, payload);
        let es384 = self.es384.sign(&SystemRandom::new(), &signed);
        let es384 = es384.expect("a signature");
        let es384 = es384.as_ref().try_into().expect("a signature's length");
        let signed = cose::to_be_signed(Algorithm::MlDsa65, payload);
        let mut ml_dsa_65 = [0; ML_DSA_65_LEN];
        let length = self.ml_dsa_65.sign(&signed, &mut ml_dsa_65);
        assert_eq!(length, Ok(ML_DSA_65_LEN), "a signature's length");
        cose::assemble(payload, es384, &ml_dsa_65)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}
