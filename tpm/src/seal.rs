//! Secrets that only an approved boot of this box gets back: the key of its `/var`.
//!
//! The policy is that of the LDevID key: PCR 11 as signed, PCR 7 as it was. The secret passes the
//! TPM's bus encrypted to the storage root.

use bartizan_secret::Secret;
use tss_esapi::constants::SessionType;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{Private, Public, SensitiveData};
use tss_esapi::traits::{Marshall as _, UnMarshall as _};

use crate::device::{EMPTY, SessionKind, Tpm, TpmError, code, wrong_value};
use crate::keys::with_storage;
use crate::ldevid::boot_policy;
use crate::measured::Measured;
use crate::template::sealed;

/// A secret that is encrypted by the TPM, for this TPM.
#[derive(Clone, Debug)]
pub struct Sealed {
    private: Private,
    public: Public,
}

impl Sealed {
    /// Seals a secret under the policy of this boot.
    ///
    /// # Errors
    ///
    /// [`TpmError::Refused`] with `TPM_RC_POLICY_FAIL` if nobody approved this boot, else what the
    /// TPM says.
    pub fn seal(tpm: &mut Tpm, measured: &Measured, secret: &Secret) -> Result<Self, TpmError> {
        let policy = boot_policy(tpm, measured)?;
        let template = sealed(&policy).public()?;
        with_storage(tpm, |tpm, root| {
            let session = SessionKind {
                kind: SessionType::Hmac,
                hash: HashingAlgorithm::Sha256,
                salt: Some(root.key),
            };
            tpm.in_session(session, |tpm, session| {
                let made = tpm.call("seal a secret", (Some(session), None, None), |context| {
                    let secret = SensitiveData::try_from(secret.expose())?;
                    context.create(root.key, template, None, Some(secret), None, None)
                })?;
                Ok(Self {
                    private: made.out_private,
                    public: made.out_public,
                })
            })
        })
    }

    /// The sealed secret for a file: `TPM2B_PRIVATE`, then `TPMT_PUBLIC`.
    ///
    /// # Errors
    ///
    /// [`TpmError::Lost`] if the library cannot encode it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TpmError> {
        let broken = |cause| TpmError::of("encode a sealed secret", cause);
        let private = self.private.value();
        let length = u16::try_from(private.len()).map_err(|_| broken(wrong_value()))?;
        let public = self.public.marshall().map_err(broken)?;
        Ok([&length.to_be_bytes(), private, &public].concat())
    }

    /// Reads what [`Sealed::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// [`TpmError::Refused`] with `TPM_RC_SIZE` if it is none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TpmError> {
        let none = || TpmError::Refused {
            command: "take a sealed secret",
            code: code::SIZE,
        };
        let (length, rest) = bytes.split_first_chunk().ok_or_else(none)?;
        let length = u16::from_be_bytes(*length).into();
        let (private, public) = rest.split_at_checked(length).ok_or_else(none)?;
        Ok(Self {
            private: Private::try_from(private).map_err(|_| none())?,
            public: Public::unmarshall(public).map_err(|_| none())?,
        })
    }

    /// Gives the secret back.
    ///
    /// # Errors
    ///
    /// [`TpmError::Refused`] with `TPM_RC_POLICY_FAIL` if this boot may not have it, else what the
    /// TPM says.
    pub fn unseal(&self, tpm: &mut Tpm, measured: &Measured) -> Result<Secret, TpmError> {
        with_storage(tpm, |tpm, root| {
            let object = tpm.call("load a sealed secret", EMPTY, |context| {
                context.load(root.key, self.private.clone(), self.public.clone())
            })?;
            tpm.holding(object.into(), |tpm| {
                let session = SessionKind {
                    kind: SessionType::Policy,
                    hash: HashingAlgorithm::Sha256,
                    salt: Some(root.key),
                };
                tpm.in_policy_session(session, |tpm, session| {
                    measured.approve(tpm, session)?;
                    let sessions = (Some(session.into()), None, None);
                    let secret = tpm.call("unseal a secret", sessions, |context| {
                        context.unseal(object.into())
                    })?;
                    Ok(Secret::from_fn(secret.value().len(), |slot| {
                        slot.copy_from_slice(secret.value());
                    })?)
                })
            })
        })
    }
}
