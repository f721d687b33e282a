//! What a TPM signed, checked: quotes (V1, V2, V3, V4, V5, V7) and certified keys.
//!
//! The certificates behind the keys, and who may use a nonce when, are the verifier's to check.

use std::collections::BTreeMap;

use bartizan_model::identity::{Certified, PcrSelection, Quoted};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;

use crate::structures::{
    Attest, Attributes, Body, ClockInfo, Curve, EccScheme, EcdsaSignature, Hash, KIND, Key, MAGIC,
    Public, QuoteInfo, Selection, StructureError, Symmetric,
};
use crate::verdict::{Class, Failure, Rule};

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// An attestation key that may attest: what rule V4 asks of it was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttestationKey {
    public: Public,
    curve: Curve,
}

/// A verified quote.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Quote {
    clock: ClockInfo,
    firmware_version: u64,
    pcrs: BTreeMap<u8, Digest>,
}

impl AttestationKey {
    /// Takes an attestation key by its `TPMT_PUBLIC`.
    ///
    /// # Errors
    ///
    /// [`Failure`] by V14 if it is none, by V4 if a TPM did not make it, may let it go, or would
    /// let it sign what it did not say itself.
    pub fn parse(public: &[u8]) -> Result<Self, Failure> {
        let public =
            Public::parse(public).map_err(|error| sha1_or("the attestation key", &error))?;
        let refused = |text: &str| Failure::new(Rule::V4, Class::Identity, text);
        let Key::Ecc {
            symmetric: Symmetric::Null,
            scheme,
            curve,
            ..
        } = public.key
        else {
            return Err(refused("the attestation key is no ECC signing key"));
        };
        for (attribute, name) in [
            (Attributes::FIXED_TPM, "fixedTPM"),
            (Attributes::FIXED_PARENT, "fixedParent"),
            (Attributes::SENSITIVE_DATA_ORIGIN, "sensitiveDataOrigin"),
            (Attributes::RESTRICTED, "restricted"),
            (Attributes::SIGN, "sign"),
        ] {
            if !public.attributes.contains(attribute) {
                return Err(refused(&format!("the attestation key is not {name}")));
            }
        }
        for (attribute, name) in [
            (Attributes::DECRYPT, "decrypts"),
            (Attributes::ST_CLEAR, "is stClear"),
            (Attributes::ENCRYPTED_DUPLICATION, "may be duplicated"),
        ] {
            if public.attributes.contains(attribute) {
                return Err(refused(&format!("the attestation key {name}")));
            }
        }
        match scheme {
            EccScheme::Ecdsa(Hash::Sha256 | Hash::Sha384) => {}
            EccScheme::Ecdsa(Hash::Sha512) | EccScheme::Ecdh(_) | EccScheme::Null => {
                return Err(refused(
                    "the attestation key has no scheme of ECDSA with SHA-256 or SHA-384",
                ));
            }
        }
        Ok(Self { public, curve })
    }

    /// Its public area.
    pub const fn public(&self) -> &Public {
        &self.public
    }

    /// Checks the signature over `attest` and parses it.
    fn open(&self, attest: &[u8], signature: &[u8]) -> Result<Attest, Failure> {
        let wrong = |text: &str| Failure::new(Rule::V4, Class::Identity, text);
        let signature =
            EcdsaSignature::parse(signature).map_err(|error| sha1_or("the signature", &error))?;
        if !matches!(self.public.key, Key::Ecc { scheme: EccScheme::Ecdsa(hash), .. } if hash == signature.hash)
        {
            return Err(wrong(
                "the signature has another hash than the attestation key",
            ));
        }
        let signed = signature.hash.digest(&[attest]);
        let verified = self.point().is_some_and(|point| {
            signature
                .fixed(self.curve.width())
                .is_some_and(|fixed| verifies(self.curve, &point, &signed, &fixed))
        });
        if !verified {
            return Err(wrong("the signature is not of the attestation key"));
        }
        let attest = Attest::parse(attest).map_err(|error| magic_or("the attestation", &error))?;
        if attest.signer != self.public.name().under_endorsement(self.public.name_hash) {
            return Err(Failure::new(
                Rule::V5,
                Class::Identity,
                "the attestation key is no primary of the endorsement hierarchy",
            ));
        }
        Ok(attest)
    }

    fn point(&self) -> Option<Vec<u8>> {
        self.public.point()
    }
}

impl Quote {
    /// Verifies a quote of exactly `selection`, with exactly `qualifying` in it.
    ///
    /// # Errors
    ///
    /// [`Failure`] by V1, V2, V3, V4, V5, V7 or V14: the first found, in the order in which bytes
    /// are trusted.
    pub fn verify(
        quoted: &Quoted,
        ak: &AttestationKey,
        qualifying: &[u8],
        selection: PcrSelection,
    ) -> Result<Self, Failure> {
        let attest = ak.open(&quoted.attest, &quoted.signature)?;
        let Body::Quote(info) = &attest.body else {
            return Err(Failure::new(
                Rule::V1,
                Class::Evidence,
                "the attestation is no quote",
            ));
        };
        check_qualifying(&attest, qualifying)?;
        check_selection(info, selection)?;
        let pcrs = check_values(quoted, info, selection, ak)?;
        Ok(Self {
            clock: attest.clock,
            firmware_version: attest.firmware_version,
            pcrs,
        })
    }

    /// The TPM's clock when it signed.
    pub const fn clock(&self) -> ClockInfo {
        self.clock
    }

    /// The TPM's firmware when it signed.
    pub const fn firmware_version(&self) -> u64 {
        self.firmware_version
    }

    /// The quoted PCRs of the SHA-256 bank.
    pub const fn pcrs(&self) -> &BTreeMap<u8, Digest> {
        &self.pcrs
    }
}

/// Verifies the attestation key's word on another key of its TPM, and returns that key.
///
/// # Errors
///
/// [`Failure`] by V1, V4, V5, V7 or V14.
pub fn verify_certified(
    certified: &Certified,
    ak: &AttestationKey,
    qualifying: &[u8],
) -> Result<Public, Failure> {
    let attest = ak.open(&certified.attest, &certified.signature)?;
    let Body::Certify(info) = &attest.body else {
        return Err(Failure::new(
            Rule::V1,
            Class::Evidence,
            "the attestation is no certification",
        ));
    };
    check_qualifying(&attest, qualifying)?;
    let public = Public::parse(&certified.public)
        .map_err(|error| Failure::malformed("the certified key", &error))?;
    if info.name != public.name() {
        return Err(Failure::new(
            Rule::V5,
            Class::Identity,
            "the certification is of another key",
        ));
    }
    Ok(public)
}

fn check_qualifying(attest: &Attest, qualifying: &[u8]) -> Result<(), Failure> {
    if attest.extra_data == qualifying {
        return Ok(());
    }
    Err(Failure::new(
        Rule::V7,
        Class::Evidence,
        "the attestation is for another nonce, session or purpose",
    ))
}

fn check_selection(info: &QuoteInfo, expected: PcrSelection) -> Result<(), Failure> {
    let expected = Selection {
        bank: Some(Hash::Sha256),
        pcrs: expected.0,
    };
    if info.selections == [expected] {
        return Ok(());
    }
    Err(Failure::new(
        Rule::V2,
        Class::Evidence,
        format!(
            "other PCRs are quoted than asked for: {:x?}",
            info.selections
        ),
    ))
}

fn check_values(
    quoted: &Quoted,
    info: &QuoteInfo,
    selection: PcrSelection,
    ak: &AttestationKey,
) -> Result<BTreeMap<u8, Digest>, Failure> {
    let refused = |text: &str| Failure::new(Rule::V3, Class::Evidence, text);
    let selected =
        (0_u8..32).filter(|pcr| selection.0.checked_shr((*pcr).into()).unwrap_or(0) & 1 == 1);
    if !quoted.pcrs.iter().map(|(pcr, _)| *pcr).eq(selected) {
        return Err(refused("the values are not those of the quoted PCRs"));
    }
    let values: Vec<&[u8]> = quoted.pcrs.iter().map(|(_, value)| &value[..]).collect();
    let hash = match ak.public.key {
        Key::Ecc {
            scheme: EccScheme::Ecdsa(hash),
            ..
        } => hash,
        Key::Ecc { .. } | Key::Rsa { .. } => return Err(refused("no hash to compare by")),
    };
    if hash.digest(&values) != info.digest {
        return Err(refused("the values are not those that were signed"));
    }
    Ok(quoted.pcrs.iter().copied().collect())
}

fn verifies(curve: Curve, point: &[u8], digest: &[u8], signature: &[u8]) -> bool {
    match curve {
        Curve::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(point).is_ok_and(|key| {
            p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok())
        }),
        Curve::P384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(point).is_ok_and(|key| {
            p384::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok())
        }),
    }
}

/// The id of SHA-1, the value for which a hash is not merely unknown.
const SHA1: u64 = 0x0004;

/// V4 where SHA-1 was found in the place of a hash, V14 for anything else.
fn sha1_or(what: &str, error: &StructureError) -> Failure {
    if matches!(error, StructureError::Value { field, value: SHA1 } if field.ends_with("hash")) {
        return Failure::new(Rule::V4, Class::Identity, format!("{what} rests on SHA-1"));
    }
    Failure::malformed(what, error)
}

/// V1 where the magic or the type is wrong, V14 for anything else.
fn magic_or(what: &str, error: &StructureError) -> Failure {
    match error {
        StructureError::Value {
            field: MAGIC | KIND,
            ..
        } => Failure::new(Rule::V1, Class::Evidence, format!("{what}: {error}")),
        StructureError::Value { .. }
        | StructureError::Truncated(_)
        | StructureError::Trailing(_)
        | StructureError::Length { .. } => Failure::malformed(what, error),
    }
}
