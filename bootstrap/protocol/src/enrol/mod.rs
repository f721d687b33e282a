//! Enrolment: four messages in one TLS session, the gateway's first.
//!
//! | message | from | what it is for |
//! |---|---|---|
//! | [`Hello`] | gateway | its TPM, its keys and, if it wants to enrol, a fresh LDevID key |
//! | [`Challenge`] | registrar | a nonce, and a credential that this TPM alone opens |
//! | [`Evidence`] | gateway | the proof that it did, a quote, and the logs behind it |
//! | [`Outcome`] | registrar | the LDevID certificate and the gateway's place, or a coarse reason |
//!
//! Each is CBOR in the one deterministic form (RFC 8949, 4.2.1) behind its length ([`frame`]): what
//! was decoded is encoded again and compared. Everything that could be replaced by another
//! algorithm has an identifier beside it, the TPM's own inside its structures. There is no request
//! for a certificate (PKCS #10): `TPM2_Certify` says more of the key than its own signature would.
//!
//! The TLS session's channel binding is in the certification, the proof and the quote, so nobody can
//! pass them on from another session. [`gateway`] and [`registrar`] are the machines of the ends.

mod challenge;
mod evidence;
pub mod frame;
pub mod gateway;
mod hello;
mod outcome;
mod read;
pub mod registrar;

use core::time::Duration;

use bartizan_evidence::verdict::Failure;
use minicbor::decode;

use crate::certificate::CertificateError;
pub use challenge::{Challenge, SessionId};
pub use evidence::Evidence;
pub use hello::{Hello, Request, Software};
pub use outcome::{Enrolment, Outcome, Reason};

/// The version of these messages.
pub const VERSION: u64 = 1;

/// The protocol's name in the TLS handshake (RFC 7301).
pub const ALPN: &[u8] = b"bartizan-enrol/1";

/// The most bytes of a message that is not evidence.
pub const MESSAGE_MAX: usize = 64 * 1024;

/// The most bytes of evidence: its logs are long.
pub const EVIDENCE_MAX: usize = 6 * 1024 * 1024;

/// How long a registrar waits for a hello, and a gateway for a challenge.
pub const CHALLENGE_WAIT: Duration = Duration::from_secs(30);

/// The most time that a challenge gives.
pub const DEADLINE_MAX: Duration = Duration::from_secs(30);

/// How long a gateway waits for the outcome.
pub const OUTCOME_WAIT: Duration = Duration::from_mins(1);

/// Why an end goes no further. There is one attempt in a session: whatever it is, the session ends.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// More bytes than the message has.
    #[error("a message is too long")]
    TooLong,
    /// Not the CBOR items of the message.
    #[error("cannot decode a message")]
    Malformed(#[source] decode::Error),
    /// The items, but in another form than the one.
    #[error("a message is not in its one form")]
    Form,
    /// It came after its deadline.
    #[error("a message came too late")]
    Late,
    /// The deadline is none: a challenge gives 1 to 30 seconds.
    #[error("a challenge gives 1 to 30 seconds")]
    Deadline,
    /// The challenge asks for no PCR, or for one that there is not.
    #[error("a challenge selects PCRs of 0 to 23, at least one")]
    Selection,
    /// The credential is for an endorsement key that the gateway has not.
    #[error("a credential is for no endorsement key of the gateway")]
    Endorsement,
    /// The evidence is of another session.
    #[error("the evidence is of another session")]
    Session,
    /// The credential was not opened, or not in this session.
    #[error("the proof of the credential is wrong")]
    Proof,
    /// Logs are there twice, or in another order.
    #[error("the logs of evidence are not in their order")]
    Logs,
    /// Something of the TPM's does not hold.
    #[error("what the TPM says does not hold")]
    Tpm(#[source] Failure),
    /// A gateway in quarantine was given a certificate.
    #[error("an enrolment that nobody asked for")]
    Unasked,
    /// A certificate in the outcome does not count.
    #[error("a certificate of the enrolment does not count")]
    Certificate(#[source] CertificateError),
    /// A certificate in the outcome is over another key, or has another name.
    #[error("a certificate of the enrolment is not for this gateway")]
    Foreign,
    /// The one who checked found it wanting.
    #[error("refused: {0}")]
    Refused(Reason),
}
