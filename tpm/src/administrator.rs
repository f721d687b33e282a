//! The administrator of the endorsement hierarchy, as whom the device keys' policies are fulfilled;
//! his authorization value is empty on a gateway.

use tss_esapi::constants::CommandCode;
use tss_esapi::handles::AuthHandle;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{Digest, DigestList, Nonce};

use crate::device::{EMPTY, NONE, SessionKind, Tpm, TpmError};
use crate::template::{DeviceKey, Strength};

/// Does work in a session in which the administrator fulfils a key's policy, for this command or,
/// in the USER role, for any.
///
/// `branches` are those of the key's `TPM2_PolicyOR`, if it has one. The keys are used so even where
/// their empty value would do: a TPM takes a loss of power after the use of a value for a guess at
/// it, and after a few guesses it locks every key that has one.
pub(crate) fn as_administrator<T>(
    tpm: &mut Tpm,
    kind: SessionKind,
    command: Option<CommandCode>,
    branches: &[Vec<u8>],
    work: impl FnOnce(&mut Tpm, AuthSession) -> Result<T, TpmError>,
) -> Result<T, TpmError> {
    tpm.in_policy_session(kind, |tpm, session| {
        be_administrator(tpm, session)?;
        tpm.call("walk a key's policy", NONE, |context| {
            if let Some(command) = command {
                context.policy_command_code(session, command)?;
            }
            if branches.is_empty() {
                return Ok(());
            }
            let mut digests = DigestList::new();
            for branch in branches {
                digests.add(Digest::try_from(branch.as_slice())?)?;
            }
            context.policy_or(session, digests)
        })?;
        work(tpm, session.into())
    })
}

/// As [`as_administrator`], with the policy of one of the box's keys.
pub(crate) fn with_device_key<T>(
    tpm: &mut Tpm,
    strength: Strength,
    key: DeviceKey,
    command: Option<CommandCode>,
    work: impl FnOnce(&mut Tpm, AuthSession) -> Result<T, TpmError>,
) -> Result<T, TpmError> {
    let kind = SessionKind::policy(strength.hash());
    as_administrator(tpm, kind, command, &key.branches(strength), work)
}

/// `TPM2_PolicySecret` of the endorsement hierarchy.
fn be_administrator(tpm: &mut Tpm, session: PolicySession) -> Result<(), TpmError> {
    tpm.call("be the administrator", EMPTY, |context| {
        context.policy_secret(
            session,
            AuthHandle::Endorsement,
            Nonce::default(),
            Digest::default(),
            Nonce::default(),
            None,
        )
    })?;
    Ok(())
}
