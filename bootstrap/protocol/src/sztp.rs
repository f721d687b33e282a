//! What a box and a bootstrap server say to each other (RFC 8572, 7): RESTCONF operations (RFC 8040)
//! with JSON bodies, for both ends.
//!
//! Nothing in here is trusted: what counts is signed, and checked by [`crate::bootstrap`].

use bartizan_model::config::Artifacts;
use bartizan_model::ids::Nonce;
use serde::{Deserialize, Serialize};

use crate::binary::Binary;

/// The path to post [`Question`]s to.
pub const GET_BOOTSTRAPPING_DATA: &str =
    "/restconf/operations/ietf-sztp-bootstrap-server:get-bootstrapping-data";

/// The path to post [`Progress`] to.
pub const REPORT_PROGRESS: &str = "/restconf/operations/ietf-sztp-bootstrap-server:report-progress";

/// The media type of every body (RFC 8040, 11.3.2).
pub const MEDIA_TYPE: &str = "application/yang-data+json";

/// The most bytes of a body: three messages in base64.
pub const BODY_MAX: usize = 80 * 1024;

/// The most bytes of a text.
pub const TEXT_MAX: usize = 256;

/// The input of `get-bootstrapping-data`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    /// `hw-model`.
    pub hw_model: Option<String>,
    /// `os-name`.
    pub os_name: Option<String>,
    /// `os-version`.
    pub os_version: Option<String>,
    /// What a voucher made for this question must repeat.
    pub nonce: Option<Nonce>,
    /// Whether the box says that it wants signed data.
    pub data: Wanted,
}

/// What data a box wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// Signed data (`signed-data-preferred`): every box of ours.
    Signed,
    /// It does not say.
    Any,
}

/// The output of `get-bootstrapping-data`, signed data alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The signed data.
    pub artifacts: Artifacts,
    /// How much progress the server wants to hear of.
    pub reporting: Reporting,
}

/// `reporting-level`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reporting {
    /// What RFC 8572 wants.
    #[default]
    Minimal,
    /// Everything.
    Verbose,
}

/// The input of `report-progress`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Progress {
    /// What happened.
    pub step: Step,
    /// Why; at most [`TEXT_MAX`] bytes.
    pub message: Option<String>,
}

/// `progress-type`; there are no steps for scripts, which are refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "RFC 8572, 7.3 has their descriptions")]
pub enum Step {
    BootstrapInitiated,
    ParsingInitiated,
    ParsingWarning,
    ParsingError,
    ParsingComplete,
    BootImageInitiated,
    BootImageWarning,
    BootImageError,
    BootImageMismatch,
    BootImageInstalledRebooting,
    BootImageComplete,
    ConfigInitiated,
    ConfigWarning,
    ConfigError,
    ConfigComplete,
    BootstrapWarning,
    BootstrapError,
    BootstrapComplete,
    Informational,
}

/// Why a body is not what it should be; where, but not what: it is a stranger's.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SztpError {
    /// More bytes than a body has.
    #[error("a body has more than {BODY_MAX} bytes")]
    TooLong,
    /// Not the JSON that belongs here.
    #[error("cannot decode a body: line {line}, column {column}")]
    Malformed {
        /// Where it ends to be right.
        line: usize,
        /// Where it ends to be right.
        column: usize,
    },
    /// A text is too long.
    #[error("a text has more than {TEXT_MAX} bytes")]
    Text,
    /// A nonce of another length than ours.
    #[error("a nonce has 32 bytes")]
    Nonce,
    /// No voucher, or no owner certificate.
    #[error("the data is not signed")]
    Unsigned,
}

impl Question {
    /// The body that is sent.
    pub fn encode(&self) -> Vec<u8> {
        body(&Input {
            input: QuestionMembers {
                signed_data_preferred: match self.data {
                    Wanted::Signed => Some([()]),
                    Wanted::Any => None,
                },
                hw_model: self.hw_model.clone(),
                os_name: self.os_name.clone(),
                os_version: self.os_version.clone(),
                nonce: self.nonce.map(|nonce| Binary(nonce.0.to_vec())),
            },
        })
    }

    /// Reads a body; requests for certificates (RFC 9646) are not answered and not read.
    ///
    /// # Errors
    ///
    /// [`SztpError`] if it is no such input.
    pub fn decode(body: &[u8]) -> Result<Self, SztpError> {
        let Input { input } = read::<Input<QuestionMembers>>(body)?;
        let nonce = input
            .nonce
            .map(|Binary(nonce)| <[u8; 32]>::try_from(nonce).map(Nonce));
        Ok(Self {
            hw_model: short(input.hw_model)?,
            os_name: short(input.os_name)?,
            os_version: short(input.os_version)?,
            nonce: nonce.transpose().map_err(|_| SztpError::Nonce)?,
            data: match input.signed_data_preferred {
                Some([()]) => Wanted::Signed,
                None => Wanted::Any,
            },
        })
    }
}

impl Answer {
    /// The body that is sent.
    pub fn encode(&self) -> Vec<u8> {
        body(&Output {
            output: AnswerMembers {
                reporting_level: self.reporting,
                conveyed_information: Binary(self.artifacts.conveyed_information.clone()),
                owner_certificate: Some(Binary(self.artifacts.owner_certificate.clone())),
                ownership_voucher: Some(Binary(self.artifacts.ownership_voucher.clone())),
            },
        })
    }

    /// Reads a body.
    ///
    /// # Errors
    ///
    /// [`SztpError`] if it is no such output, or what it carries is not signed.
    pub fn decode(body: &[u8]) -> Result<Self, SztpError> {
        let Output { output } = read::<Output>(body)?;
        let (Some(owner), Some(voucher)) = (output.owner_certificate, output.ownership_voucher)
        else {
            return Err(SztpError::Unsigned);
        };
        Ok(Self {
            artifacts: Artifacts {
                conveyed_information: output.conveyed_information.0,
                owner_certificate: owner.0,
                ownership_voucher: voucher.0,
            },
            reporting: output.reporting_level,
        })
    }
}

impl Progress {
    /// The body that is sent.
    pub fn encode(&self) -> Vec<u8> {
        body(&Input {
            input: ProgressMembers {
                progress_type: self.step,
                message: self.message.clone(),
            },
        })
    }

    /// Reads a body; keys and anchors in it, which a box of ours has none of, are not read.
    ///
    /// # Errors
    ///
    /// [`SztpError`] if it is no such input.
    pub fn decode(body: &[u8]) -> Result<Self, SztpError> {
        let Input { input } = read::<Input<ProgressMembers>>(body)?;
        Ok(Self {
            step: input.progress_type,
            message: short(input.message)?,
        })
    }
}

fn short(text: Option<String>) -> Result<Option<String>, SztpError> {
    if text.as_ref().is_some_and(|text| text.len() > TEXT_MAX) {
        return Err(SztpError::Text);
    }
    Ok(text)
}

pub(crate) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, SztpError> {
    if body.len() > BODY_MAX {
        return Err(SztpError::TooLong);
    }
    serde_json::from_slice(body).map_err(|error| SztpError::Malformed {
        line: error.line(),
        column: error.column(),
    })
}

pub(crate) fn body<T: Serialize>(document: &T) -> Vec<u8> {
    // Texts, numbers and lists of them have an encoding, and a Vec takes what is written to it.
    serde_json::to_vec(document).unwrap_or_default()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input<T> {
    #[serde(rename = "ietf-sztp-bootstrap-server:input")]
    input: T,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    #[serde(rename = "ietf-sztp-bootstrap-server:output")]
    output: AnswerMembers,
}

// A box of another make asks for more (RFC 9646): what is unknown is passed over.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct QuestionMembers {
    // A leaf of type `empty` is [null] (RFC 7951, 6.9).
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_data_preferred: Option<[(); 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hw_model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<Binary>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct AnswerMembers {
    #[serde(default)]
    reporting_level: Reporting,
    conveyed_information: Binary,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_certificate: Option<Binary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ownership_voucher: Option<Binary>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ProgressMembers {
    progress_type: Step,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}
