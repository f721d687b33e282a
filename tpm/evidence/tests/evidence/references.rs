//! Reference values: one form, two signatures, and whole.

use bartizan_evidence::reference::{
    Hardware, Phase, REFERENCE_MAX, ReferenceError, ReferenceValues, UserspaceLogging,
};
use ciborium::Value;
use proptest::prelude::*;

use crate::machine::Machine;
use crate::verifier::{PINNED, STRANGER};

fn values() -> ReferenceValues {
    let mut values = Machine::clean().reference;
    values.exact.insert(4, vec![[4; 32], [5; 32]]);
    values.hardware.push(Hardware {
        vendor: "Example".to_owned(),
        model: "Edge 1".to_owned(),
        pcr0: vec![[1; 32]],
        pcr2: vec![[2; 32], [3; 32]],
    });
    values
}

fn refusal(payload: &[u8]) -> ReferenceError {
    ReferenceValues::verify(&PINNED.sign(payload), &PINNED.keys()).unwrap_err()
}

#[test]
fn what_was_signed_is_what_is_read() {
    let mut unlogged = values();
    unlogged.userspace_log = UserspaceLogging::Unlogged;
    unlogged.hardware.clear();
    for values in [values(), unlogged] {
        let signed = PINNED.sign(&values.encode().unwrap());
        assert_eq!(
            ReferenceValues::verify(&signed, &PINNED.keys()).unwrap(),
            values
        );
    }
}

#[test]
fn both_signatures_are_the_makers() {
    let signed = STRANGER.sign(&values().encode().unwrap());
    assert!(matches!(
        ReferenceValues::verify(&signed, &PINNED.keys()),
        Err(ReferenceError::Signature(_))
    ));
    let long = vec![0; REFERENCE_MAX + 1];
    assert!(matches!(
        ReferenceValues::verify(&long, &PINNED.keys()),
        Err(ReferenceError::TooLong)
    ));
}

/// By another implementation of CBOR, with the draft's numbers written out.
#[test]
fn it_is_a_corim_by_the_drafts_numbers() {
    let corim: Value = ciborium::from_reader(&*values().encode().unwrap()).unwrap();
    let Value::Tag(501, corim) = corim else {
        panic!("a tagged unsigned CoRIM")
    };
    let field = |map: &Value, key: i64| {
        let map = map.as_map().unwrap();
        let found = map.iter().find(|(name, _)| *name == key.into());
        found.unwrap().1.clone()
    };
    assert_eq!(field(&corim, 0), "bartizan-1.4.0".into());
    let tags = field(&corim, 1);
    let Value::Tag(506, comid) = &tags.as_array().unwrap()[0] else {
        panic!("a tagged CoMID")
    };
    let comid: Value = ciborium::from_reader(&**comid.as_bytes().unwrap()).unwrap();
    assert_eq!(field(&field(&comid, 1), 0), "bartizan-1.4.0".into());
    let triples = field(&field(&comid, 4), 0);
    let image = triples.as_array().unwrap()[0].as_array().unwrap().clone();
    assert_eq!(field(&field(&image[0], 0), 1), "Bartizan".into());
    let measurements = image[1].as_array().unwrap();
    let what = field(&measurements[0], 1);
    assert_eq!(field(&field(&what, 0), 0), "1.4.0".into());
    assert_eq!(field(&what, 1), Value::Tag(552, Box::new(3.into())));
    let registers = field(&field(&measurements[1], 1), 14);
    let digests = field(&registers, 4);
    let digest = digests.as_array().unwrap()[0].as_array().unwrap();
    assert_eq!(digest[0], 1.into(), "SHA-256");
    assert_eq!(digest[1], Value::Bytes(vec![4; 32]));
    assert_eq!(field(&measurements[2], 0), "enter-initrd".into());
}

#[test]
fn values_that_are_not_whole_are_neither_written_nor_read() {
    type Edit = fn(&mut ReferenceValues);
    let edits: [Edit; 11] = [
        |v| v.image.clear(),
        |v| v.image = "a".repeat(129),
        |v| v.os_version = "1.4\n".to_owned(),
        |v| drop(v.exact.remove(&7)),
        |v| drop(v.exact.insert(8, vec![[0; 32]])),
        |v| drop(v.exact.insert(7, vec![])),
        |v| drop(v.exact.insert(7, vec![[0; 32]; 65])),
        |v| v.phases.clear(),
        |v| v.phases[0].name.clear(),
        |v| {
            let phase = Phase {
                name: "x".to_owned(),
                pcr11: [0; 32],
            };
            v.phases = vec![phase; 17];
        },
        |v| v.hardware[0].pcr0.clear(),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut values = values();
        edit(&mut values);
        let refused = values.encode();
        assert!(
            matches!(
                refused,
                Err(ReferenceError::Count(_) | ReferenceError::Text(_))
            ),
            "{number}: {refused:?}"
        );
    }
}

#[test]
fn every_cut_is_refused() {
    let payload = values().encode().unwrap();
    for len in (0..payload.len()).step_by(5) {
        assert!(matches!(
            refusal(&payload[..len]),
            ReferenceError::Malformed(_) | ReferenceError::Form
        ));
    }
    assert!(matches!(
        refusal(&[&payload[..], &[0]].concat()),
        ReferenceError::Form
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the maker signed in another form is refused, or means what its bytes say.
    #[test]
    fn a_changed_byte_is_refused_or_is_another_value(at: prop::sample::Index, bit in 0..8_u8) {
        let mut payload = values().encode().unwrap();
        let at = at.index(payload.len());
        payload[at] ^= 1 << bit;
        let signed = PINNED.sign(&payload);
        if let Ok(read) = ReferenceValues::verify(&signed, &PINNED.keys()) {
            prop_assert_ne!(&read, &values());
            prop_assert_eq!(read.encode().unwrap(), payload);
        }
    }
}
