//! Why an attempt failed, or the process ends.

use bartizan_bootstrap_protocol::bootstrap::Refusal;
use bartizan_bootstrap_protocol::enrol::frame::FrameError;
use bartizan_bootstrap_protocol::enrol::{EnrolError, Reason};
use bartizan_bootstrap_protocol::sztp::SztpError;
use bartizan_model::ownership::Broken;
use bartizan_process::{Exit, Fault};
use bartizan_tls::{TlsError, TpmError};

use crate::http::BadHttp;

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttemptError {
    /// The host has no address that could be found.
    #[error("the host is not found")]
    NotFound,
    /// No connection.
    #[error("no connection")]
    Connect(#[source] std::io::Error),
    /// No TLS.
    #[error("no TLS")]
    Tls(#[from] TlsError),
    /// It took too long.
    #[error("no answer in time")]
    TimedOut,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] std::io::Error),
    /// Not HTTP.
    #[error("the answer")]
    Http(#[from] BadHttp),
    /// Another status than success.
    #[error("the server answers {0}")]
    Status(u16),
    /// Not the body that belongs there.
    #[error("the body")]
    Body(#[from] SztpError),
    /// The signed data does not count.
    #[error("the signed data does not count")]
    Refused(#[from] Refusal),
    /// Not a message of enrolment.
    #[error("a message of enrolment")]
    Frame(#[from] FrameError),
    /// Enrolment failed here.
    #[error("enrolment")]
    Enrol(#[from] EnrolError),
    /// The registrar refused.
    #[error("the registrar refuses: {0}")]
    Registrar(Reason),
    /// What was learned of the owner breaks a rule.
    #[error("the ownership")]
    Ownership(#[from] Broken),
    /// The box's own evidence does not hold: it is not sent.
    #[error("the own evidence does not hold")]
    OwnEvidence,
    /// The TPM did not.
    #[error("the TPM")]
    Tpm(#[from] TpmError),
    /// The process must end.
    #[error(transparent)]
    Ended(Fault),
    /// The TPM says something of its keys that cannot be.
    #[error("the TPM's identity: {0}")]
    Identity(&'static str),
}

impl AttemptError {
    /// What ends the process, and not the attempt alone: the edge to the tpm role is broken.
    pub(crate) fn fatal(self) -> Result<Self, Fault> {
        if let Self::Ended(fault) = self {
            return Err(fault);
        }
        let broken = matches!(
            self,
            Self::Tpm(TpmError::Edge(_) | TpmError::OtherAnswer | TpmError::Wait(_))
                | Self::Tls(TlsError::TpmEdge)
        );
        if broken {
            return Err(Fault::because(Exit::Protocol, "bootstrap", self));
        }
        Ok(self)
    }

    /// The whole chain, in one line.
    pub(crate) fn words(&self) -> String {
        let mut text = self.to_string();
        let mut cause = core::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}
