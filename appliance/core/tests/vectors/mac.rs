//! HMAC-SHA-384 against RFC 4231, and HKDF-SHA-384: the library and the plain one of these tests.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use sha2::Sha384;

use crate::plain::{self, hex};

/// RFC 4231, 4.2 to 4.8 without 4.6 (which is cut): key, data, HMAC-SHA-384.
fn rfc_4231() -> [(Vec<u8>, Vec<u8>, &'static str); 6] {
    [
        (
            vec![0x0b; 20],
            b"Hi There".to_vec(),
            "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c\
             faea9ea9076ede7f4af152e8b2fa9cb6",
        ),
        (
            b"Jefe".to_vec(),
            b"what do ya want for nothing?".to_vec(),
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e\
             8e2240ca5e69e2c78b3239ecfab21649",
        ),
        (
            vec![0xaa; 20],
            vec![0xdd; 50],
            "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b\
             2a5ab39dc13814b94e3ab6e101a34f27",
        ),
        (
            (1..=25).collect(),
            vec![0xcd; 50],
            "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e\
             6801dd23c4a7d679ccf8a386c674cffb",
        ),
        (
            vec![0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
            "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6\
             0c2ef6ab4030fe8296248df163f44952",
        ),
        (
            vec![0xaa; 131],
            b"This is a test using a larger than block-size key and a larger than block-size \
              data. The key needs to be hashed before being used by the HMAC algorithm."
                .to_vec(),
            "6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5\
             a678cc31e799176d3860e6110c46523e",
        ),
    ]
}

#[test]
fn hmac_gives_the_values_of_rfc_4231() {
    for (key, data, expected) in rfc_4231() {
        let mut mac = Hmac::<Sha384>::new_from_slice(&key).unwrap();
        mac.update(&data);
        assert_eq!(hex(&mac.finalize().into_bytes()), expected);
        assert_eq!(hex(&plain::hmac(&key, &data)), expected);
    }
}

proptest! {
    #[test]
    fn hkdf_is_what_rfc_5869_says(
        salt in prop::collection::vec(any::<u8>(), 0..200),
        ikm in prop::collection::vec(any::<u8>(), 0..200),
        info in prop::collection::vec(any::<u8>(), 0..200),
        len in 0_usize..200,
    ) {
        let (prk, hkdf) = Hkdf::<Sha384>::extract(Some(&salt), &ikm);
        prop_assert_eq!(prk.to_vec(), plain::hmac(&salt, &ikm));
        let mut key = vec![0; len];
        hkdf.expand(&info, &mut key).unwrap();
        prop_assert_eq!(key, plain::hkdf_expand(&prk, &info, len));
    }
}
