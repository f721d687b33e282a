//! Quotes that are refused, and by which rule.

use std::collections::BTreeMap;

use bartizan_evidence::quote::{AttestationKey, Digest, Quote, verify_certified};
use bartizan_evidence::structures::{Curve, EccScheme, Hash, Key, Name, RsaScheme, Symmetric};
use bartizan_evidence::verdict::{Class, Failure, Rule};
use bartizan_model::identity::{Certified, PcrSelection, Quoted};

use crate::machine::{AK_ATTRIBUTES, Machine, QUALIFYING, Statement, Tpm, quote_body, sized};

const SELECTION: PcrSelection = PcrSelection(0b1000_0001);

fn pcrs() -> BTreeMap<u8, Digest> {
    [(0, [0xa0; 32]), (7, [0xa7; 32])].into()
}

fn verify(quoted: &Quoted) -> Result<Quote, Failure> {
    Quote::verify(quoted, &Tpm::new().ak(), &QUALIFYING, SELECTION)
}

fn refusal(edit: impl FnOnce(&mut Statement)) -> Failure {
    verify(&Tpm::new().quote(&pcrs(), edit)).unwrap_err()
}

#[test]
fn a_good_quote_says_what_was_quoted() {
    let quote = verify(&Tpm::new().quote(&pcrs(), |_| {})).unwrap();
    assert_eq!(*quote.pcrs(), pcrs());
    assert_eq!(quote.clock().reset_count, 7);
    assert!(quote.clock().safe);
}

#[test]
fn v1_only_what_a_tpm_generated_is_a_quote() {
    assert_eq!(refusal(|s| s.magic ^= 1).rule, Rule::V1);
    for kind in [0x8014, 0x8019, 0] {
        assert_eq!(refusal(|s| s.kind = kind).rule, Rule::V1);
    }
    let name = Tpm::new().public.name();
    let certify = [sized(&name.0), sized(&name.0)].concat();
    let failure = refusal(|s| {
        s.kind = 0x8017;
        s.body = certify;
    });
    assert_eq!(failure.rule, Rule::V1);
    assert_eq!(failure.class, Class::Evidence);
}

#[test]
fn v2_exactly_the_selection_that_was_asked_for() {
    let digest = Hash::Sha256.digest(&[&[0xa0; 32], &[0xa7; 32]]);
    let bodies: [&[(u16, u32)]; 8] = [
        &[],
        &[(0x000b, 0b1)],
        &[(0x000b, 0b1001_0001)],
        &[(0x0004, 0b1000_0001)],
        &[(0x000c, 0b1000_0001)],
        &[(0x000b, 0b1000_0001), (0x0004, 0)],
        &[(0x000b, 0b1000_0001), (0x000b, 0b1000_0001)],
        &[(0x0004, 0b1), (0x000b, 0b1000_0001)],
    ];
    for selections in bodies {
        let failure = refusal(|s| s.body = quote_body(selections, &digest));
        assert_eq!(failure.rule, Rule::V2, "{selections:?}");
    }
}

/// PCR 0's value shown as PCR 7's: the same values, in the same order, under another name.
#[test]
fn v2_and_v3_no_value_is_another_pcrs() {
    let tpm = Tpm::new();
    let relabelled: BTreeMap<u8, Digest> = [(1, [0xa0; 32]), (7, [0xa7; 32])].into();
    let mut quoted = tpm.quote(&relabelled, |_| {});
    assert_eq!(verify(&quoted).unwrap_err().rule, Rule::V2);
    quoted.pcrs = pcrs().into_iter().collect();
    assert_eq!(verify(&quoted).unwrap_err().rule, Rule::V2);

    let good = tpm.quote(&pcrs(), |_| {});
    let shown: [Vec<(u8, Digest)>; 7] = [
        vec![(0, [0xa0; 32])],
        vec![(0, [0xa0; 32]), (1, [0xa7; 32])],
        vec![(7, [0xa0; 32]), (0, [0xa7; 32])],
        vec![(0, [0xa7; 32]), (7, [0xa0; 32])],
        vec![(0, [0xa0; 32]), (7, [0; 32])],
        vec![(0, [0xa0; 32]), (7, [0xa7; 32]), (8, [0; 32])],
        vec![],
    ];
    for pcrs in shown {
        let quoted = Quoted {
            pcrs,
            ..good.clone()
        };
        assert_eq!(verify(&quoted).unwrap_err().rule, Rule::V3);
    }
}

#[test]
fn v4_every_attribute_of_an_ak_counts() {
    for (bit, text) in [
        (1, "fixedTPM"),
        (4, "fixedParent"),
        (5, "sensitiveDataOrigin"),
        (16, "restricted"),
        (18, "sign"),
        (17, "decrypts"),
        (2, "stClear"),
        (11, "duplicated"),
    ] {
        let tpm = Tpm::with_attributes(AK_ATTRIBUTES ^ (1 << bit));
        let failure = AttestationKey::parse(&tpm.public.encode()).unwrap_err();
        assert_eq!(failure.rule, Rule::V4);
        assert_eq!(failure.class, Class::Identity);
        assert!(failure.text.contains(text), "{}", failure.text);
    }
}

#[test]
fn v4_an_ak_signs_by_ecdsa_with_a_hash_of_its_own() {
    let refused = |edit: fn(&mut Key)| {
        let mut tpm = Tpm::new();
        edit(&mut tpm.public.key);
        AttestationKey::parse(&tpm.public.encode())
            .unwrap_err()
            .rule
    };
    assert_eq!(refused(|key| set_scheme(key, EccScheme::Null)), Rule::V4);
    assert_eq!(
        refused(|key| set_scheme(key, EccScheme::Ecdh(Hash::Sha256))),
        Rule::V4
    );
    let rsa = |key: &mut Key| {
        *key = Key::Rsa {
            symmetric: Symmetric::Null,
            scheme: RsaScheme::Rsassa(Hash::Sha256),
            bits: 2048,
            exponent: 0,
            modulus: vec![0xff; 256],
        };
    };
    assert_eq!(refused(rsa), Rule::V4);

    // SHA-1 as the scheme's hash, and as the Name's.
    let public = Tpm::new().public.encode();
    let scheme_hash = public
        .windows(2)
        .rposition(|at| at == [0x00, 0x0b])
        .unwrap();
    for at in [2, scheme_hash] {
        let mut sha1 = public.clone();
        sha1[at..at + 2].copy_from_slice(&[0x00, 0x04]);
        let failure = AttestationKey::parse(&sha1).unwrap_err();
        assert_eq!(failure.rule, Rule::V4, "{}", failure.text);
    }
}

fn set_scheme(key: &mut Key, to: EccScheme) {
    match key {
        Key::Ecc { scheme, .. } => *scheme = to,
        Key::Rsa { .. } => panic!("an ECC key"),
    }
}

#[test]
fn v4_the_signature_is_the_aks_over_these_bytes() {
    let tpm = Tpm::new();
    let good = tpm.quote(&pcrs(), |_| {});
    let other = tpm.quote(&pcrs(), |s| s.clock += 1);
    let crossed = Quoted {
        signature: other.signature,
        ..good.clone()
    };
    assert_eq!(verify(&crossed).unwrap_err().rule, Rule::V4);

    let mut sha1 = good.clone();
    sha1.signature[2..4].copy_from_slice(&[0x00, 0x04]);
    assert_eq!(verify(&sha1).unwrap_err().rule, Rule::V4);
    let mut sha384 = good.clone();
    sha384.signature[2..4].copy_from_slice(&[0x00, 0x0c]);
    assert_eq!(verify(&sha384).unwrap_err().rule, Rule::V4);

    // Another key, whose public area is not the one that was registered.
    let mut software = tpm.public.clone();
    let Key::Ecc { x, y, .. } = &mut software.key else {
        panic!("an ECC key")
    };
    let point = p256::ecdsa::SigningKey::from_slice(&[0x77; 32]).unwrap();
    let point = point.verifying_key().to_sec1_point(false);
    *x = point.x().unwrap().to_vec();
    *y = point.y().unwrap().to_vec();
    let software = AttestationKey::parse(&software.encode()).unwrap();
    let refused = Quote::verify(&good, &software, &QUALIFYING, SELECTION).unwrap_err();
    assert_eq!(refused.rule, Rule::V4);
    assert_eq!(refused.class, Class::Identity);
}

#[test]
fn v5_the_signer_is_a_primary_of_the_endorsement_hierarchy() {
    let name = Tpm::new().public.name();
    for signer in [
        name.clone(),
        name.under_endorsement(Hash::Sha384),
        Name([&[0x00, 0x0b][..], &[0; 32]].concat()),
    ] {
        assert_eq!(refusal(|s| s.signer = signer.0.clone()).rule, Rule::V5);
    }
}

#[test]
fn v7_only_for_this_nonce_and_session() {
    for extra in [vec![], vec![0x71; 31], vec![0x71; 33], vec![0x72; 32]] {
        assert_eq!(refusal(|s| s.extra.clone_from(&extra)).rule, Rule::V7);
    }
}

#[test]
fn v14_what_cannot_be_parsed_is_refused() {
    assert_eq!(refusal(|s| s.safe = 2).rule, Rule::V14);
    assert_eq!(refusal(|s| s.body.push(0)).rule, Rule::V14);
    assert_eq!(
        refusal(|s| s.body.truncate(s.body.len() - 1)).rule,
        Rule::V14
    );
    assert_eq!(refusal(|s| s.signer = vec![]).rule, Rule::V14);
    assert_eq!(refusal(|s| s.extra = vec![0; 67]).rule, Rule::V14);
    let many = vec![(0x000b, 1); 17];
    let failure = refusal(|s| s.body = quote_body(&many, &[0; 32]));
    assert_eq!(failure.rule, Rule::V14);
    assert_eq!(failure.class, Class::Malformed);
}

#[test]
fn a_certified_key_is_the_one_that_is_shown() {
    let tpm = Tpm::new();
    let ldevid = Machine::clean().tpm.public;
    let certify = |name: &Name| {
        let quoted = tpm.quote(&pcrs(), |s| {
            s.kind = 0x8017;
            s.body = [sized(&name.0), sized(&name.0)].concat();
        });
        Certified {
            public: ldevid.encode(),
            attest: quoted.attest,
            signature: quoted.signature,
        }
    };
    let good = certify(&ldevid.name());
    assert_eq!(
        verify_certified(&good, &tpm.ak(), &QUALIFYING).unwrap(),
        ldevid
    );
    let rule = |certified: &Certified, qualifying: &[u8]| {
        verify_certified(certified, &tpm.ak(), qualifying)
            .unwrap_err()
            .rule
    };
    let other = Name([&[0x00, 0x0b][..], &[9; 32]].concat());
    assert_eq!(rule(&certify(&other), &QUALIFYING), Rule::V5);
    assert_eq!(rule(&good, &[0; 32]), Rule::V7);
    let quote = tpm.quote(&pcrs(), |_| {});
    let quote = Certified {
        public: ldevid.encode(),
        attest: quote.attest,
        signature: quote.signature,
    };
    assert_eq!(rule(&quote, &QUALIFYING), Rule::V1);
}

#[test]
fn the_curves_have_hashes_of_their_strength() {
    assert_eq!(Curve::P256.hash(), Hash::Sha256);
    assert_eq!(Curve::P384.hash(), Hash::Sha384);
    assert_eq!((Curve::P256.width(), Curve::P384.width()), (32, 48));
}
