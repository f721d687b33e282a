//! Somebody who signs releases.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair,
};
use bartizan_evidence::cose::{self, Algorithm, ML_DSA_65_LEN, VerifierKeys};
use bartizan_manifest::Manifest;

pub(crate) struct Maker {
    es384: EcdsaKeyPair,
    ml_dsa_65: PqdsaKeyPair,
}

impl Maker {
    pub(crate) fn new() -> Self {
        Self {
            es384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            ml_dsa_65: PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).unwrap(),
        }
    }

    pub(crate) fn keys(&self) -> VerifierKeys {
        let (es384, ml_dsa_65) = (self.es384.public_key(), self.ml_dsa_65.public_key());
        VerifierKeys::new(es384.as_ref(), ml_dsa_65.as_ref()).unwrap()
    }

    pub(crate) fn sign(&self, manifest: &Manifest) -> Vec<u8> {
        self.sign_with(self, manifest)
    }

    /// The second signature is another's.
    pub(crate) fn sign_with(&self, other: &Self, manifest: &Manifest) -> Vec<u8> {
        let payload = manifest.encode().unwrap();
        let message = cose::to_be_signed(Algorithm::Es384, &payload);
        let es384 = self.es384.sign(&SystemRandom::new(), &message).unwrap();
        let message = cose::to_be_signed(Algorithm::MlDsa65, &payload);
        let mut ml_dsa_65 = [0; ML_DSA_65_LEN];
        other.ml_dsa_65.sign(&message, &mut ml_dsa_65).unwrap();
        cose::assemble(&payload, es384.as_ref().try_into().unwrap(), &ml_dsa_65)
    }
}
