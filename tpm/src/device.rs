//! The TPM and how it fails.

use core::fmt;
use core::str::FromStr as _;

use bitfield::BitRange as _;
use tss_esapi::constants::response_code::Tss2ResponseCode;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::{Context, Error, TctiNameConf};

/// An open TPM; closing it flushes what this process left in it.
pub struct Tpm {
    context: Context,
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
    #[error("the TPM refused {command}: response code {code:#010x}")]
    Refused {
        /// What was asked.
        command: &'static str,
        /// The response code (TPM 2.0 Library, Part 2, 6.6).
        code: u32,
    },
    /// It no longer answers, or only with nonsense: the process must end.
    #[error("the TPM is lost in {command}")]
    Lost {
        /// What was asked.
        command: &'static str,
        /// What the library says.
        #[source]
        cause: Error,
    },
    /// No key stands at the `LDevID` handle.
    #[error("the TPM holds no LDevID key")]
    NoLdevid,
    /// A key stands at the `LDevID` handle already.
    #[error("the TPM holds an LDevID key already")]
    LdevidStands,
    /// The key at the `LDevID` handle is none that we made.
    #[error("the key at the LDevID handle has another template")]
    ForeignKey,
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
        let mut context = Context::new(name).map_err(TpmError::Open)?;
        // Our keys have an empty authorization value: what guards them is who may open the device.
        context.set_sessions((Some(AuthSession::Password), None, None));
        Ok(Self { context })
    }

    /// Runs a command with the password session.
    pub(crate) fn authorized<T>(
        &mut self,
        command: &'static str,
        run: impl FnOnce(&mut Context) -> tss_esapi::Result<T>,
    ) -> Result<T, TpmError> {
        run(&mut self.context).map_err(|cause| TpmError::of(command, cause))
    }

    /// Runs a command that takes no authorization.
    pub(crate) fn open_to_all<T>(
        &mut self,
        command: &'static str,
        run: impl FnOnce(&mut Context) -> tss_esapi::Result<T>,
    ) -> Result<T, TpmError> {
        self.context
            .execute_without_session(run)
            .map_err(|cause| TpmError::of(command, cause))
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
    /// `TPM_RC_INITIALIZE`: it was reset under our feet.
    const INITIALIZE: u32 = 0x100;
    /// `TPM_RC_FAILURE`: it is in failure mode, which only a reset ends.
    const FAILURE: u32 = 0x101;

    pub(crate) fn of(command: &'static str, cause: Error) -> Self {
        let Error::Tss2Error(response) = cause else {
            return Self::Lost { command, cause };
        };
        let code: u32 = match response {
            Tss2ResponseCode::Success => 0,
            Tss2ResponseCode::FormatZero(code) => code.bit_range(31, 0),
            Tss2ResponseCode::FormatOne(code) => code.bit_range(31, 0),
        };
        let alive = Self::FROM_THE_TPM.contains(&(code >> 16))
            && !matches!(code & 0xffff, Self::INITIALIZE | Self::FAILURE);
        if alive {
            Self::Refused { command, code }
        } else {
            Self::Lost { command, cause }
        }
    }
}
