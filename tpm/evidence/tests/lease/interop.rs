//! What other implementations make of our leases, and ours of theirs.

use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ML_DSA_65,
    ML_DSA_65_SIGNING, PqdsaKeyPair, UnparsedPublicKey,
};
use bartizan_evidence::cose::{Algorithm, VerifierKeys, assemble, to_be_signed};
use bartizan_evidence::lease::{Claims, LEASE_MAX, OwnerTime, Status, thumbprint, verify};
use bartizan_model::ids::{NodeId, Nonce, Thumbprint};
use ciborium::Value;
use coset::iana::{self, EnumI64};
use coset::{CoseSign, Label, RegisteredLabelWithPrivate, TaggedCborSerializable};
use ml_dsa::signature::Signer as _;
use ml_dsa::{MlDsa65, SigningKey};
use proptest::prelude::*;

use crate::verifier::{PINNED, claims};

#[test]
fn a_stock_cose_library_reads_the_envelope_and_checks_the_signatures() {
    let bytes = PINNED.sign(&claims().encode());

    let envelope = CoseSign::from_tagged_slice(&bytes).unwrap();

    assert!(envelope.protected.is_empty() && envelope.unprotected.is_empty());
    assert_eq!(envelope.payload.as_deref(), Some(&*claims().encode()));
    let algorithms: Vec<_> = envelope
        .signatures
        .iter()
        .map(|signature| signature.protected.header.alg.clone().unwrap())
        .collect();
    let expected = [iana::Algorithm::ES384, iana::Algorithm::ML_DSA_65]
        .map(RegisteredLabelWithPrivate::Assigned);
    assert_eq!(algorithms, expected);
    let es384 = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, PINNED.es384.public_key());
    envelope
        .verify_signature(0, &[], |signature, signed| es384.verify(signed, signature))
        .unwrap();
    let ml_dsa_65 = UnparsedPublicKey::new(&ML_DSA_65, PINNED.ml_dsa_65.public_key());
    envelope
        .verify_signature(1, &[], |signature, signed| {
            ml_dsa_65.verify(signed, signature)
        })
        .unwrap();
}

#[test]
fn a_stock_cose_library_signs_the_same_bytes() {
    let payload = claims().encode();
    let envelope = CoseSign::from_tagged_slice(&PINNED.sign(&payload)).unwrap();
    for (algorithm, signature) in [Algorithm::Es384, Algorithm::MlDsa65]
        .into_iter()
        .zip(&envelope.signatures)
    {
        assert_eq!(
            to_be_signed(algorithm, &payload),
            envelope.tbs_data(&[], signature)
        );
    }
}

#[test]
fn a_stock_cbor_library_reads_the_claims() {
    let payload: Value = ciborium::from_reader(&*claims().encode()).unwrap();

    let int = |value: i64| Value::from(value);
    let text = |value: &str| Value::from(value);
    let registered = |claim: iana::CwtClaimName| int(claim.to_i64());
    let expected = Value::Map(vec![
        (registered(iana::CwtClaimName::Sub), text("gw-a.example")),
        (registered(iana::CwtClaimName::Exp), int(1_800_000_300)),
        (registered(iana::CwtClaimName::Iat), int(1_800_000_000)),
        (
            registered(iana::CwtClaimName::Cnf),
            Value::Map(vec![(int(3), Value::from(&[0x1d; 32][..]))]),
        ),
        (int(10), Value::from(&[0x4e; 32][..])),
        (int(265), text("tag:ietf.org,2026:rats/ear#04")),
        (
            int(266),
            Value::Map(vec![(
                text("gateway"),
                Value::Map(vec![(int(1000), int(2))]),
            )]),
        ),
        (
            int(1004),
            Value::Map(vec![(int(0), text("bartizan")), (int(1), text("lease 1"))]),
        ),
    ]);
    assert_eq!(payload, expected);
}

/// `RustCrypto` and aws-lc-rs, each in both parts, over keys from the same seeds.
#[test]
fn both_implementations_of_each_algorithm_sign_and_verify_alike() {
    let secret = [0x51; 48];
    let ours = p384::ecdsa::SigningKey::from_slice(&secret).unwrap();
    let our_point = ours.verifying_key().to_sec1_point(false);
    let theirs = EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P384_SHA384_FIXED_SIGNING,
        &secret,
        our_point.as_bytes(),
    )
    .unwrap();
    let seed = [0x52; 32];
    let our_lattice = SigningKey::<MlDsa65>::from_seed(&seed.into());
    let their_lattice = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &seed).unwrap();
    let their_public = their_lattice.public_key().as_ref().to_vec();
    assert_eq!(
        our_lattice.expanded_key().verifying_key().encode()[..],
        their_public
    );

    let payload = claims().encode();
    let es384_bytes = to_be_signed(Algorithm::Es384, &payload);
    let ml_dsa_bytes = to_be_signed(Algorithm::MlDsa65, &payload);
    let our_es384: p384::ecdsa::Signature = ours.sign(&es384_bytes);
    let our_ml_dsa = our_lattice.sign(&ml_dsa_bytes);

    // Theirs verifies ours.
    UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, theirs.public_key())
        .verify(&es384_bytes, &our_es384.to_bytes())
        .unwrap();
    UnparsedPublicKey::new(&ML_DSA_65, &their_public)
        .verify(&ml_dsa_bytes, &our_ml_dsa.encode())
        .unwrap();

    // And the lease code reads what ours signed; that it reads theirs, every other test shows.
    let bytes = assemble(
        &payload,
        &our_es384.to_bytes().as_slice().try_into().unwrap(),
        &our_ml_dsa.encode().as_slice().try_into().unwrap(),
    );
    let keys = VerifierKeys::new(our_point.as_bytes(), &their_public).unwrap();
    assert_eq!(verify(&bytes, &keys).unwrap(), claims());
}

#[test]
fn the_longest_lease_fits() {
    let claims = Claims {
        node: NodeId::try_from("n".repeat(NodeId::MAX)).unwrap(),
        issued: OwnerTime(u64::MAX - 1),
        expires: OwnerTime(u64::MAX),
        status: Status::Contraindicated,
        ..claims()
    };
    let bytes = PINNED.sign(&claims.encode());
    assert!(bytes.len() < 3750, "{}", bytes.len());
    assert!(bytes.len() < LEASE_MAX);
    assert_eq!(verify(&bytes, &PINNED.keys()).unwrap(), claims);
}

/// FIPS 180-2, appendix B.1.
#[test]
fn a_thumbprint_is_sha_256() {
    let Thumbprint(hash) = thumbprint(b"abc");
    assert_eq!(hash[..8], [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_signed_is_what_is_read(
        node in "[a-z0-9.-]{1,64}",
        ldevid: [u8; 32],
        nonce: [u8; 32],
        issued: u64,
        life in 1_u64..,
        status in prop::sample::select(&Status::ALL[..]),
    ) {
        let claims = Claims {
            node: NodeId::try_from(node).unwrap(),
            ldevid: Thumbprint(ldevid),
            nonce: Nonce(nonce),
            issued: OwnerTime(issued),
            expires: OwnerTime(issued.saturating_add(life)),
            status,
        };
        prop_assume!(claims.issued < claims.expires);
        let read = verify(&PINNED.sign(&claims.encode()), &PINNED.keys()).unwrap();
        prop_assert_eq!(read, claims);
    }
}

#[test]
fn the_protected_header_of_a_signature_holds_the_algorithm_alone() {
    let envelope = CoseSign::from_tagged_slice(&PINNED.sign(&claims().encode())).unwrap();
    for signature in &envelope.signatures {
        let header = &signature.protected.header;
        assert!(header.key_id.is_empty() && header.crit.is_empty());
        assert!(header.rest.iter().all(|(label, _)| *label == Label::Int(1)));
        assert!(signature.unprotected.is_empty());
    }
}
