//! Claims that are refused, though both signatures over them are right.

use bartizan_evidence::lease::{Claims, LeaseError, OwnerTime, verify};
use ciborium::Value;

use crate::verifier::{PINNED, claims};

fn refusal(payload: &[u8]) -> LeaseError {
    verify(&PINNED.sign(payload), &PINNED.keys()).unwrap_err()
}

/// Signs the payload after `edit`; it is written in the shortest form, in the order of the map.
fn edited(edit: impl FnOnce(&mut Vec<(Value, Value)>)) -> LeaseError {
    let mut payload: Value = ciborium::from_reader(&*claims().encode()).unwrap();
    edit(payload.as_map_mut().unwrap());
    let mut bytes = Vec::new();
    ciborium::into_writer(&payload, &mut bytes).unwrap();
    refusal(&bytes)
}

/// Puts `value` in the place of the claim `key`.
fn with(key: i64, value: impl Into<Value>) -> LeaseError {
    edited(|map| {
        let claim = map.iter_mut().find(|(name, _)| *name == key.into());
        claim.unwrap().1 = value.into();
    })
}

const CLAIMS: usize = 8;

#[test]
fn no_claim_may_be_missing_doubled_or_moved() {
    let other = |error| matches!(error, LeaseError::Form | LeaseError::Malformed(_));
    for at in 0..CLAIMS {
        assert!(other(edited(|map| drop(map.remove(at)))));
        assert!(other(edited(|map| map.insert(at, map[at].clone()))));
        assert!(other(edited(|map| map.swap(at, (at + 1) % CLAIMS))));
    }
}

#[test]
fn no_claim_may_be_added() {
    for (key, value) in [
        (1, Value::from("issuer")),
        (5, Value::from(1)),
        (7, Value::from(vec![1_u8])),
        (1000, Value::from(2)),
        (1001, Value::Map(vec![])),
        (-70_101, Value::from(true)),
        (-70_100, Value::from(true)),
        (-70_102, Value::from(true)),
    ] {
        let added = edited(|map| map.push((key.into(), value.clone())));
        assert!(matches!(added, LeaseError::Form), "{key}: {added:?}");
    }
}

#[test]
fn a_claim_has_one_type_and_one_range() {
    let malformed = |error| matches!(error, LeaseError::Malformed(_));
    let form = |error| matches!(error, LeaseError::Form);
    let bytes = |len| Value::Bytes(vec![7; len]);

    for bad in ["GW", "", "a b", "gw_a", &"a".repeat(65)] {
        assert!(matches!(with(2, bad), LeaseError::Node(_)), "{bad}");
    }
    assert!(malformed(with(2, bytes(4))));
    assert!(malformed(with(4, -1)));
    assert!(malformed(with(4, 1.5)));
    assert!(malformed(with(6, Value::Tag(1, Box::new(6.into())))));
    for len in [0, 31, 33] {
        assert!(form(with(8, Value::Map(vec![(3.into(), bytes(len))]))));
        assert!(form(with(10, bytes(len))));
    }
    assert!(form(with(8, Value::Map(vec![(5.into(), bytes(32))]))));
    assert!(malformed(with(8, Value::Map(vec![]))));
    assert!(malformed(with(10, Value::Array(vec![bytes(32)]))));
    assert!(form(with(265, "tag:ietf.org,2026:rats/ear#03")));
    let submods = |name: &str, status: i64| {
        let appraisal = Value::Map(vec![(1000.into(), status.into())]);
        Value::Map(vec![(name.into(), appraisal)])
    };
    assert!(form(with(266, submods("other", 2))));
    assert!(malformed(with(266, submods("gateway", -1))));
    for status in [1, 3, 33, 97, 255] {
        let refused = with(266, submods("gateway", status));
        assert!(matches!(refused, LeaseError::Status), "{status}");
    }
    let verifier = Value::Map(vec![(0.into(), "x".into()), (1.into(), "y".into())]);
    assert!(form(with(1004, verifier)));
}

#[test]
fn a_lease_ends_after_it_begins() {
    for expires in [0, 1_799_999_999, 1_800_000_000] {
        let claims = Claims {
            expires: OwnerTime(expires),
            ..claims()
        };
        let refused = refusal(&claims.encode());
        assert!(matches!(refused, LeaseError::Times), "{expires}");
    }
}

/// The same claims, written with more bytes than needed or without a length.
#[test]
fn the_claims_have_one_encoding() {
    let payload = claims().encode();
    // a8 | 02 | 6c "gw-a.example" | 04 | 1a ..
    assert_eq!(payload[..3], [0xa8, 0x02, 0x6c]);
    assert_eq!(payload[15..17], [0x04, 0x1a]);
    let others = [
        [&[0xb8, 0x08], &payload[1..]].concat(),
        [&[0xbf], &payload[1..], &[0xff]].concat(),
        [&[0xa8, 0x18, 0x02], &payload[2..]].concat(),
        [&[0xa8, 0x02, 0x78, 0x0c], &payload[3..]].concat(),
        [&payload[..16], &[0x1b, 0, 0, 0, 0], &payload[17..]].concat(),
        [&payload[..], &[0x00]].concat(),
        [&payload[..], &[0xf6]].concat(),
    ];
    for other in others {
        let refused = refusal(&other);
        assert!(matches!(refused, LeaseError::Form), "{refused:?}");
    }
    assert!(matches!(refusal(&[]), LeaseError::Malformed(_)));
}

#[test]
fn every_cut_of_the_claims_is_refused() {
    let payload = claims().encode();
    for len in (0..payload.len()).step_by(7) {
        assert!(matches!(
            refusal(&payload[..len]),
            LeaseError::Malformed(_) | LeaseError::Form
        ));
    }
}
