//! The LDevID key: made in the TPM, kept in the TPM, used in the TPM, and only by an approved boot.
//!
//! Its policy is `TPM2_PolicyAuthorize` by the key that signs PCR 11 policies, then
//! `TPM2_PolicyPCR` over PCR 7 as it was when the key was made. There is no password: an empty one
//! opens nothing.

use bartizan_evidence::structures::Public as Checked;
use bartizan_model::identity::{Certified, LdevidFound};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Data, Private, Public, SignatureScheme};
use tss_esapi::traits::Marshall as _;

use crate::administrator::with_device_key;
use crate::device::{EMPTY, NONE, SessionKind, Tpm, TpmError, code};
use crate::floor;
use crate::keys::{DeviceKeys, Standing, evict, forget, persist, standing, with_storage};
use crate::measured::Measured;
use crate::sign::sign;
use crate::template::{DeviceKey, Strength, ldevid};

/// The LDevID key, at its handle.
#[derive(Debug)]
pub struct Ldevid {
    standing: Standing,
    public_key: Vec<u8>,
    /// Its `authPolicy`.
    policy: Vec<u8>,
}

/// A new LDevID key that does not stand at its handle yet: encrypted by the TPM, for this TPM.
#[derive(Debug)]
pub struct Fresh {
    private: Private,
    public: Public,
}

impl Fresh {
    /// Makes a key under the policy of this boot.
    ///
    /// # Errors
    ///
    /// [`TpmError::Refused`] with `TPM_RC_POLICY_FAIL` if nobody approved this boot, else what the
    /// TPM says.
    pub fn create(tpm: &mut Tpm, measured: &Measured) -> Result<Self, TpmError> {
        let policy = boot_policy(tpm, measured)?;
        let template = ldevid(&policy).public()?;
        with_storage(tpm, |tpm, root| {
            let made = tpm.call("make the LDevID key", EMPTY, |context| {
                context.create(root.key, template, None, None, None, None)
            })?;
            Ok(Self {
                private: made.out_private,
                public: made.out_public,
            })
        })
    }

    /// Has the attestation key say that the key sits in the same TPM (`TPM2_Certify`).
    ///
    /// # Errors
    ///
    /// What the TPM says.
    pub fn certify(
        &self,
        tpm: &mut Tpm,
        keys: &DeviceKeys,
        qualifying: &[u8],
    ) -> Result<Certified, TpmError> {
        let (attest, signature) = self.loaded(tpm, |tpm, key| {
            let (strength, signer) = (keys.strength, DeviceKey::Attestation);
            with_device_key(tpm, strength, signer, None, |tpm, signer| {
                // The new key's own part is the ADMIN role, which its empty value plays.
                let sessions = (Some(AuthSession::Password), Some(signer), None);
                tpm.call("certify the LDevID key", sessions, |context| {
                    let (attest, signature) = context.certify(
                        key.into(),
                        keys.attestation.key,
                        Data::try_from(qualifying)?,
                        SignatureScheme::Null,
                    )?;
                    Ok((attest.marshall()?, signature.marshall()?))
                })
            })
        })?;
        let public = self.public.marshall();
        Ok(Certified {
            public: public.map_err(|cause| TpmError::of("certify the LDevID key", cause))?,
            attest,
            signature,
        })
    }

    /// Lets the key stand at its handle.
    ///
    /// # Errors
    ///
    /// [`TpmError::LdevidStands`] if something stands there, else what the TPM says.
    pub fn keep(&self, tpm: &mut Tpm) -> Result<Ldevid, TpmError> {
        if let Some(other) = standing(tpm, HANDLE)? {
            forget(tpm, &other)?;
            return Err(TpmError::LdevidStands);
        }
        self.loaded(tpm, |tpm, key| persist(tpm, key, HANDLE))?;
        Ldevid::open(tpm)
    }

    fn loaded<T>(
        &self,
        tpm: &mut Tpm,
        work: impl FnOnce(&mut Tpm, tss_esapi::handles::KeyHandle) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        with_storage(tpm, |tpm, root| {
            let key = tpm.call("load the LDevID key", EMPTY, |context| {
                context.load(root.key, self.private.clone(), self.public.clone())
            })?;
            tpm.holding(key.into(), |tpm| work(tpm, key))
        })
    }
}

impl Ldevid {
    /// Makes the key under the policy of this boot and lets it stand at its handle, with every floor
    /// beside it: for provisioning; a running gateway asks its registrar in between.
    ///
    /// # Errors
    ///
    /// Those of [`Fresh::create`] and [`Fresh::keep`].
    pub fn create(tpm: &mut Tpm, measured: &Measured) -> Result<Self, TpmError> {
        let fresh = Fresh::create(tpm, measured)?;
        floor::complete(tpm)?;
        fresh.keep(tpm)
    }

    /// Finds the key at its handle.
    ///
    /// # Errors
    ///
    /// [`TpmError::NoLdevid`], [`TpmError::ForeignKey`], or what the TPM says.
    pub fn open(tpm: &mut Tpm) -> Result<Self, TpmError> {
        let standing = standing(tpm, HANDLE)?.ok_or(TpmError::NoLdevid)?;
        let checked = Checked::parse(&standing.public).map_err(|_| TpmError::ForeignKey)?;
        let policy = checked.auth_policy.clone();
        if policy.len() != 32 || !ldevid(&policy).made(&standing.public) {
            return Err(TpmError::ForeignKey);
        }
        Ok(Self {
            standing,
            public_key: checked.spki(),
            policy,
        })
    }

    /// Says whether this boot may use the key, without using it.
    ///
    /// # Errors
    ///
    /// What the TPM says.
    pub fn found(&self, tpm: &mut Tpm, measured: &Measured) -> Result<LdevidFound, TpmError> {
        match boot_policy(tpm, measured) {
            Ok(policy) if policy == self.policy => Ok(LdevidFound::Usable),
            Ok(_) | Err(TpmError::Refused { .. }) => Ok(LdevidFound::Unusable),
            Err(error) => Err(error),
        }
    }

    /// The public half, as a DER `SubjectPublicKeyInfo` (RFC 5480).
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Signs a SHA-256 digest; returns a DER `Ecdsa-Sig-Value` (RFC 3279, 2.2.3).
    ///
    /// # Errors
    ///
    /// [`TpmError::Refused`] with `TPM_RC_POLICY_FAIL` if this boot may not, else what the TPM says.
    pub fn sign(
        &self,
        tpm: &mut Tpm,
        measured: &Measured,
        digest: &[u8],
    ) -> Result<Vec<u8>, TpmError> {
        tpm.in_policy_session(POLICY, |tpm, session| {
            measured.approve(tpm, session)?;
            let sessions = (Some(session.into()), None, None);
            sign(tpm, sessions, self.standing.key, Strength::P256, digest)
        })
    }

    /// Takes the key from its handle: it is gone for good.
    ///
    /// # Errors
    ///
    /// What the TPM says.
    pub(crate) fn evict(tpm: &mut Tpm) -> Result<(), TpmError> {
        match standing(tpm, HANDLE)? {
            Some(standing) => evict(tpm, &standing, HANDLE),
            None => Ok(()),
        }
    }
}

/// In the owner's range of persistent handles.
pub(crate) const HANDLE: u32 = 0x8100_8001;

/// The session that the key's policy is walked in.
pub(crate) const POLICY: SessionKind = SessionKind::policy(HashingAlgorithm::Sha256);

/// The policy that this boot fulfils: what a key must have so that this boot may use it.
pub(crate) fn boot_policy(tpm: &mut Tpm, measured: &Measured) -> Result<Vec<u8>, TpmError> {
    tpm.in_policy_session(POLICY, |tpm, session| {
        measured.approve(tpm, session)?;
        let policy = tpm.call("read a policy's digest", NONE, |context| {
            context.policy_get_digest(session)
        })?;
        Ok(policy.value().to_vec())
    })
}

impl TpmError {
    /// The code by which a neighbour is told; `None` for what ends the role.
    pub(crate) const fn told(&self) -> Option<u32> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::NoLdevid => Some(code::HANDLE_1),
            Self::LdevidStands => Some(code::NV_DEFINED),
            Self::Name
            | Self::Open(_)
            | Self::Restarted { .. }
            | Self::Lost { .. }
            | Self::Memory(_)
            | Self::ForeignKey => None,
        }
    }
}
