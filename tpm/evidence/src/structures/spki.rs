//! Public keys as certificates carry them: DER `SubjectPublicKeyInfo` (RFC 5480, 2; RFC 3279, 2.3.1).

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::{Encode as _, Sequence};

use super::parameters::Curve;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
pub(crate) const RSA_ENCRYPTION: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

#[derive(Sequence)]
pub(crate) struct SubjectPublicKeyInfo<'a> {
    pub(crate) algorithm: AlgorithmIdentifier<'a>,
    pub(crate) key: BitStringRef<'a>,
}

#[derive(Sequence)]
pub(crate) struct AlgorithmIdentifier<'a> {
    pub(crate) oid: ObjectIdentifier,
    pub(crate) parameters: AnyRef<'a>,
}

#[derive(Sequence)]
pub(crate) struct RsaPublicKey<'a> {
    pub(crate) modulus: UintRef<'a>,
    pub(crate) exponent: UintRef<'a>,
}

/// What an exponent of 0 stands for (Part 2, 12.2.3.5).
const DEFAULT_EXPONENT: u32 = 65_537;

pub(super) fn ecc_spki(curve: Curve, point: &[u8]) -> Vec<u8> {
    let curve = match curve {
        Curve::P256 => SECP256R1,
        Curve::P384 => SECP384R1,
    };
    spki(EC_PUBLIC_KEY, AnyRef::from(&curve), point)
}

pub(super) fn rsa_spki(modulus: &[u8], exponent: u32) -> Vec<u8> {
    let exponent = match exponent {
        0 => DEFAULT_EXPONENT,
        other => other,
    };
    let exponent = exponent.to_be_bytes();
    let key = UintRef::new(modulus).and_then(|modulus| {
        let exponent = UintRef::new(&exponent)?;
        RsaPublicKey { modulus, exponent }.to_der()
    });
    spki(RSA_ENCRYPTION, AnyRef::NULL, &key.unwrap_or_default())
}

/// A key of these few hundred bytes always has an encoding; an empty one matches nothing.
fn spki(oid: ObjectIdentifier, parameters: AnyRef<'_>, key: &[u8]) -> Vec<u8> {
    BitStringRef::from_bytes(key)
        .and_then(|key| {
            let algorithm = AlgorithmIdentifier { oid, parameters };
            SubjectPublicKeyInfo { algorithm, key }.to_der()
        })
        .unwrap_or_default()
}
