//! Credential activation: the proof that the attestation key and the endorsement key sit in one
//! TPM (TPM 2.0 Library, Part 1, 24).

use bartizan_model::identity::Credential;
use bartizan_secret::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tss_esapi::constants::{CommandCode, SessionType};
use tss_esapi::structures::{EncryptedSecret, IdObject};

use crate::administrator::{as_administrator, with_device_key};
use crate::device::{SessionKind, Tpm, TpmError, code, wrong_value};
use crate::keys::{DeviceKeys, with_endorsement};
use crate::template::{DeviceKey, EndorsementKind};

/// Opens a credential for the attestation key and proves it: HMAC-SHA-256 under its secret over
/// `context`. The secret leaves neither the TPM's session in the clear nor this function.
///
/// # Errors
///
/// [`TpmError::Refused`] with `TPM_RC_SIZE` if it is no credential, else what the TPM says.
pub(crate) fn activate(
    tpm: &mut Tpm,
    keys: &DeviceKeys,
    endorsement: EndorsementKind,
    credential: &Credential,
    context: &[u8; 32],
) -> Result<[u8; 32], TpmError> {
    let blob = sized(&credential.blob)?;
    let encrypted = sized(&credential.secret)?;
    let strength = keys.strength;
    let (key, command) = (
        DeviceKey::Attestation,
        Some(CommandCode::ActivateCredential),
    );
    let secret = with_endorsement(tpm, endorsement, |tpm, endorsement_key| {
        with_device_key(tpm, strength, key, command, |tpm, activator| {
            // What goes through this session is encrypted to the endorsement key.
            let kind = SessionKind {
                kind: SessionType::Policy,
                hash: endorsement.hash(),
                salt: Some(endorsement_key.key),
            };
            let branches = endorsement.branches();
            as_administrator(tpm, kind, None, &branches, |tpm, opener| {
                let sessions = (Some(activator), Some(opener), None);
                let secret = tpm.call("activate a credential", sessions, |tss| {
                    tss.activate_credential(
                        keys.attestation.key,
                        endorsement_key.key,
                        IdObject::try_from(blob)?,
                        EncryptedSecret::try_from(encrypted)?,
                    )
                })?;
                // The library's copy is wiped when it is dropped, here.
                Ok(Secret::from_fn(secret.value().len(), |slot| {
                    slot.copy_from_slice(secret.value());
                })?)
            })
        })
    })?;
    prove(&secret, context)
}

fn prove(secret: &Secret, context: &[u8; 32]) -> Result<[u8; 32], TpmError> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose());
    let mac = mac.map_err(|_| TpmError::Lost {
        command: "prove a credential",
        cause: wrong_value(),
    })?;
    Ok(mac.chain_update(context).finalize().into_bytes().into())
}

/// The content of a `TPM2B`, with nothing after it.
fn sized(bytes: &[u8]) -> Result<Vec<u8>, TpmError> {
    let content = bytes
        .split_first_chunk()
        .filter(|(length, content)| usize::from(u16::from_be_bytes(**length)) == content.len());
    match content {
        Some((_length, content)) if !content.is_empty() => Ok(content.to_vec()),
        _ => Err(TpmError::Refused {
            command: "activate a credential",
            code: code::SIZE,
        }),
    }
}
