//! The registrar's end: [`Listening`] -> [`ToIdentify`] -> [`ToChallenge`] -> [`Awaiting`] ->
//! [`ToAppraise`] -> [`Appraised`].
//!
//! What can be checked without knowing anything but the session is checked in here: forms, keys,
//! certifications, the proof, the quote. What needs the owner's books is the caller's, and a state
//! goes on only with what came out of it. Every failure is a [`Refused`]: the message to send, and
//! the precise reason for the log. It ends the session: there is no second attempt.

use core::fmt;

use bartizan_evidence::binding::{self, ChannelBinding};
use bartizan_evidence::quote::{AttestationKey, Quote, verify_certified};
use bartizan_evidence::structures::Public;
use bartizan_evidence::verdict::{Class, Failure};
use bartizan_model::config::Der;
use bartizan_model::time::BootTime;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::gateway::{check_deadline, is_over};
use super::{
    CHALLENGE_WAIT, Challenge, EnrolError, Enrolment, Evidence, Hello, Outcome, Reason, Request,
};
use crate::certificate::Certificate;

/// A gateway is connected.
#[derive(Debug)]
pub struct Listening {
    channel: ChannelBinding,
    deadline: BootTime,
}

/// The hello was heard: the caller finds out whose it is.
///
/// The TLS client is the box of that serial number; its endorsement keys are those of their
/// certificates, and a TPM maker's; it is the box that the owner knows by this name, or a new one;
/// the LDevID key is under the right policy.
#[derive(Debug)]
pub struct ToIdentify {
    session: Session,
}

/// The box is known: the caller makes a credential for the Name of its attestation key.
#[derive(Debug)]
pub struct ToChallenge {
    session: Session,
}

/// The challenge is sent.
#[derive(Debug)]
pub struct Awaiting {
    session: Session,
    challenge: Challenge,
    qualifying: [u8; 32],
    proof: Proof,
    deadline: BootTime,
}

/// What the gateway has to show that it opened the credential.
struct Proof([u8; 32]);

/// The evidence is of this TPM, this session and this challenge: the caller judges the values.
#[derive(Debug)]
pub struct ToAppraise {
    session: Session,
    evidence: Evidence,
    quote: Quote,
}

/// The values are right.
#[derive(Debug)]
pub enum Appraised {
    /// The gateway gets a certificate.
    Enrol(ToIssue),
    /// The gateway is heard, and gets none.
    Quarantine(ToReport),
}

/// A certificate is due.
#[derive(Debug)]
pub struct ToIssue {
    key: Public,
}

/// No certificate is due.
#[derive(Debug)]
pub struct ToReport(());

/// The end of a session.
#[derive(Debug, thiserror::Error)]
#[error("enrolment refused as {reason}")]
pub struct Refused {
    /// What the gateway hears.
    pub reason: Reason,
    /// What the log is told.
    #[source]
    pub cause: EnrolError,
}

/// What is known of the gateway, more with each step.
#[derive(Debug)]
struct Session {
    channel: ChannelBinding,
    bytes: Vec<u8>,
    hello: Hello,
    ak: AttestationKey,
    ldevid: Option<Public>,
}

impl Listening {
    /// Waits for the hello in a session of this binding.
    pub fn new(channel: ChannelBinding, now: BootTime) -> Self {
        Self {
            channel,
            deadline: now.after(CHALLENGE_WAIT),
        }
    }

    /// When to give up.
    pub const fn deadline(&self) -> BootTime {
        self.deadline
    }

    /// Takes the hello: the attestation key is one that a TPM made for that, and certified the
    /// LDevID key in this session.
    ///
    /// # Errors
    ///
    /// [`Refused`] if it is none, came too late, or does not hold.
    pub fn hello(self, message: &[u8], now: BootTime) -> Result<ToIdentify, Refused> {
        check_deadline(now, self.deadline)?;
        let hello = Hello::decode(message)?;
        let ak = AttestationKey::parse(&hello.identity.ak).map_err(EnrolError::Tpm)?;
        let ldevid = match &hello.request {
            Request::Quarantine => None,
            Request::Enrol { ldevid, .. } => {
                let qualifying = binding::certify(&self.channel);
                let key = verify_certified(ldevid, &ak, &qualifying).map_err(EnrolError::Tpm)?;
                Some(key)
            }
        };
        Ok(ToIdentify {
            session: Session {
                channel: self.channel,
                bytes: message.to_vec(),
                hello,
                ak,
                ldevid,
            },
        })
    }
}

impl ToIdentify {
    /// What the gateway said.
    pub const fn hello(&self) -> &Hello {
        &self.session.hello
    }

    /// Its attestation key.
    pub const fn ak(&self) -> &AttestationKey {
        &self.session.ak
    }

    /// The key that it wants a certificate over; none in quarantine.
    pub const fn ldevid(&self) -> Option<&Public> {
        self.session.ldevid.as_ref()
    }

    /// Goes on if the box is the one that it says, and may be here.
    ///
    /// # Errors
    ///
    /// [`Refused`] with the reason that was found.
    pub fn identified(self, found: Result<(), Reason>) -> Result<ToChallenge, Refused> {
        found.map_err(EnrolError::Refused)?;
        Ok(ToChallenge {
            session: self.session,
        })
    }
}

impl ToChallenge {
    /// What the gateway said.
    pub const fn hello(&self) -> &Hello {
        &self.session.hello
    }

    /// Its attestation key: the credential is for its Name.
    pub const fn ak(&self) -> &AttestationKey {
        &self.session.ak
    }

    /// Asks: returns the message to send. The session's id and the nonce are fresh random bytes;
    /// `secret` is what the credential holds.
    ///
    /// # Errors
    ///
    /// [`Refused`] if the challenge breaks a rule.
    pub fn challenge(
        self,
        challenge: Challenge,
        secret: &[u8],
        now: BootTime,
    ) -> Result<(Vec<u8>, Awaiting), Refused> {
        let session = self.session;
        let endorsements = session.hello.identity.endorsement.len();
        if usize::from(challenge.credential.endorsement) >= endorsements {
            return Err(EnrolError::Endorsement.into());
        }
        let message = challenge.encode()?;
        let context = binding::enrolment_context(&session.bytes, &message);
        let proven = binding::proof_context(&session.bytes, &message, &session.channel);
        let awaiting = Awaiting {
            qualifying: binding::attest(&challenge.nonce.0, &session.channel, &context),
            proof: Proof::of(secret, &proven)?,
            deadline: now.after(challenge.deadline),
            session,
            challenge,
        };
        Ok((message, awaiting))
    }
}

impl Awaiting {
    /// When to give up.
    pub const fn deadline(&self) -> BootTime {
        self.deadline
    }

    /// Takes the evidence: its proof and its quote are of this TPM and this session.
    ///
    /// # Errors
    ///
    /// [`Refused`] if it is none, came too late, or does not hold.
    pub fn shown(self, message: &[u8], now: BootTime) -> Result<ToAppraise, Refused> {
        check_deadline(now, self.deadline)?;
        let evidence = Evidence::decode(message)?;
        if evidence.session != self.challenge.session {
            return Err(EnrolError::Session.into());
        }
        if !bool::from(evidence.proof.ct_eq(&self.proof.0)) {
            return Err(EnrolError::Proof.into());
        }
        let quote = Quote::verify(
            &evidence.quoted,
            &self.session.ak,
            &self.qualifying,
            self.challenge.pcrs,
        )
        .map_err(EnrolError::Tpm)?;
        Ok(ToAppraise {
            session: self.session,
            evidence,
            quote,
        })
    }
}

impl ToAppraise {
    /// What the gateway said first.
    pub const fn hello(&self) -> &Hello {
        &self.session.hello
    }

    /// The quote.
    pub const fn quote(&self) -> &Quote {
        &self.quote
    }

    /// The evidence, with its logs.
    pub const fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Goes on if the gateway runs what it should. What it may go on to, its hello has settled.
    ///
    /// # Errors
    ///
    /// [`Refused`] with the reason that was found.
    pub fn appraised(self, found: Result<(), Reason>) -> Result<Appraised, Refused> {
        found.map_err(EnrolError::Refused)?;
        Ok(match self.session.ldevid {
            Some(key) => Appraised::Enrol(ToIssue { key }),
            None => Appraised::Quarantine(ToReport(())),
        })
    }
}

impl ToIssue {
    /// The key to certify.
    pub const fn key(&self) -> &Public {
        &self.key
    }

    /// Enrols: returns the message to send.
    ///
    /// # Errors
    ///
    /// [`Refused`] if the certificate is over another key, or the enrolment breaks a limit.
    pub fn enrolled(self, enrolment: Enrolment) -> Result<Vec<u8>, Refused> {
        let leaf = enrolment.ldevid.first().ok_or(EnrolError::Foreign)?;
        let Der(leaf) = leaf;
        let leaf = Certificate::from_der(leaf).map_err(EnrolError::Certificate)?;
        let named = leaf.dns_name().as_deref() == Some(enrolment.node.as_str());
        if !named || !is_over(&leaf, &self.key.spki())? {
            return Err(EnrolError::Foreign.into());
        }
        Ok(Outcome::Enrolled(Box::new(enrolment)).encode()?)
    }

    /// Refuses after all: no certificate could be made.
    pub fn refused(self, reason: Reason) -> Refused {
        EnrolError::Refused(reason).into()
    }
}

impl ToReport {
    /// Tells the gateway that it was heard: returns the message to send.
    ///
    /// # Errors
    ///
    /// [`Refused`] if the message does not encode.
    pub fn reported(self) -> Result<Vec<u8>, Refused> {
        Ok(Outcome::Reported.encode()?)
    }
}

impl Refused {
    /// The message to send.
    pub fn message(&self) -> Vec<u8> {
        // A reason alone breaks no limit.
        Outcome::Refused(self.reason).encode().unwrap_or_default()
    }
}

impl From<EnrolError> for Refused {
    fn from(cause: EnrolError) -> Self {
        Self {
            reason: reason(&cause),
            cause,
        }
    }
}

const fn reason(cause: &EnrolError) -> Reason {
    match cause {
        EnrolError::TooLong | EnrolError::Malformed(_) | EnrolError::Form | EnrolError::Logs => {
            Reason::Malformed
        }
        EnrolError::Late | EnrolError::Session => Reason::Evidence,
        EnrolError::Proof => Reason::Identity,
        EnrolError::Tpm(Failure { class, .. }) => match class {
            Class::State => Reason::State,
            Class::Evidence => Reason::Evidence,
            Class::Malformed => Reason::Malformed,
            Class::Identity => Reason::Identity,
        },
        EnrolError::Refused(reason) => *reason,
        // The registrar's own faults: the gateway may come again.
        EnrolError::Deadline
        | EnrolError::Selection
        | EnrolError::Endorsement
        | EnrolError::Unasked
        | EnrolError::Certificate(_)
        | EnrolError::Foreign => Reason::Busy,
    }
}

impl Proof {
    fn of(secret: &[u8], context: &[u8; 32]) -> Result<Self, EnrolError> {
        // An HMAC takes a key of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| EnrolError::Proof)?;
        mac.update(context);
        Ok(Self(mac.finalize().into_bytes().into()))
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(..)")
    }
}
