//! Who signs what a box finds its owner by: the maker its vouchers, the owner what it conveys.

use core::fmt;

use aws_lc_rs::signature::{KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair};
use bartizan_bootstrap_protocol::{
    certificate::Certificate,
    cms::{Draft, MlDsa65Key},
};
use bartizan_evidence::cose::{Algorithm, ML_DSA_65_LEN};
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PublicKeyData as _, SigningKey as _};

use super::{Authority, authority::signer_params};

/// A certificate under a root, and an ML-DSA-65 key beside it.
pub struct Party {
    root: Certificate,
    leaf: Certificate,
    es384: KeyPair,
    ml_dsa_65: PqdsaKeyPair,
}

impl Party {
    /// Makes one under this root.
    ///
    /// # Panics
    /// If the machine has no randomness.
    pub fn new(root: &Authority, name: &str) -> Self {
        let es384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
        let leaf = root.certify_as(&signer_params(name), &es384.subject_public_key_info());
        Self {
            root: Certificate::from_der(&root.anchor().0).expect("a certificate"),
            leaf: Certificate::from_der(&leaf.0).expect("a certificate"),
            es384,
            ml_dsa_65: PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).expect("a key"),
        }
    }

    /// Its root.
    pub fn root(&self) -> &Certificate {
        &self.root
    }

    /// Its own certificate, then its root's.
    pub fn chain(&self) -> [Certificate; 2] {
        [self.leaf.clone(), self.root.clone()]
    }

    /// Its second key.
    ///
    /// # Panics
    /// Never: it has one.
    pub fn ml_dsa_65(&self) -> MlDsa65Key {
        MlDsa65Key::from_bytes(self.ml_dsa_65.public_key().as_ref()).expect("a public key")
    }

    /// Signs with both.
    ///
    /// # Panics
    /// If a key does not sign.
    pub fn sign(&self, draft: &Draft<'_>) -> Vec<u8> {
        let message = |algorithm| draft.to_be_signed(algorithm).expect("what is signed");
        let es384 = self
            .es384
            .sign(&message(Algorithm::Es384))
            .expect("a signature");
        let mut ml_dsa_65 = [0; ML_DSA_65_LEN];
        let length = self
            .ml_dsa_65
            .sign(&message(Algorithm::MlDsa65), &mut ml_dsa_65);
        assert_eq!(length, Ok(ML_DSA_65_LEN), "a signature's length");
        let signed = draft.assemble(
            core::slice::from_ref(&self.leaf),
            &es384,
            &self.ml_dsa_65(),
            &ml_dsa_65,
        );
        signed.expect("a signed message")
    }
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Party")
    }
}
