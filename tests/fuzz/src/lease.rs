//! Leases, from the envelope inwards.

use std::sync::LazyLock;

use bartizan_evidence::cose::{Algorithm, VerifierKeys, assemble, to_be_signed};
use bartizan_evidence::lease::verify;
use ml_dsa::signature::Signer as _;
use ml_dsa::{MlDsa65, SigningKey};

/// Whole leases, as control and peers hand them to the engine.
pub(super) fn lease(data: &[u8]) {
    if let Ok(claims) = verify(data, &VERIFIER.pinned) {
        let payload = claims.encode();
        let signed = data.windows(payload.len()).any(|part| part == payload);
        assert!(signed, "claims that nobody signed");
    }
}

/// Claims that the verifier did sign.
pub(super) fn lease_claims(data: &[u8]) {
    if let Ok(claims) = verify(&VERIFIER.sign(data), &VERIFIER.pinned) {
        assert_eq!(claims.encode(), data, "the claims have one form");
        assert!(claims.issued < claims.expires);
    }
}

/// The verifier that the leases, orders and reference values of the corpora are of.
pub(super) static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let es384 = p384::ecdsa::SigningKey::from_slice(&[0x51; 48]).expect("a scalar");
    let ml_dsa_65 = SigningKey::<MlDsa65>::from_seed(&[0x52; 32].into());
    let public = ml_dsa_65.expanded_key().verifying_key().encode();
    let point = es384.verifying_key().to_sec1_point(false);
    Verifier {
        pinned: VerifierKeys::new(point.as_bytes(), &public).expect("two keys"),
        es384,
        ml_dsa_65,
    }
});

pub(super) struct Verifier {
    es384: p384::ecdsa::SigningKey,
    ml_dsa_65: SigningKey<MlDsa65>,
    pub(super) pinned: VerifierKeys,
}

impl Verifier {
    pub(super) fn sign(&self, payload: &[u8]) -> Vec<u8> {
        let es384: p384::ecdsa::Signature =
            self.es384.sign(&to_be_signed(Algorithm::Es384, payload));
        let ml_dsa_65 = self
            .ml_dsa_65
            .sign(&to_be_signed(Algorithm::MlDsa65, payload));
        assemble(
            payload,
            &es384.to_bytes().as_slice().try_into().expect("96 bytes"),
            &ml_dsa_65
                .encode()
                .as_slice()
                .try_into()
                .expect("3309 bytes"),
        )
    }
}
