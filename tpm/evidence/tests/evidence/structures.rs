//! Public areas and signatures: what is read is what is written, and nothing else is read.

use bartizan_evidence::structures::{
    Attributes, Curve, EccScheme, EcdsaSignature, EndorsementTemplate, Hash, Key, Public,
    RsaScheme, Symmetric, endorsement_template,
};
use proptest::prelude::*;

use crate::machine::Tpm;

fn rsa(bits: u16) -> Public {
    Public {
        name_hash: Hash::Sha256,
        attributes: Attributes(0x0003_00b2),
        auth_policy: policy_a(),
        key: Key::Rsa {
            symmetric: Symmetric::AesCfb(128),
            scheme: RsaScheme::Null,
            bits,
            exponent: 0,
            modulus: vec![0xc5; usize::from(bits / 8)],
        },
    }
}

fn policy_a() -> Vec<u8> {
    let first = Hash::Sha256.digest(&[
        &[0; 32],
        &0x0151_u32.to_be_bytes(),
        &0x4000_000b_u32.to_be_bytes(),
    ]);
    Hash::Sha256.digest(&[&first])
}

#[test]
fn a_public_area_encodes_to_the_bytes_it_was_read_from() {
    for public in [Tpm::new().public, rsa(2048), rsa(3072), rsa(4096)] {
        let bytes = public.encode();
        assert_eq!(Public::parse(&bytes).unwrap(), public);
        for len in 0..bytes.len() {
            assert!(Public::parse(&bytes[..len]).is_err(), "{len}");
        }
        assert!(Public::parse(&[&bytes[..], &[0]].concat()).is_err());
    }
}

#[test]
fn other_keys_are_refused() {
    assert!(Public::parse(&rsa(1024).encode()).is_err());
    let mut short = rsa(2048);
    if let Key::Rsa { modulus, .. } = &mut short.key {
        modulus[0] = 0x7f;
    }
    assert!(Public::parse(&short.encode()).is_err(), "2047 bits");
    let mut policy = Tpm::new().public;
    policy.auth_policy = vec![0; 48];
    assert!(Public::parse(&policy.encode()).is_err());
    let mut long = Tpm::new().public;
    if let Key::Ecc { x, .. } = &mut long.key {
        x.insert(0, 0);
    }
    assert!(Public::parse(&long.encode()).is_err());
}

#[test]
fn leading_zeros_of_a_coordinate_may_be_missing() {
    let mut public = Tpm::new().public;
    if let Key::Ecc { x, .. } = &mut public.key {
        *x = vec![0x01; 31];
    }
    let read = Public::parse(&public.encode()).unwrap();
    let point = read.point().unwrap();
    assert_eq!(point[..3], [0x04, 0x00, 0x01]);
    assert_eq!(point.len(), 65);
    assert_eq!(read.spki()[26..], point);
}

#[test]
fn an_ek_is_of_a_default_template_or_of_none() {
    assert_eq!(
        endorsement_template(&rsa(2048)),
        Some(EndorsementTemplate::L1)
    );
    assert_eq!(endorsement_template(&rsa(3072)), None);
    assert_eq!(endorsement_template(&Tpm::new().public), None);
    for bit in [1, 4, 5, 6, 7, 10, 16, 17, 18] {
        let mut other = rsa(2048);
        other.attributes.0 ^= 1 << bit;
        assert_eq!(endorsement_template(&other), None, "bit {bit}");
    }
    let mut policy = rsa(2048);
    policy.auth_policy[0] ^= 1;
    assert_eq!(endorsement_template(&policy), None);
}

#[test]
fn only_ecdsa_without_sha_1_is_a_signature() {
    let signature = EcdsaSignature {
        hash: Hash::Sha384,
        r: vec![1; 48],
        s: vec![2; 47],
    };
    let bytes = signature.encode();
    assert_eq!(EcdsaSignature::parse(&bytes).unwrap(), signature);
    for len in 0..bytes.len() {
        assert!(EcdsaSignature::parse(&bytes[..len]).is_err());
    }
    // RSASSA, ECDAA, and ECDSA with SHA-1.
    for (at, value) in [(1, 0x14), (1, 0x1a), (3, 0x04)] {
        let mut other = bytes.clone();
        other[at] = value;
        assert!(EcdsaSignature::parse(&other).is_err());
    }
}

fn scheme() -> impl Strategy<Value = EccScheme> {
    prop_oneof![
        Just(EccScheme::Null),
        Just(EccScheme::Ecdsa(Hash::Sha256)),
        Just(EccScheme::Ecdsa(Hash::Sha512)),
        Just(EccScheme::Ecdh(Hash::Sha384)),
    ]
}

proptest! {
    #[test]
    fn whatever_is_written_is_read(
        attributes: u32,
        policy in any::<bool>(),
        scheme in scheme(),
        large: bool,
        x in prop::collection::vec(any::<u8>(), 0..=32),
        y in prop::collection::vec(any::<u8>(), 0..=32),
    ) {
        let public = Public {
            name_hash: Hash::Sha256,
            attributes: Attributes(attributes),
            auth_policy: if policy { vec![7; 32] } else { Vec::new() },
            key: Key::Ecc {
                symmetric: if large { Symmetric::AesCfb(256) } else { Symmetric::Null },
                scheme,
                curve: if large { Curve::P384 } else { Curve::P256 },
                x,
                y,
            },
        };
        prop_assert_eq!(Public::parse(&public.encode()), Ok(public));
    }
}
