//! A verifier that signs whatever it is told, by aws-lc-rs.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ML_DSA_65_SIGNING, PqdsaKeyPair,
};
use bartizan_evidence::cose::{
    Algorithm, ES384_LEN, ML_DSA_65_LEN, VerifierKeys, assemble, to_be_signed,
};
use bartizan_evidence::lease::{Claims, OwnerTime, Status};
use bartizan_model::ids::{NodeId, Nonce, Thumbprint};

pub(crate) struct Verifier {
    pub(crate) es384: EcdsaKeyPair,
    pub(crate) ml_dsa_65: PqdsaKeyPair,
}

/// The pinned one.
pub(crate) static PINNED: LazyLock<Verifier> = LazyLock::new(Verifier::generate);

/// Another one.
pub(crate) static STRANGER: LazyLock<Verifier> = LazyLock::new(Verifier::generate);

impl Verifier {
    fn generate() -> Self {
        Self {
            es384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            ml_dsa_65: PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).unwrap(),
        }
    }

    pub(crate) fn keys(&self) -> VerifierKeys {
        let (es384, ml_dsa_65) = (self.es384.public_key(), self.ml_dsa_65.public_key());
        VerifierKeys::new(es384.as_ref(), ml_dsa_65.as_ref()).unwrap()
    }

    /// The ES384 signature over any bytes.
    pub(crate) fn es384(&self, message: &[u8]) -> [u8; ES384_LEN] {
        let signature = self.es384.sign(&SystemRandom::new(), message).unwrap();
        signature.as_ref().try_into().unwrap()
    }

    /// The ML-DSA-65 signature over any bytes.
    pub(crate) fn ml_dsa_65(&self, message: &[u8]) -> [u8; ML_DSA_65_LEN] {
        let mut signature = [0; ML_DSA_65_LEN];
        let len = self.ml_dsa_65.sign(message, &mut signature).unwrap();
        assert_eq!(len, ML_DSA_65_LEN);
        signature
    }

    /// An envelope with both signatures over this payload, whatever it is.
    pub(crate) fn sign(&self, payload: &[u8]) -> Vec<u8> {
        assemble(
            payload,
            &self.es384(&to_be_signed(Algorithm::Es384, payload)),
            &self.ml_dsa_65(&to_be_signed(Algorithm::MlDsa65, payload)),
        )
    }
}

/// The claims that the tests start from.
pub(crate) fn claims() -> Claims {
    Claims {
        node: NodeId::try_from("gw-a.example").unwrap(),
        ldevid: Thumbprint([0x1d; 32]),
        nonce: Nonce([0x4e; 32]),
        issued: OwnerTime(1_800_000_000),
        expires: OwnerTime(1_800_000_300),
        status: Status::Affirming,
    }
}
