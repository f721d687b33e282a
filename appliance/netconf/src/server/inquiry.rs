//! What a session asks and neither the engine nor the documents know.

use bartizan_model::config::Der;
use bartizan_model::identity::{Floors, Log, PcrSelection, Quoted};
use bartizan_model::ids::Nonce;

use crate::attestation::LogPart;
use crate::edit::grant_error;
use crate::error::{ErrorTag, ErrorType, RpcError};
use crate::schema::LDEVID_CHAIN;

/// A question to TPM or certificate; one at a time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Inquiry {
    /// Quote.
    Quote {
        /// The verifier's nonce, 16 to 64 bytes.
        nonce: Vec<u8>,
        /// The engine's lease nonce, to which and to the session the quote is bound; without it
        /// the nonce alone is what is qualified.
        bound: Option<Nonce>,
        /// Which PCRs.
        pcrs: PcrSelection,
    },
    /// Read a log, at most [`limits::LOG_PART`](crate::limits::LOG_PART) bytes of it.
    Log {
        /// Which.
        log: Log,
        /// Its first byte that is wanted.
        offset: u32,
    },
    /// Judge a renewed LDevID certificate and its chain: over the same key, of the same node.
    Ldevid(Vec<Der>),
}

/// The answer to an [`Inquiry`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finding {
    /// A quote.
    Quoted {
        /// The quote and the values.
        quoted: Box<Quoted>,
        /// The floors that it is bound to, if it is bound.
        floors: Option<Floors>,
    },
    /// A part of a log.
    Log(LogPart),
    /// The certificate is in order.
    Ldevid,
}

/// Why an [`Inquiry`] has no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unfound {
    /// The TPM may not do this in the appliance's state.
    NotPermitted,
    /// The TPM did not, or not in time.
    Tpm,
    /// The certificate is over another key, of another node, or none.
    Certificate,
}

/// What the controller is told of an answer that there is not.
pub(crate) fn unfound(unfound: Unfound) -> RpcError {
    let of_tpm = |tag, app_tag, message| {
        RpcError::new(ErrorType::Application, tag, message).app_tag(app_tag)
    };
    match unfound {
        Unfound::NotPermitted => of_tpm(
            ErrorTag::AccessDenied,
            "tpm-not-permitted",
            "the gateway's state does not permit it",
        ),
        Unfound::Tpm => of_tpm(
            ErrorTag::OperationFailed,
            "tpm-failed",
            "the TPM did not do it",
        ),
        Unfound::Certificate => grant_error(
            LDEVID_CHAIN.name,
            ErrorTag::InvalidValue,
            "not a certificate of this gateway over its key",
        )
        .app_tag("ldevid"),
    }
}
