//! What counts as a manifest of the maker, and what a box takes of them.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair,
};
use bartizan_evidence::cose::{self, Algorithm, VerifierKeys};
use bartizan_manifest::bundle::{self, BundleError};
use bartizan_manifest::rules::{Refusal, Running, check};
use bartizan_manifest::{
    Contents, MANIFEST_MAX, Manifest, ManifestError, Part, PartContents, Version,
};
use proptest::prelude::*;

type Change = fn(&mut Manifest);

struct Maker {
    es384: EcdsaKeyPair,
    ml_dsa_65: PqdsaKeyPair,
}

impl Maker {
    fn new() -> Self {
        Self {
            es384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            ml_dsa_65: PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).unwrap(),
        }
    }

    fn keys(&self) -> VerifierKeys {
        keys(self, self)
    }

    fn es384(&self, payload: &[u8]) -> [u8; cose::ES384_LEN] {
        let message = cose::to_be_signed(Algorithm::Es384, payload);
        let signature = self.es384.sign(&SystemRandom::new(), &message).unwrap();
        signature.as_ref().try_into().unwrap()
    }

    fn ml_dsa_65(&self, payload: &[u8]) -> [u8; cose::ML_DSA_65_LEN] {
        let message = cose::to_be_signed(Algorithm::MlDsa65, payload);
        let mut signature = [0; cose::ML_DSA_65_LEN];
        self.ml_dsa_65.sign(&message, &mut signature).unwrap();
        signature
    }

    fn sign(&self, payload: &[u8]) -> Vec<u8> {
        cose::assemble(payload, &self.es384(payload), &self.ml_dsa_65(payload))
    }
}

fn keys(es384: &Maker, ml_dsa_65: &Maker) -> VerifierKeys {
    let (es384, ml_dsa_65) = (es384.es384.public_key(), ml_dsa_65.ml_dsa_65.public_key());
    VerifierKeys::new(es384.as_ref(), ml_dsa_65.as_ref()).unwrap()
}

fn version(text: &str) -> Version {
    Version::try_from(text).unwrap()
}

fn contents(size: u64, byte: u8) -> PartContents {
    PartContents {
        size,
        sha256: [byte; 32],
    }
}

fn manifest() -> Manifest {
    Manifest {
        machine: "bartizan-x86-64".to_owned(),
        version: version("1.3.0"),
        min_version: version("1.1"),
        rollback_epoch: 4,
        root_hash: [7; 32],
        parts: Contents {
            root: contents(4096, 1),
            verity: contents(8192, 2),
            uki: contents(333, 3),
            recovery: contents(444, 4),
            boot_loader: contents(555, 5),
            reference_values: contents(66, 6),
            bill_of_materials: contents(77, 7),
        },
    }
}

fn running() -> Running {
    Running {
        machine: "bartizan-x86-64".to_owned(),
        version: version("1.2.9"),
        root_hash: [8; 32],
        rollback_floor: 4,
    }
}

#[test]
fn a_manifest_that_was_signed_is_read_back() {
    let maker = Maker::new();
    let signed = maker.sign(&manifest().encode().unwrap());
    assert_eq!(
        Manifest::verify(&signed, &maker.keys()).unwrap(),
        manifest()
    );
    assert!(signed.len() < MANIFEST_MAX);
}

#[test]
fn each_signature_is_required() {
    let maker = Maker::new();
    let payload = manifest().encode().unwrap();
    let signed = maker.sign(&payload);
    let other = Maker::new();
    assert!(matches!(
        Manifest::verify(&signed, &keys(&other, &maker)),
        Err(ManifestError::Signature(Algorithm::Es384))
    ));
    assert!(matches!(
        Manifest::verify(&signed, &keys(&maker, &other)),
        Err(ManifestError::Signature(Algorithm::MlDsa65))
    ));
    // One signature only, or none.
    for stripped in [
        cose::assemble(&payload, &maker.es384(&payload), &[0; 3309]),
        cose::assemble(&payload, &[0; 96], &maker.ml_dsa_65(&payload)),
        payload.clone(),
    ] {
        assert!(Manifest::verify(&stripped, &maker.keys()).is_err());
    }
}

#[test]
fn every_damaged_byte_is_noticed() {
    let maker = Maker::new();
    let signed = maker.sign(&manifest().encode().unwrap());
    let keys = maker.keys();
    // Every byte of payload and frames, and every 41st of the long signature.
    for position in (0..700).chain((700..signed.len()).step_by(41)) {
        for flip in [1, 0x80] {
            let mut damaged = signed.clone();
            damaged[position] ^= flip;
            assert!(Manifest::verify(&damaged, &keys).is_err(), "{position}");
        }
    }
    for len in (0..signed.len()).step_by(13) {
        assert!(Manifest::verify(&signed[..len], &keys).is_err(), "{len}");
    }
    let longer = [signed.as_slice(), &[0]].concat();
    assert!(Manifest::verify(&longer, &keys).is_err());
    assert!(matches!(
        Manifest::verify(&vec![0; MANIFEST_MAX + 1], &keys),
        Err(ManifestError::TooLong)
    ));
}

#[test]
fn limits_hold_on_both_sides() {
    let refused = |change: fn(&mut Manifest)| {
        let mut manifest = manifest();
        change(&mut manifest);
        manifest.encode().unwrap_err().to_string()
    };
    let cases: [(Change, &str); 10] = [
        (|m| m.machine.clear(), "machine"),
        (|m| m.machine.push('A'), "machine"),
        (|m| m.machine = "a".repeat(33), "machine"),
        (|m| m.parts.root.size = 0, "root"),
        (|m| m.parts.root.size = 4097, "root"),
        (|m| m.parts.root.size = Part::Root.size_max() + 4096, "root"),
        (|m| m.parts.verity.size = 4095, "hash tree"),
        (|m| m.parts.uki.size = Part::Uki.size_max() + 1, "kernel"),
        (|m| m.parts.bill_of_materials.size = 0, "bill"),
        (|m| m.min_version = m.version.clone(), "least"),
    ];
    for (change, word) in cases {
        assert!(refused(change).contains(word), "{word}");
    }
    // What could not be encoded is not decoded either, whoever signed it.
    let payload = manifest().encode().unwrap();
    let position = payload
        .windows(15)
        .position(|window| window == b"bartizan-x86-64")
        .unwrap();
    let mut loud = payload;
    loud[position] = b'B';
    assert!(matches!(
        Manifest::decode(&loud),
        Err(ManifestError::Machine)
    ));
}

#[test]
fn reference_values_and_orders_are_no_manifests() {
    let maker = Maker::new();
    let payload = manifest().encode().unwrap();
    let position = payload
        .windows(8)
        .position(|window| window == b"update-1")
        .unwrap();
    let mut other = payload;
    other[position + 7] = b'2';
    assert!(matches!(
        Manifest::verify(&maker.sign(&other), &maker.keys()),
        Err(ManifestError::Form)
    ));
}

#[test]
fn an_update_is_newer_of_no_closed_epoch_and_for_this_machine() {
    assert_eq!(check(&manifest(), &running()), Ok(()));
    let against = |change: fn(&mut Running)| {
        let mut running = running();
        change(&mut running);
        check(&manifest(), &running).unwrap_err()
    };
    assert_eq!(
        against(|r| r.machine = "other".to_owned()),
        Refusal::Machine
    );
    for same_or_newer in ["1.3.0", "1.3.0.0", "1.10", "2"] {
        let mut running = running();
        running.version = version(same_or_newer);
        assert!(matches!(
            check(&manifest(), &running),
            Err(Refusal::NotNewer { .. })
        ));
    }
    assert!(matches!(
        against(|r| r.version = version("1.0.9")),
        Refusal::RunningTooOld { .. }
    ));
    assert_eq!(
        against(|r| r.rollback_floor = 5),
        Refusal::Rollback { epoch: 4, floor: 5 }
    );
    assert_eq!(against(|r| r.root_hash = [7; 32]), Refusal::SameRoot);
}

#[test]
fn a_bundle_says_where_its_parts_are() {
    let signed = Maker::new().sign(&manifest().encode().unwrap());
    let head = bundle::head(&signed).unwrap();
    let first: &[u8; bundle::HEAD_LEN] = head.first_chunk().unwrap();
    assert_eq!(bundle::manifest_len(first), Ok(signed.len()));
    let len = u64::try_from(signed.len()).unwrap();
    let offset = |part| bundle::part_offset(&manifest(), len, part);
    assert_eq!(offset(Part::Root), u64::try_from(head.len()).unwrap());
    assert_eq!(offset(Part::Uki), offset(Part::Root) + 4096 + 8192);
    assert_eq!(manifest().update_len(), 4096 + 8192 + 333);
    assert_eq!(
        bundle::bundle_len(&manifest(), len),
        offset(Part::BillOfMaterials) + 77
    );
    let mut wrong = *first;
    wrong[0] ^= 1;
    assert_eq!(bundle::manifest_len(&wrong), Err(BundleError::Magic));
    for len in [0_u32, u32::try_from(MANIFEST_MAX).unwrap() + 1, u32::MAX] {
        let mut wrong = *first;
        wrong[16..].copy_from_slice(&len.to_be_bytes());
        assert_eq!(
            bundle::manifest_len(&wrong),
            Err(BundleError::ManifestLength)
        );
    }
    assert!(bundle::head(&[]).is_err());
}

proptest! {
    /// Whatever decodes is exactly what is encoded from it.
    #[test]
    fn there_is_one_encoding(
        position in 0_usize..600,
        byte: u8,
        cut in 0_usize..600,
    ) {
        let mut payload = manifest().encode().unwrap();
        let last = payload.len().saturating_sub(1);
        payload[position.min(last)] = byte;
        if let Ok(manifest) = Manifest::decode(&payload) {
            prop_assert_eq!(manifest.encode().unwrap(), payload.clone());
        }
        payload.truncate(cut.min(last));
        prop_assert!(Manifest::decode(&payload).is_err());
    }
}
