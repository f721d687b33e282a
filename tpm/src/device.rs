//! The TPM and how it fails.
//!
//! Whatever a piece of work puts into one of the TPM's few slots is flushed when the work is over,
//! also when it did not succeed: a TPM without a resource manager has three slots for objects and
//! three for sessions.

use core::fmt;
use core::str::FromStr as _;

use bitfield::BitRange as _;
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::response_code::Tss2ResponseCode;
use tss_esapi::constants::{SessionType, StartupType};
use tss_esapi::handles::{KeyHandle, ObjectHandle, SessionHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::SymmetricDefinition;
use tss_esapi::{Context, Error, Result as TssResult, TctiNameConf, WrapperErrorKind};

use crate::measured::Approval;

/// An open TPM; closing it flushes what this process left in it.
pub struct Tpm {
    context: Context,
    /// The boot's approval, as the TPM confirmed it; good until the TPM restarts or is cleared.
    pub(crate) approval: Option<Approval>,
}

/// The TPM, or the way to it, does not do what is asked.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// The command line names no TPM.
    #[error("a TPM is named as device:PATH or swtpm:host=ADDRESS,port=NUMBER")]
    Name,
    /// It cannot be opened.
    #[error("cannot open the TPM")]
    Open(#[source] Error),
    /// It refuses a command; the next may succeed.
    #[error("the TPM refused to {command}: response code {code:#010x}")]
    Refused {
        /// What was asked.
        command: &'static str,
        /// The response code (TPM 2.0 Library, Part 2, 6.6).
        code: u32,
    },
    /// It was reset under our feet and waits for `TPM2_Startup`.
    #[error("the TPM was restarted when asked to {command}")]
    Restarted {
        /// What was asked.
        command: &'static str,
    },
    /// It no longer answers, or only with nonsense: the process must end.
    #[error("the TPM is lost when asked to {command}")]
    Lost {
        /// What was asked.
        command: &'static str,
        /// What the library says.
        #[source]
        cause: Error,
    },
    /// The secret that it gave cannot be kept in locked memory.
    #[error("locked memory")]
    Memory(#[from] bartizan_secret::LockError),
    /// No key stands at the `LDevID` handle.
    #[error("the TPM holds no LDevID key")]
    NoLdevid,
    /// Something stands at the `LDevID` handle already.
    #[error("the TPM holds an LDevID key already")]
    LdevidStands,
    /// A key at a handle of ours is none that we made.
    #[error("a key at a handle of ours has another template")]
    ForeignKey,
}

/// Response codes of the TPM (TPM 2.0 Library, Part 2, 6.6), where this role answers with one by
/// itself or decides by one.
pub(crate) mod code {
    /// `TPM_RC_INITIALIZE`: it was reset and waits for `TPM2_Startup`.
    pub(crate) const INITIALIZE: u32 = 0x100;
    /// `TPM_RC_FAILURE`: it is in failure mode, which only a reset ends.
    pub(crate) const FAILURE: u32 = 0x101;
    /// `TPM_RC_PCR_CHANGED`: a PCR changed in the middle.
    pub(crate) const PCR_CHANGED: u32 = 0x128;
    /// `TPM_RC_NV_DEFINED`: something stands at the handle.
    pub(crate) const NV_DEFINED: u32 = 0x14c;
    /// `TPM_RC_NV_UNINITIALIZED`: the index was never written.
    pub(crate) const NV_UNINITIALIZED: u32 = 0x14a;
    /// `TPM_RC_VALUE`.
    pub(crate) const VALUE: u32 = 0x084;
    /// `TPM_RC_HANDLE` for the first handle: nothing stands there.
    pub(crate) const HANDLE_1: u32 = 0x18b;
    /// `TPM_RC_SIZE`.
    pub(crate) const SIZE: u32 = 0x095;
    /// `TPM_RC_POLICY_FAIL`: the policy does not hold.
    pub(crate) const POLICY_FAIL: u32 = 0x09d;
}

/// Sessions of a command, in the order of its handles; further ones encrypt.
pub(crate) type Sessions = (
    Option<AuthSession>,
    Option<AuthSession>,
    Option<AuthSession>,
);

/// For a command without authorization.
pub(crate) const NONE: Sessions = (None, None, None);

/// For a command whose only handle has an empty authorization value: what guards our keys is who
/// may open the device.
pub(crate) const EMPTY: Sessions = (Some(AuthSession::Password), None, None);

/// What kind of session is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionKind {
    /// HMAC or policy.
    pub(crate) kind: SessionType,
    /// By which algorithm.
    pub(crate) hash: HashingAlgorithm,
    /// The key in the TPM that the session's secret is encrypted to; with one, the first parameter
    /// in each direction is encrypted.
    pub(crate) salt: Option<KeyHandle>,
}

impl SessionKind {
    /// A policy session by this algorithm, in the clear.
    pub(crate) const fn policy(hash: HashingAlgorithm) -> Self {
        Self {
            kind: SessionType::Policy,
            hash,
            salt: None,
        }
    }
}

impl Tpm {
    /// Opens the TPM that a TCTI names: `device:/dev/tpmrm0`, or in a testbed
    /// `swtpm:host=127.0.0.1,port=2321` (with its control channel one port higher).
    ///
    /// # Errors
    ///
    /// [`TpmError::Name`] for any other name, [`TpmError::Open`] if it does not open.
    pub fn open(name: &str) -> Result<Self, TpmError> {
        let name = TctiNameConf::from_str(name).map_err(|_| TpmError::Name)?;
        if !matches!(name, TctiNameConf::Device(_) | TctiNameConf::Swtpm(_)) {
            return Err(TpmError::Name);
        }
        let context = Context::new(name).map_err(TpmError::Open)?;
        Ok(Self {
            context,
            approval: None,
        })
    }

    /// Runs a command.
    pub(crate) fn call<T>(
        &mut self,
        command: &'static str,
        sessions: Sessions,
        run: impl FnOnce(&mut Context) -> TssResult<T>,
    ) -> Result<T, TpmError> {
        self.context
            .execute_with_sessions(sessions, run)
            .map_err(|cause| TpmError::of(command, cause))
    }

    /// Does work with an object in one of the slots, then flushes it.
    pub(crate) fn holding<T>(
        &mut self,
        object: ObjectHandle,
        work: impl FnOnce(&mut Self) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let done = work(self);
        let flushed = self.call("flush an object", NONE, |context| {
            context.flush_context(object)
        });
        self.flushed(object, flushed)?;
        done
    }

    /// Does work in a session, then flushes it.
    pub(crate) fn in_session<T>(
        &mut self,
        kind: SessionKind,
        work: impl FnOnce(&mut Self, AuthSession) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let session = self.call("start a session", NONE, |context| {
            let cipher = match kind.salt {
                Some(_) => SymmetricDefinition::AES_128_CFB,
                None => SymmetricDefinition::Null,
            };
            let session =
                context.start_auth_session(kind.salt, None, None, kind.kind, cipher, kind.hash)?;
            session.ok_or_else(wrong_value)
        })?;
        let done = self
            .encrypting(kind, session)
            .and_then(|()| work(self, session));
        let object = SessionHandle::from(session).into();
        let flushed = self.call("flush a session", NONE, |context| {
            context.flush_context(object)
        });
        self.flushed(object, flushed)?;
        done
    }

    /// As [`Tpm::in_session`], with a policy session.
    pub(crate) fn in_policy_session<T>(
        &mut self,
        kind: SessionKind,
        work: impl FnOnce(&mut Self, PolicySession) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        self.in_session(kind, |tpm, session| {
            let session = PolicySession::try_from(session)
                .map_err(|cause| TpmError::of("start a session", cause))?;
            work(tpm, session)
        })
    }

    /// Makes a TPM work again that was restarted: nothing of before counts.
    ///
    /// # Errors
    ///
    /// What the TPM says.
    pub(crate) fn start_again(&mut self) -> Result<(), TpmError> {
        self.approval = None;
        let started = self.call("start", NONE, |context| context.startup(StartupType::Clear));
        match started {
            // It says so where somebody else was faster.
            Err(TpmError::Restarted { .. }) => Ok(()),
            other => other,
        }
    }

    fn encrypting(&mut self, kind: SessionKind, session: AuthSession) -> Result<(), TpmError> {
        if kind.salt.is_none() {
            return Ok(());
        }
        let (attributes, mask) = SessionAttributesBuilder::new()
            .with_decrypt(true)
            .with_encrypt(true)
            .build();
        self.call("encrypt a session", NONE, |context| {
            context.tr_sess_set_attributes(session, attributes, mask)
        })
    }

    /// Forgets a handle, whatever became of it in the TPM.
    fn flushed(
        &mut self,
        mut object: ObjectHandle,
        flushed: Result<(), TpmError>,
    ) -> Result<(), TpmError> {
        match flushed {
            Ok(()) => Ok(()),
            // It was gone: a restart or a foreign process was first.
            Err(TpmError::Refused { .. } | TpmError::Restarted { .. }) => {
                // The library frees its part and then complains that the TPM's was not freed.
                let _complaint = self.context.tr_close(&mut object);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for Tpm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tpm")
    }
}

impl TpmError {
    /// The layers whose codes come from the TPM itself, or from the resource manager for it (TCG
    /// TSS 2.0 Overview, 8.1); an error of any other says that the way to the TPM is broken.
    const FROM_THE_TPM: [u32; 3] = [0x00, 0x0b, 0x0c];

    pub(crate) fn of(command: &'static str, cause: Error) -> Self {
        let Error::Tss2Error(response) = cause else {
            return Self::Lost { command, cause };
        };
        let code: u32 = match response {
            Tss2ResponseCode::Success => 0,
            Tss2ResponseCode::FormatZero(code) => code.bit_range(31, 0),
            Tss2ResponseCode::FormatOne(code) => code.bit_range(31, 0),
        };
        if !Self::FROM_THE_TPM.contains(&(code >> 16)) {
            return Self::Lost { command, cause };
        }
        match code & 0xffff {
            code::INITIALIZE => Self::Restarted { command },
            code::FAILURE => Self::Lost { command, cause },
            _ => Self::Refused { command, code },
        }
    }

    /// Says whether the same request may well succeed a moment later: a handle or a session that
    /// somebody flushed, a ticket of before a restart, a PCR that was extended in between.
    pub(crate) fn is_passing(&self) -> bool {
        /// `TPM_RC_CONTEXT_GAP` to `TPM_RC_RETRY`: warnings (Part 2, 6.6.3), among them
        /// `TPM_RC_REFERENCE_H0` to `_S6`, a handle or session that is not loaded.
        const WARNINGS: core::ops::RangeInclusive<u32> = 0x901..=0x922;
        /// `TPM_RC_HANDLE`, `TPM_RC_TICKET`, without the number of what they are about.
        const OF_ONE: [u32; 2] = [0x08b, 0x0a0];
        match self {
            Self::Restarted { .. } => true,
            Self::Refused { code, .. } => {
                let code = code & 0xffff;
                let format_one = code & 0x80 != 0;
                code == code::PCR_CHANGED
                    || (!format_one && WARNINGS.contains(&code))
                    || (format_one && OF_ONE.contains(&(code & 0x0bf)))
            }
            Self::Name
            | Self::Open(_)
            | Self::Lost { .. }
            | Self::Memory(_)
            | Self::NoLdevid
            | Self::LdevidStands
            | Self::ForeignKey => false,
        }
    }
}

pub(crate) fn wrong_value() -> Error {
    Error::WrapperError(WrapperErrorKind::WrongValueFromTpm)
}
