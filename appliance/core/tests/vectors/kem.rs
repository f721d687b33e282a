//! ML-KEM against published values and against a second implementation (`fips203`).

use bartizan_core::kem::{Initiator, KemError, respond};
use bartizan_model::policy::ParameterSet;
use fips203::traits::{Decaps, Encaps, KeyGen, SerDes};
use proptest::prelude::*;
use shake::Shake128;
use shake::digest::{ExtendableOutput, Update, XofReader};

const SETS: [ParameterSet; 3] = [
    ParameterSet::MlKem512,
    ParameterSet::MlKem768,
    ParameterSet::MlKem1024,
];

type Bytes32 = [u8; 32];

/// The second implementation, from bytes to bytes.
struct Oracle {
    /// d, z to encapsulation key and decapsulation key (expanded, FIPS 203, 7.1).
    key_pair: fn(Bytes32, Bytes32) -> (Vec<u8>, Vec<u8>),
    /// Encapsulation key, m to ciphertext and shared secret.
    encapsulate: fn(&[u8], Bytes32) -> (Vec<u8>, Bytes32),
    /// Decapsulation key, ciphertext to shared secret.
    decapsulate: fn(&[u8], &[u8]) -> Bytes32,
}

macro_rules! oracle {
    ($set:ident) => {{
        use fips203::$set::{CipherText, DecapsKey, EncapsKey, KG};
        Oracle {
            key_pair: |d, z| {
                let (ek, dk) = KG::keygen_from_seed(d, z);
                (ek.into_bytes().to_vec(), dk.into_bytes().to_vec())
            },
            encapsulate: |ek, m| {
                let ek = EncapsKey::try_from_bytes(ek.try_into().unwrap()).unwrap();
                let (shared, ciphertext) = ek.encaps_from_seed(&m);
                (ciphertext.into_bytes().to_vec(), shared.into_bytes())
            },
            decapsulate: |dk, ciphertext| {
                let dk = DecapsKey::try_from_bytes(dk.try_into().unwrap()).unwrap();
                let ciphertext =
                    CipherText::try_from_bytes(ciphertext.try_into().unwrap()).unwrap();
                dk.try_decaps(&ciphertext).unwrap().into_bytes()
            },
        }
    }};
}

fn oracle(set: ParameterSet) -> Oracle {
    match set {
        ParameterSet::MlKem512 => oracle!(ml_kem_512),
        ParameterSet::MlKem768 => oracle!(ml_kem_768),
        ParameterSet::MlKem1024 => oracle!(ml_kem_1024),
    }
}

/// NIST ACVP, gen-val/json-files/ML-KEM-keyGen-FIPS203/internalProjection.json, test cases 1, 26
/// and 51: d, z and, as it stands in the published decapsulation key, SHA3-256 of the
/// encapsulation key.
const ACVP_KEY_GENERATION: [(ParameterSet, &str, &str, &str); 3] = [
    (
        ParameterSet::MlKem512,
        "47b893474672ba92e4b12ee44fb32953af8e8503b5fb471d1614fb8a021a660a",
        "1f8cb39e9e30bc458a0dc5408884b1187fb217018df760fa57317703b844a0a9",
        "3a389831056ed8fd81476869245782689c84b3ce90fe6a9e78d0a380fd6a1573",
    ),
    (
        ParameterSet::MlKem768,
        "e582b7d75e6c80b05ae392a1fc9f7153b12390fd99930368cc67a768baebc8a0",
        "1cdacb8740c0b87c4a379575f187b367cbfa3b300bf591b109f79816e9cbe8f0",
        "81e66ef5a7a221619f6a64039cc369843e10df5c859f6959cc3fd8e5272330fd",
    ),
    (
        ParameterSet::MlKem1024,
        "f3a706faf090c03db506863ab0b20bd8a1627956318e88c67eb875e8e7266009",
        "35d2bc43dd1cc879f765bf2a0c5e297889ddE910e57e2bb0eae417b90ab7a275",
        "9370fe5b05ddc92c939f62cbde4c0fea36f45cd20c5748cf3ac891a4c2604496",
    ),
];

#[test]
fn the_key_generation_vectors_of_nist_come_out() {
    for (set, d, z, hash) in ACVP_KEY_GENERATION {
        let (d, z) = (bytes32(d), bytes32(z));
        let (_, key) = Initiator::generate(set, &mut source(&[d, z].concat())).unwrap();
        let (expected, expanded) = (oracle(set).key_pair)(d, z);
        // The published hash is in the second implementation's decapsulation key, so its
        // encapsulation key is the published one, and so is ours.
        assert_eq!(
            expanded[expanded.len() - 64..expanded.len() - 32],
            bytes32(hash)
        );
        assert_eq!(key, expected);
    }
}

/// SHAKE-128 over what 100 exchanges give, by the procedure of C2SP CCTV, ML-KEM, "Accumulated
/// pq-crystals vectors". CCTV gives the values for 10 000; those for 100 are of crystals-kyber-js.
const ACCUMULATED_100: [(ParameterSet, &str); 3] = [
    (
        ParameterSet::MlKem512,
        "449120c6e320ef3e9fbfa2316e5f2d2e1e6dd37d8ff5d086d5d2db7d42aff0a1",
    ),
    (
        ParameterSet::MlKem768,
        "8d65b902f28edc683cebee2872962fd165a4d197c9e24ec74caa4470270df0b7",
    ),
    (
        ParameterSet::MlKem1024,
        "c3ffe9ebecfa479c142656cbfbc6417efa05b77e994fe538eef4daed166363df",
    ),
];

/// The same over 10 000 exchanges without the decapsulation keys: `TestAccumulated` of Go's
/// crypto/mlkem.
const ACCUMULATED_10_000: &str = "8a518cc63da366322a8e7a818c7a0d63483cb3528d34a4cf42f35d5ad73f22fc";

#[test]
fn a_hundred_exchanges_accumulate_to_the_published_values() {
    for (set, expected) in ACCUMULATED_100 {
        assert_eq!(accumulate(set, 100, Some(&oracle(set))), bytes32(expected));
    }
}

#[test]
fn ten_thousand_exchanges_accumulate_to_the_published_value() {
    let accumulated = accumulate(ParameterSet::MlKem768, 10_000, None);
    assert_eq!(accumulated, bytes32(ACCUMULATED_10_000));
}

/// `expanded` gives the decapsulation keys, where they are a part of what is accumulated.
fn accumulate(set: ParameterSet, exchanges: usize, expanded: Option<&Oracle>) -> [u8; 32] {
    let mut input = Shake128::default().finalize_xof();
    let mut output = Shake128::default();
    for _ in 0..exchanges {
        let mut seed = [0; 64];
        input.read(&mut seed);
        let mut m = [0; 32];
        input.read(&mut m);
        let mut stray = vec![0; set.ciphertext_len()];
        input.read(&mut stray);

        let (initiator, key) = Initiator::generate(set, &mut source(&seed)).unwrap();
        let (ciphertext, shared) = respond(set, &key, &mut source(&m)).unwrap();
        let finished = initiator.finish(&ciphertext).unwrap();
        assert_eq!(finished.expose(), shared.expose());
        let (initiator, _) = Initiator::generate(set, &mut source(&seed)).unwrap();
        let rejected = initiator.finish(&stray).unwrap();

        output.update(&key);
        if let Some(oracle) = expanded {
            let (d, z) = seed.split_at(32);
            let (_, key) = (oracle.key_pair)(d.try_into().unwrap(), z.try_into().unwrap());
            output.update(&key);
        }
        output.update(&ciphertext);
        output.update(shared.expose());
        output.update(rejected.expose());
    }
    let mut digest = [0; 32];
    output.finalize_xof().read(&mut digest);
    digest
}

proptest! {
    #[test]
    fn both_implementations_agree_in_every_part(
        set in prop::sample::select(&SETS[..]),
        d: [u8; 32],
        z: [u8; 32],
        m: [u8; 32],
        flip: prop::sample::Index,
        bit in 0_u8..8,
    ) {
        let oracle = oracle(set);
        let seed = [d, z].concat();
        let initiate = || Initiator::generate(set, &mut source(&seed)).unwrap();

        let (initiator, key) = initiate();
        let (their_key, their_decapsulation_key) = (oracle.key_pair)(d, z);
        prop_assert_eq!(&key, &their_key);
        prop_assert_eq!(key.len(), set.encapsulation_key_len());

        // We respond to them, they respond to us.
        let (ciphertext, shared) = respond(set, &their_key, &mut source(&m)).unwrap();
        let (their_ciphertext, their_shared) = (oracle.encapsulate)(&key, m);
        prop_assert_eq!(ciphertext.len(), set.ciphertext_len());
        prop_assert_eq!(&ciphertext, &their_ciphertext);
        prop_assert_eq!(shared.expose(), &their_shared);
        prop_assert_eq!((oracle.decapsulate)(&their_decapsulation_key, &ciphertext), their_shared);
        let finished = initiator.finish(&their_ciphertext).unwrap();
        prop_assert_eq!(finished.expose(), &their_shared);

        // One wrong bit: both reject in silence, to the same other secret.
        let mut damaged = ciphertext;
        let at = flip.index(damaged.len());
        damaged[at] ^= 1 << bit;
        let rejected = initiate().0.finish(&damaged).unwrap();
        prop_assert_ne!(rejected.expose(), &their_shared);
        let their_rejected = (oracle.decapsulate)(&their_decapsulation_key, &damaged);
        prop_assert_eq!(rejected.expose(), &their_rejected);
    }
}

#[test]
fn a_key_of_any_other_length_is_refused() {
    for set in SETS {
        let (_, key) = Initiator::generate(set, &mut source(&[7; 64])).unwrap();
        for len in (0..2 * key.len()).filter(|len| *len != key.len()) {
            let other = key.iter().copied().cycle().take(len).collect::<Vec<_>>();
            let refused = respond(set, &other, &mut source(&[1; 32]));
            assert!(matches!(refused, Err(KemError::EncapsulationKey)), "{len}");
        }
    }
}

#[test]
fn a_ciphertext_of_any_other_length_is_refused() {
    for set in SETS {
        let whole = vec![3; 2 * set.ciphertext_len()];
        for len in (0..whole.len()).filter(|len| *len != set.ciphertext_len()) {
            let (initiator, _) = Initiator::generate(set, &mut source(&[7; 64])).unwrap();
            let refused = initiator.finish(&whole[..len]);
            assert!(matches!(refused, Err(KemError::Ciphertext)), "{len}");
        }
    }
}

/// FIPS 203, 7.2, modulus check, at every coefficient.
#[test]
fn a_key_with_a_coefficient_that_is_not_reduced_is_refused() {
    const Q: u16 = 3329;
    for set in SETS {
        let (_, key) = Initiator::generate(set, &mut source(&[7; 64])).unwrap();
        let coefficients = (key.len() - 32) / 3 * 2;
        for at in 0..coefficients {
            for value in [Q, Q + 1, 0xfff] {
                let bad = with_coefficient(&key, at, value);
                let refused = respond(set, &bad, &mut source(&[1; 32]));
                assert!(matches!(refused, Err(KemError::EncapsulationKey)), "{at}");
            }
        }
        let good = with_coefficient(&key, coefficients - 1, Q - 1);
        assert!(respond(set, &good, &mut source(&[1; 32])).is_ok());
    }
}

/// Puts a 12-bit coefficient into its place (FIPS 203, 4.2.1: `ByteEncode12`).
fn with_coefficient(key: &[u8], at: usize, value: u16) -> Vec<u8> {
    let mut key = key.to_vec();
    let [low, high] = value.to_le_bytes();
    let pair = at / 2 * 3;
    if at.is_multiple_of(2) {
        key[pair] = low;
        key[pair + 1] = key[pair + 1] & 0xf0 | high;
    } else {
        key[pair + 1] = key[pair + 1] & 0x0f | low << 4;
        key[pair + 2] = high << 4 | low >> 4;
    }
    key
}

/// An entropy source that gives exactly these bytes.
fn source(bytes: &[u8]) -> impl FnMut(&mut [u8]) {
    let mut rest = bytes.to_vec();
    move |out| {
        out.copy_from_slice(&rest[..out.len()]);
        rest.drain(..out.len());
    }
}

fn bytes32(hex: &str) -> [u8; 32] {
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    core::array::from_fn(|at| digit(2 * at))
}
