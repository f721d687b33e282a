//! Errors as a bootstrap server says them (RFC 8040, 7).

use serde::{Deserialize, Serialize};

use crate::sztp::{SztpError, body, read};

/// What went wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tag {
    /// The body is none.
    MalformedMessage,
    /// A value in it does not fit.
    InvalidValue,
    /// The body is too long.
    TooBig,
    /// The box is not known here, or not by this certificate.
    AccessDenied,
    /// There is nothing for it yet.
    DataMissing,
    /// No such operation.
    OperationNotSupported,
    /// Too many ask.
    ResourceDenied,
    /// The server cannot.
    OperationFailed,
}

impl Tag {
    /// Every tag.
    pub const ALL: [Self; 8] = [
        Self::MalformedMessage,
        Self::InvalidValue,
        Self::TooBig,
        Self::AccessDenied,
        Self::DataMissing,
        Self::OperationNotSupported,
        Self::ResourceDenied,
        Self::OperationFailed,
    ];

    /// The status of the response that carries it (RFC 8040, 7, table 4).
    pub const fn status(self) -> u16 {
        match self {
            Self::MalformedMessage | Self::InvalidValue => 400,
            Self::TooBig => 413,
            Self::AccessDenied => 403,
            Self::DataMissing | Self::ResourceDenied => 409,
            Self::OperationNotSupported => 405,
            Self::OperationFailed => 500,
        }
    }
}

/// The body of a response with an error.
pub fn encode(tag: Tag) -> Vec<u8> {
    body(&Document {
        errors: Errors {
            error: vec![Error {
                error_type: Layer::Application,
                error_tag: tag,
            }],
        },
    })
}

/// Reads the first error of a body.
///
/// # Errors
///
/// [`SztpError`] if it is no such body, or has a tag of none of ours.
pub fn decode(body: &[u8]) -> Result<Tag, SztpError> {
    let document = read::<Document>(body)?;
    let first = document.errors.error.first();
    first
        .map(|error| error.error_tag)
        .ok_or(SztpError::Malformed { line: 0, column: 0 })
}

// A server of somebody else's says more, so unknown members are passed over.
#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(rename = "ietf-restconf:errors")]
    errors: Errors,
}

#[derive(Serialize, Deserialize)]
struct Errors {
    error: Vec<Error>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Error {
    error_type: Layer,
    error_tag: Tag,
}

/// Where it went wrong.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Layer {
    Transport,
    Rpc,
    Protocol,
    Application,
}
