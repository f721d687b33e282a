//! Envelopes that are refused, though the keys behind them may be the right ones.

use bartizan_evidence::cose::{
    Algorithm, CoseError, ES384_LEN, KeyError, ML_DSA_65_LEN, VerifierKeys, assemble, to_be_signed,
};
use bartizan_evidence::lease::{LEASE_MAX, LeaseError, verify};
use ciborium::Value;
use proptest::prelude::*;

use crate::verifier::{PINNED, STRANGER, Verifier, claims};

fn lease() -> Vec<u8> {
    PINNED.sign(&claims().encode())
}

#[track_caller]
fn assert_no_envelope(bytes: &[u8]) {
    let refused = verify(bytes, &PINNED.keys());
    assert!(
        matches!(refused, Err(LeaseError::Envelope(_) | LeaseError::TooLong)),
        "{refused:?}"
    );
}

#[track_caller]
fn assert_wrong_signature(bytes: &[u8], algorithm: Algorithm) {
    let refused = verify(bytes, &PINNED.keys());
    assert!(
        matches!(refused, Err(LeaseError::Signature(wrong)) if wrong == algorithm),
        "{refused:?}"
    );
}

#[test]
fn every_cut_is_refused() {
    let lease = lease();
    for len in 0..lease.len() {
        assert_no_envelope(&lease[..len]);
    }
}

#[test]
fn every_damaged_byte_is_refused() {
    let lease = lease();
    let keys = PINNED.keys();
    for at in 0..lease.len() {
        let mut damaged = lease.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(verify(&damaged, &keys).is_err(), "byte {at}");
    }
}

#[test]
fn nothing_may_follow_or_precede() {
    for extra in [&[0x00][..], &[0xf6], &[0xff], &lease()] {
        assert_no_envelope(&[&lease(), extra].concat());
        assert_no_envelope(&[extra, &lease()].concat());
    }
}

#[test]
fn a_long_input_is_refused_unread() {
    let long = vec![0; LEASE_MAX + 1];
    assert!(matches!(
        verify(&long, &PINNED.keys()),
        Err(LeaseError::TooLong)
    ));
}

#[test]
fn both_signatures_must_be_of_the_pinned_keys() {
    let payload = claims().encode();
    let signatures = |es384: &Verifier, ml_dsa_65: &Verifier| {
        assemble(
            &payload,
            &es384.es384(&to_be_signed(Algorithm::Es384, &payload)),
            &ml_dsa_65.ml_dsa_65(&to_be_signed(Algorithm::MlDsa65, &payload)),
        )
    };
    assert!(verify(&signatures(&PINNED, &PINNED), &PINNED.keys()).is_ok());
    assert_wrong_signature(&signatures(&STRANGER, &STRANGER), Algorithm::Es384);
    assert_wrong_signature(&signatures(&STRANGER, &PINNED), Algorithm::Es384);
    assert_wrong_signature(&signatures(&PINNED, &STRANGER), Algorithm::MlDsa65);
}

#[test]
fn both_signatures_must_be_over_these_claims() {
    let payload = claims().encode();
    let mut other = claims();
    other.expires.0 += 1;
    let other = other.encode();
    let signatures = |es384: &[u8], ml_dsa_65: &[u8]| {
        assemble(
            &payload,
            &PINNED.es384(&to_be_signed(Algorithm::Es384, es384)),
            &PINNED.ml_dsa_65(&to_be_signed(Algorithm::MlDsa65, ml_dsa_65)),
        )
    };
    assert_wrong_signature(&signatures(&other, &payload), Algorithm::Es384);
    assert_wrong_signature(&signatures(&payload, &other), Algorithm::MlDsa65);
}

#[test]
fn a_signature_over_the_other_algorithms_structure_is_refused() {
    let payload = claims().encode();
    let es384 = PINNED.es384(&to_be_signed(Algorithm::Es384, &payload));
    let ml_dsa_65 = PINNED.ml_dsa_65(&to_be_signed(Algorithm::MlDsa65, &payload));
    let crossed = PINNED.es384(&to_be_signed(Algorithm::MlDsa65, &payload));
    assert_wrong_signature(&assemble(&payload, &crossed, &ml_dsa_65), Algorithm::Es384);
    let crossed = PINNED.ml_dsa_65(&to_be_signed(Algorithm::Es384, &payload));
    assert_wrong_signature(&assemble(&payload, &es384, &crossed), Algorithm::MlDsa65);
    // Over the bare payload.
    let bare = PINNED.es384(&payload);
    assert_wrong_signature(&assemble(&payload, &bare, &ml_dsa_65), Algorithm::Es384);
}

#[test]
fn a_signature_of_another_length_is_refused() {
    for (at, algorithm) in [(0, Algorithm::Es384), (1, Algorithm::MlDsa65)] {
        let mut parts = Parts::good();
        parts.signature(at)[2].as_bytes_mut().unwrap().push(0);
        assert_wrong_signature(&parts.bytes(), algorithm);
        let mut parts = Parts::good();
        parts.signature(at)[2].as_bytes_mut().unwrap().pop();
        assert_wrong_signature(&parts.bytes(), algorithm);
        let mut parts = Parts::good();
        parts.signature(at)[2] = Value::Bytes(vec![]);
        assert_wrong_signature(&parts.bytes(), algorithm);
    }
}

#[test]
fn a_signature_of_nothing_is_refused() {
    let payload = claims().encode();
    let es384 = PINNED.es384(&to_be_signed(Algorithm::Es384, &payload));
    let ml_dsa_65 = PINNED.ml_dsa_65(&to_be_signed(Algorithm::MlDsa65, &payload));
    for byte in [0x00, 0xff] {
        let none = assemble(&payload, &[byte; ES384_LEN], &ml_dsa_65);
        assert_wrong_signature(&none, Algorithm::Es384);
        let none = assemble(&payload, &es384, &[byte; ML_DSA_65_LEN]);
        assert_wrong_signature(&none, Algorithm::MlDsa65);
    }
}

/// The envelope as values, to be put together wrongly.
struct Parts {
    protected: Value,
    unprotected: Value,
    payload: Value,
    signatures: Vec<Value>,
}

impl Parts {
    fn good() -> Self {
        let envelope: Value = ciborium::from_reader(&*lease()).unwrap();
        let (tag, items) = envelope.as_tag().unwrap();
        assert_eq!(tag, 98);
        let items = items.as_array().unwrap().clone();
        let [protected, unprotected, payload, signatures] = <[Value; 4]>::try_from(items).unwrap();
        Self {
            protected,
            unprotected,
            payload,
            signatures: signatures.into_array().unwrap(),
        }
    }

    /// The items of one signature.
    fn signature(&mut self, at: usize) -> &mut Vec<Value> {
        self.signatures[at].as_array_mut().unwrap()
    }

    fn array(self) -> Value {
        Value::Array(vec![
            self.protected,
            self.unprotected,
            self.payload,
            Value::Array(self.signatures),
        ])
    }

    fn bytes(self) -> Vec<u8> {
        written(&Value::Tag(98, Box::new(self.array())))
    }
}

fn written(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

fn header(alg: i64) -> Value {
    Value::Bytes(written(&Value::Map(vec![(1.into(), alg.into())])))
}

#[track_caller]
fn refused(edit: impl FnOnce(&mut Parts)) {
    let mut parts = Parts::good();
    edit(&mut parts);
    assert_no_envelope(&parts.bytes());
}

#[test]
fn put_together_rightly_it_is_the_lease() {
    assert!(verify(&Parts::good().bytes(), &PINNED.keys()).is_ok());
}

#[test]
fn there_are_two_signatures_in_one_order() {
    refused(|parts| parts.signatures.clear());
    refused(|parts| drop(parts.signatures.remove(0)));
    refused(|parts| drop(parts.signatures.remove(1)));
    refused(|parts| parts.signatures.swap(0, 1));
    refused(|parts| parts.signatures[1] = parts.signatures[0].clone());
    refused(|parts| parts.signatures[0] = parts.signatures[1].clone());
    refused(|parts| {
        let again = parts.signatures[0].clone();
        parts.signatures.push(again);
    });
    refused(|parts| {
        let again = parts.signatures[1].clone();
        parts.signatures.insert(0, again);
    });
    refused(|parts| parts.signatures.push(Value::Array(vec![])));
    refused(|parts| parts.signatures[1] = Value::Null);
    refused(|parts| parts.signatures[1] = Value::Array(vec![]));
}

#[test]
fn there_is_no_other_header() {
    // Algorithms: none, each other's, ES256, ESP384, ML-DSA-44, ML-DSA-87, by name.
    refused(|parts| parts.signature(0)[0] = Value::Bytes(vec![]));
    refused(|parts| parts.signature(0)[0] = Value::Bytes(vec![0xa0]));
    for alg in [-49, -7, -51, -48, -50] {
        refused(|parts| parts.signature(0)[0] = header(alg));
    }
    for alg in [-35, -48, -50] {
        refused(|parts| parts.signature(1)[0] = header(alg));
    }
    refused(|parts| {
        let named = Value::Map(vec![(1.into(), "ES384".into())]);
        parts.signature(0)[0] = Value::Bytes(written(&named));
    });

    // Where there must be none: a key id, a critical list, an algorithm of the body.
    refused(|parts| parts.unprotected = Value::Map(vec![(4.into(), Value::Bytes(vec![1]))]));
    refused(|parts| {
        parts.signature(0)[1] = Value::Map(vec![(4.into(), Value::Bytes(vec![1]))]);
    });
    refused(|parts| {
        let critical = Value::Map(vec![
            (1.into(), (-35).into()),
            (2.into(), Value::Array(vec![4.into()])),
        ]);
        parts.signature(0)[0] = Value::Bytes(written(&critical));
    });
    refused(|parts| parts.protected = header(-35));
    refused(|parts| parts.protected = Value::Bytes(vec![0xa0]));
    refused(|parts| parts.protected = Value::Map(vec![]));
}

#[test]
fn the_envelope_has_one_shape() {
    // Detached, or no byte string.
    refused(|parts| parts.payload = Value::Null);
    refused(|parts| parts.payload = Value::Text("claims".into()));
    refused(|parts| parts.signature(0).push(Value::Null));

    // Without the tag, with another (COSE_Sign1, COSE_Mac), with one more (CWT).
    let bare = Parts::good().array();
    assert_no_envelope(&written(&bare));
    for tag in [18, 17, 97, 61] {
        assert_no_envelope(&written(&Value::Tag(tag, Box::new(bare.clone()))));
    }
    let cwt = Value::Tag(61, Box::new(Value::Tag(98, Box::new(bare))));
    assert_no_envelope(&written(&cwt));
}

/// The same items, written with more bytes than needed or without a length.
#[test]
fn the_envelope_has_one_encoding() {
    let lease = lease();
    // d8 62 | 84 | 40 | a0 | 58 len ..
    assert_eq!(lease[..6], [0xd8, 0x62, 0x84, 0x40, 0xa0, 0x58]);
    let rewritten = |head: &[u8], skip: usize| [head, &lease[skip..]].concat();
    let others = [
        rewritten(&[0xd9, 0x00, 0x62], 2),
        rewritten(&[0xd8, 0x62, 0x98, 0x04], 3),
        [&[0xd8, 0x62, 0x9f], &lease[3..], &[0xff]].concat(),
        rewritten(&[0xd8, 0x62, 0x84, 0x58, 0x00], 4),
        rewritten(&[0xd8, 0x62, 0x84, 0x5f, 0xff], 4),
        rewritten(&[0xd8, 0x62, 0x84, 0x40, 0xbf, 0xff], 5),
        rewritten(&[0xd8, 0x62, 0x84, 0x40, 0xa0, 0x59, 0x00], 6),
        rewritten(&[0xd8, 0x62, 0x84, 0x40, 0xa0, 0x5f, 0x58], 6),
    ];
    for other in others {
        assert_no_envelope(&other);
    }
}

#[test]
fn a_pinned_key_must_be_one() {
    let (es384, ml_dsa_65) = {
        use aws_lc_rs::signature::KeyPair;
        let es384 = PINNED.es384.public_key().as_ref().to_vec();
        (es384, PINNED.ml_dsa_65.public_key().as_ref().to_vec())
    };
    assert!(VerifierKeys::new(&es384, &ml_dsa_65).is_ok());

    let refused = |es384: &[u8], ml_dsa_65: &[u8]| VerifierKeys::new(es384, ml_dsa_65).unwrap_err();
    let mut off_curve = es384.clone();
    off_curve[96] ^= 1;
    let mut compressed = es384[..49].to_vec();
    compressed[0] = 2 | es384[96] & 1;
    for bad in [&es384[..96], &[], &[0], &off_curve, &compressed] {
        assert_eq!(refused(bad, &ml_dsa_65), KeyError(Algorithm::Es384));
    }
    for bad in [&ml_dsa_65[..1951], &[], &[&ml_dsa_65[..], &[0]].concat()] {
        assert_eq!(refused(&es384, bad), KeyError(Algorithm::MlDsa65));
    }
}

#[test]
fn an_error_says_why_and_holds_none_of_the_input() {
    let cause = verify(&lease()[..100], &PINNED.keys()).unwrap_err();
    let LeaseError::Envelope(CoseError::Malformed(decode)) = &cause else {
        panic!("{cause:?}");
    };
    assert!(decode.is_end_of_input());
    assert_eq!(
        cause.to_string(),
        "a lease is a COSE_Sign with two signatures"
    );
}

proptest! {
    #[test]
    fn bytes_of_no_verifier_are_no_lease(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(verify(&bytes, &PINNED.keys()).is_err());
    }

    #[test]
    fn a_lease_with_pieces_moved_is_none(
        from: prop::sample::Index,
        to: prop::sample::Index,
        len in 1_usize..64,
    ) {
        let lease = lease();
        let piece: Vec<u8> = lease.iter().skip(from.index(lease.len())).take(len).copied().collect();
        let mut moved = lease.clone();
        for (place, byte) in moved.iter_mut().skip(to.index(lease.len())).zip(piece) {
            *place = byte;
        }
        prop_assert_eq!(verify(&moved, &PINNED.keys()).is_ok(), moved == lease);
    }
}
