//! The key that signs PCR 11 policies, and the policy of an `LDevID` key that rests on it.
//!
//! The image's maker signs which values of PCR 11 are good (`systemd-measure sign`). An `LDevID`
//! key is usable under `TPM2_PolicyAuthorize` by that key, followed by `TPM2_PolicyPCR` over PCR 7
//! as it was when the key was made: an unapproved boot cannot use it.

use base64ct::{Base64, Encoding as _};
use der::Decode as _;
use sha2::{Digest as _, Sha256};

use crate::quote::Digest;
use crate::structures::{
    Attributes, Curve, EccScheme, Hash, Key, Name, Public, RSA_ENCRYPTION, RsaPublicKey, RsaScheme,
    SubjectPublicKeyInfo, Symmetric,
};
use crate::verdict::{Class, Failure, Rule};

/// The most bytes of a PEM public key.
pub const PEM_MAX: usize = 2048;

/// The public key that PCR 11 policies are signed with: RSA, 2048 to 4096 bits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PcrSigningKey {
    public: Public,
    der: Vec<u8>,
}

/// Why a PEM file is no such key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PcrKeyError {
    /// Not one PEM block `PUBLIC KEY` (RFC 7468, 13).
    #[error("not a public key in PEM")]
    Pem,
    /// Not the DER of an RSA public key.
    #[error("not an RSA public key")]
    Key(#[source] der::Error),
    /// Another algorithm or another size.
    #[error("not an RSA public key of 2048, 3072 or 4096 bits")]
    Kind,
}

impl PcrSigningKey {
    /// Takes the PEM file that `systemd-measure` and `systemd-cryptenroll` take.
    ///
    /// # Errors
    ///
    /// [`PcrKeyError`] if it is no such key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, PcrKeyError> {
        Self::from_spki(&decode_pem(pem).ok_or(PcrKeyError::Pem)?)
    }

    /// Takes the DER `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    ///
    /// [`PcrKeyError`] if it is no such key.
    pub fn from_spki(der: &[u8]) -> Result<Self, PcrKeyError> {
        let spki = SubjectPublicKeyInfo::from_der(der).map_err(PcrKeyError::Key)?;
        if spki.algorithm.oid != RSA_ENCRYPTION {
            return Err(PcrKeyError::Kind);
        }
        let key = spki.key.as_bytes().ok_or(PcrKeyError::Kind)?;
        let key = RsaPublicKey::from_der(key).map_err(PcrKeyError::Key)?;
        let modulus = key.modulus.as_bytes();
        let bits = match modulus.len() {
            256 => 2048,
            384 => 3072,
            512 => 4096,
            _ => return Err(PcrKeyError::Kind),
        };
        let exponent = key
            .exponent
            .as_bytes()
            .iter()
            .try_fold(0_u32, |value, byte| {
                value.checked_mul(256)?.checked_add((*byte).into())
            });
        let public = Public {
            name_hash: Hash::Sha256,
            attributes: Attributes::USER_WITH_AUTH | Attributes::DECRYPT | Attributes::SIGN,
            auth_policy: Vec::new(),
            key: Key::Rsa {
                symmetric: Symmetric::Null,
                scheme: RsaScheme::Null,
                bits,
                exponent: exponent.ok_or(PcrKeyError::Kind)?,
                modulus: modulus.to_vec(),
            },
        };
        // A modulus with a leading zero bit has another size than its bytes say.
        Public::parse(&public.encode()).map_err(|_| PcrKeyError::Kind)?;
        let der = der.to_vec();
        Ok(Self { public, der })
    }

    /// The public area as systemd 252 loads the key with `TPM2_LoadExternal`: nameAlg SHA-256, no
    /// scheme, userWithAuth, decrypt and sign, the exponent written out.
    pub const fn public(&self) -> &Public {
        &self.public
    }

    /// The Name that the TPM gives the key when it is loaded so.
    pub fn name(&self) -> Name {
        self.public.name()
    }

    /// The DER `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> &[u8] {
        &self.der
    }

    /// The fingerprint in `tpm2-pcr-signature.json` (`pkfp`): SHA-256 of the DER
    /// `SubjectPublicKeyInfo`.
    pub fn fingerprint(&self) -> Digest {
        Sha256::digest(&self.der).into()
    }

    /// The same key in PEM, in one form.
    pub fn to_pem(&self) -> String {
        let mut pem = format!("{BEGIN}\n");
        let encoded = Base64::encode_string(&self.der);
        for line in encoded.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str(END);
        pem.push('\n');
        pem
    }
}

/// Computes `policyDigest` after `TPM2_PolicyPCR` over one PCR of the SHA-256 bank with `value`,
/// on top of `before` (Part 3, 23.7).
pub fn policy_pcr(before: &Digest, pcr: u8, value: &Digest) -> Digest {
    const CC_POLICY_PCR: u32 = 0x0000_017f;
    let selected = 1_u32.checked_shl(pcr.into()).unwrap_or(0);
    let [low, middle, high, _] = selected.to_le_bytes();
    Sha256::new()
        .chain_update(before)
        .chain_update(CC_POLICY_PCR.to_be_bytes())
        .chain_update(1_u32.to_be_bytes())
        .chain_update(Hash::Sha256.id().to_be_bytes())
        .chain_update([3, low, middle, high])
        .chain_update(Sha256::digest(value))
        .finalize()
        .into()
}

/// Computes `policyDigest` after `TPM2_PolicyAuthorize` by the key of this Name, with an empty
/// policyRef (Part 3, 23.16): what came before does not count.
pub fn policy_authorize(key: &Name) -> Digest {
    const CC_POLICY_AUTHORIZE: u32 = 0x0000_016a;
    let authorized = Sha256::new()
        .chain_update([0; 32])
        .chain_update(CC_POLICY_AUTHORIZE.to_be_bytes())
        .chain_update(&key.0)
        .finalize();
    Sha256::digest(authorized).into()
}

/// Computes the `authPolicy` of an `LDevID` key.
pub fn ldevid_policy(key: &Name, pcr7: &Digest) -> Digest {
    policy_pcr(&policy_authorize(key), 7, pcr7)
}

/// What every `LDevID` key has; `userWithAuth` is not among it, so that its policy is the only way
/// to use it.
pub const LDEVID_ATTRIBUTES: Attributes = Attributes(
    Attributes::FIXED_TPM.0
        | Attributes::FIXED_PARENT.0
        | Attributes::SENSITIVE_DATA_ORIGIN.0
        | Attributes::NO_DA.0
        | Attributes::SIGN.0,
);

/// Checks the public area of an `LDevID` key: what it is, and that only this boot's policy opens it.
///
/// # Errors
///
/// [`Failure`] by V5.
pub fn check_ldevid(public: &Public, key: &Name, pcr7: &Digest) -> Result<(), Failure> {
    let refused = |text: &str| Err(Failure::new(Rule::V5, Class::Identity, text));
    let right_key = matches!(
        public.key,
        Key::Ecc {
            symmetric: Symmetric::Null,
            scheme: EccScheme::Ecdsa(Hash::Sha256),
            curve: Curve::P256,
            ..
        }
    );
    if !right_key || public.name_hash != Hash::Sha256 {
        return refused("the LDevID is no key for ECDSA on P-256 with SHA-256");
    }
    if public.attributes != LDEVID_ATTRIBUTES {
        return refused("the LDevID has other attributes than it must");
    }
    if public.auth_policy != ldevid_policy(key, pcr7) {
        return refused("the LDevID has another policy than it must");
    }
    Ok(())
}

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

fn decode_pem(pem: &[u8]) -> Option<Vec<u8>> {
    let pem = core::str::from_utf8(Some(pem).filter(|pem| pem.len() <= PEM_MAX)?).ok()?;
    let body = pem.trim_end().strip_prefix(BEGIN)?.strip_suffix(END)?;
    let encoded: String = body.split_ascii_whitespace().collect();
    Base64::decode_vec(&encoded).ok()
}
