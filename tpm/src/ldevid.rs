//! The LDevID key: made in the TPM, kept in the TPM, used in the TPM.
//!
//! In this round it is used with an empty authorization value. With attested enrolment it gets a
//! policy (PCR 11 as signed, PCR 7 as enrolled) and `userWithAuth` is cleared.

use der::Encode as _;
use der::asn1::UintRef;
use tss_esapi::attributes::{ObjectAttributes, ObjectAttributesBuilder};
use tss_esapi::constants::CapabilityType;
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::handles::{KeyHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::{Hierarchy, Provision};
use tss_esapi::structures::{
    CapabilityData, Digest, EccPoint, EccScheme, HashScheme, HashcheckTicket, Public,
    PublicBuilder, PublicEccParameters, PublicEccParametersBuilder, Signature, SignatureScheme,
    SymmetricDefinitionObject,
};
use tss_esapi::tss2_esys::{TPM2B_DIGEST, TPMT_TK_HASHCHECK};
use tss_esapi::{Context, Error, Result as TssResult, WrapperErrorKind};

use crate::device::{Tpm, TpmError};

/// The LDevID key, ready to sign.
#[derive(Debug)]
pub struct Ldevid {
    key: KeyHandle,
    public_key: Vec<u8>,
}

impl Ldevid {
    /// Makes the key in the TPM and lets it stand at its handle: for provisioning, never by a
    /// running gateway.
    ///
    /// # Errors
    ///
    /// [`TpmError::LdevidStands`] if there is one; else what the TPM says.
    pub fn create(tpm: &mut Tpm) -> Result<Self, TpmError> {
        match Self::open(tpm) {
            Err(TpmError::NoLdevid) => {}
            Ok(_) | Err(TpmError::ForeignKey) => return Err(TpmError::LdevidStands),
            Err(error) => return Err(error),
        }
        tpm.authorized("create the LDevID key", |context| {
            let storage = storage_public()?;
            let root = context.create_primary(Hierarchy::Owner, storage, None, None, None, None)?;
            let root = root.key_handle;
            // Whatever happens, neither of the two slots stays taken.
            context.execute_with_temporary_object(root.into(), |context, _| {
                let key = context.create(root, ldevid_public()?, None, None, None, None)?;
                let key = context.load(root, key.out_private, key.out_public)?;
                context.execute_with_temporary_object(key.into(), |context, key| {
                    let handle = Persistent::Persistent(PersistentTpmHandle::new(HANDLE)?);
                    context.evict_control(Provision::Owner, key, handle)
                })
            })
        })?;
        Self::open(tpm)
    }

    /// Finds the key at its handle.
    ///
    /// # Errors
    ///
    /// [`TpmError::NoLdevid`], [`TpmError::ForeignKey`], or what the TPM says.
    pub fn open(tpm: &mut Tpm) -> Result<Self, TpmError> {
        let key = tpm.open_to_all("find the LDevID key", |context| {
            let handle = PersistentTpmHandle::new(HANDLE)?;
            let handle = TpmHandle::Persistent(handle);
            let (stands, _more) = context.get_capability(CapabilityType::Handles, HANDLE, 1)?;
            // The list begins with the first handle that is not lower.
            if let CapabilityData::Handles(stands) = stands
                && stands.contains(&handle)
            {
                context.tr_from_tpm_public(handle).map(Some)
            } else {
                Ok(None)
            }
        })?;
        let key = KeyHandle::from(key.ok_or(TpmError::NoLdevid)?);
        let (public, ..) = tpm.open_to_all("read the LDevID key's public area", |context| {
            context.read_public(key)
        })?;
        let public_key = spki(&public).ok_or(TpmError::ForeignKey)?;
        Ok(Self { key, public_key })
    }

    /// The public half, as a DER `SubjectPublicKeyInfo` (RFC 5480).
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Signs a SHA-256 digest; returns a DER `Ecdsa-Sig-Value` (RFC 3279, 2.2.3).
    ///
    /// # Errors
    ///
    /// What the TPM says.
    pub fn sign(&self, tpm: &mut Tpm, digest: &[u8]) -> Result<Vec<u8>, TpmError> {
        tpm.authorized("sign", |context| sign(context, self.key, digest))
    }
}

/// In the owner's range of persistent handles.
const HANDLE: u32 = 0x8100_8001;

/// DER of a `SubjectPublicKeyInfo` for P-256, up to the point's coordinates (RFC 5480, 2).
const SPKI_HEAD: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// Bytes of a coordinate of P-256.
const COORDINATE: usize = 32;

/// Signs, and fixed to this TPM and this parent, and nothing else.
///
/// `noDA`: there is no value to guess, and with it clear every loss of power after a signature
/// would count as a guess, until the TPM locks the key.
fn ldevid_attributes() -> TssResult<ObjectAttributes> {
    ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_sign_encrypt(true)
        .build()
}

fn ldevid_parameters() -> TssResult<PublicEccParameters> {
    PublicEccParametersBuilder::new_unrestricted_signing_key(
        EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha256)),
        EccCurve::NistP256,
    )
    .build()
}

fn ldevid_public() -> TssResult<Public> {
    ecc_public(ldevid_attributes()?, ldevid_parameters()?)
}

/// The storage root above it (TCG TPM v2.0 Provisioning Guidance, 7.5.1).
fn storage_public() -> TssResult<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_restricted(true)
        .with_decrypt(true)
        .build()?;
    let parameters = PublicEccParametersBuilder::new_restricted_decryption_key(
        SymmetricDefinitionObject::AES_128_CFB,
        EccCurve::NistP256,
    )
    .build()?;
    ecc_public(attributes, parameters)
}

fn ecc_public(attributes: ObjectAttributes, parameters: PublicEccParameters) -> TssResult<Public> {
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(parameters)
        .with_ecc_unique_identifier(EccPoint::default())
        .build()
}

/// The public key of an LDevID key; `None` for a key of any other template.
fn spki(public: &Public) -> Option<Vec<u8>> {
    let Public::Ecc {
        object_attributes,
        name_hashing_algorithm: HashingAlgorithm::Sha256,
        auth_policy,
        parameters,
        unique,
    } = public
    else {
        return None;
    };
    let ours = *object_attributes == ldevid_attributes().ok()?
        && *parameters == ldevid_parameters().ok()?
        && auth_policy.value().is_empty();
    if !ours {
        return None;
    }
    let mut spki = SPKI_HEAD.to_vec();
    for coordinate in [unique.x(), unique.y()] {
        // A TPM may leave leading zeros out.
        let missing = COORDINATE.checked_sub(coordinate.value().len())?;
        spki.extend(std::iter::repeat_n(0, missing));
        spki.extend(coordinate.value());
    }
    Some(spki)
}

fn sign(context: &mut Context, key: KeyHandle, digest: &[u8]) -> TssResult<Vec<u8>> {
    // The key is unrestricted: it signs a digest that the TPM has not computed.
    let no_ticket = HashcheckTicket::try_from(TPMT_TK_HASHCHECK {
        tag: TPM2_ST_HASHCHECK,
        hierarchy: TPM2_RH_NULL,
        digest: TPM2B_DIGEST::default(),
    })?;
    let scheme = SignatureScheme::EcDsa {
        hash_scheme: HashScheme::new(HashingAlgorithm::Sha256),
    };
    let digest = Digest::try_from(digest)?;
    let Signature::EcDsa(signature) = context.sign(key, digest, scheme, no_ticket)? else {
        return Err(wrong_value());
    };
    let r = UintRef::new(signature.signature_r().value());
    let s = UintRef::new(signature.signature_s().value());
    r.and_then(|r| [r, s?].to_der()).map_err(|_| wrong_value())
}

fn wrong_value() -> Error {
    Error::WrapperError(WrapperErrorKind::WrongValueFromTpm)
}
