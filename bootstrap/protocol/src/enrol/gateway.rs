//! The gateway's end: [`Greeted`] -> [`Challenged`] -> [`Proven`] -> [`Ended`].
//!
//! A step consumes the state before it, and an error ends the session: there is no second attempt.

use bartizan_evidence::binding::{self, ChannelBinding};
use bartizan_evidence::lease::OwnerTime;
use bartizan_evidence::structures::Public;
use bartizan_evidence::verdict::{Class, Failure, Rule};
use bartizan_model::config::Der;
use bartizan_model::identity::{Credential, Log, PcrSelection, Quoted};
use bartizan_model::ownership::Ownership;
use bartizan_model::time::BootTime;

use super::{
    CHALLENGE_WAIT, Challenge, EnrolError, Enrolment, Evidence, Hello, OUTCOME_WAIT, Outcome,
    Reason, Request, SessionId,
};
use crate::bootstrap::Owner;
use crate::certificate::{Certificate, CertificateError, check_path};

/// The hello is said.
#[derive(Debug)]
pub struct Greeted {
    hello: Vec<u8>,
    channel: ChannelBinding,
    endorsements: usize,
    ldevid: Option<Vec<u8>>,
    deadline: BootTime,
}

/// The registrar has asked.
#[derive(Debug)]
pub struct Challenged {
    challenge: Challenge,
    proof_context: [u8; 32],
    qualifying: [u8; 32],
    ldevid: Option<Vec<u8>>,
    deadline: BootTime,
}

/// The evidence is shown.
#[derive(Debug)]
pub struct Proven {
    ldevid: Option<Vec<u8>>,
    deadline: BootTime,
}

/// How it ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ended {
    /// With a certificate that was checked.
    Enrolled(Box<Enrolment>),
    /// The quarantine is known.
    Reported,
    /// Without.
    Refused(Reason),
}

impl Greeted {
    /// Says hello: returns the message to send.
    ///
    /// A key to enrol was certified with [`binding::certify`] of the same session.
    ///
    /// # Errors
    ///
    /// [`EnrolError`] if the hello breaks a limit, or its key is none.
    pub fn greet(
        hello: &Hello,
        channel: ChannelBinding,
        now: BootTime,
    ) -> Result<(Vec<u8>, Self), EnrolError> {
        let bytes = hello.encode();
        Hello::decode(&bytes)?;
        let ldevid = match &hello.request {
            Request::Quarantine => None,
            Request::Enrol { ldevid, .. } => Some(spki(&ldevid.public)?),
        };
        let greeted = Self {
            hello: bytes.clone(),
            channel,
            endorsements: hello.identity.endorsement.len(),
            ldevid,
            deadline: now.after(CHALLENGE_WAIT),
        };
        Ok((bytes, greeted))
    }

    /// When to give up.
    pub const fn deadline(&self) -> BootTime {
        self.deadline
    }

    /// Takes the challenge, or the refusal that came in its place.
    ///
    /// # Errors
    ///
    /// [`EnrolError::Refused`] if the registrar said no; another one if the message is none of the
    /// two, came too late, or asks for what cannot be.
    pub fn challenged(self, message: &[u8], now: BootTime) -> Result<Challenged, EnrolError> {
        check_deadline(now, self.deadline)?;
        let challenge = match Challenge::decode(message) {
            Ok(challenge) => challenge,
            Err(error) => {
                return Err(match Outcome::decode(message) {
                    Ok(Outcome::Refused(reason)) => EnrolError::Refused(reason),
                    Ok(Outcome::Enrolled(_) | Outcome::Reported) | Err(_) => error,
                });
            }
        };
        if usize::from(challenge.credential.endorsement) >= self.endorsements {
            return Err(EnrolError::Endorsement);
        }
        let context = binding::enrolment_context(&self.hello, message);
        Ok(Challenged {
            proof_context: binding::proof_context(&self.hello, message, &self.channel),
            qualifying: binding::attest(&challenge.nonce.0, &self.channel, &context),
            deadline: now.after(challenge.deadline),
            ldevid: self.ldevid,
            challenge,
        })
    }
}

impl Challenged {
    /// When the evidence must have been sent.
    pub const fn deadline(&self) -> BootTime {
        self.deadline
    }

    /// What the TPM has to open.
    pub const fn credential(&self) -> &Credential {
        &self.challenge.credential
    }

    /// What the proof is over: the `context` of the TPM's activation.
    pub const fn proof_context(&self) -> [u8; 32] {
        self.proof_context
    }

    /// `qualifyingData` of the quote.
    pub const fn qualifying(&self) -> [u8; 32] {
        self.qualifying
    }

    /// Which PCRs to quote.
    pub const fn pcrs(&self) -> PcrSelection {
        self.challenge.pcrs
    }

    /// The policy that the evidence will be judged by, for the log.
    pub fn policy(&self) -> &str {
        &self.challenge.policy
    }

    /// Shows the evidence: returns the message to send.
    ///
    /// # Errors
    ///
    /// [`EnrolError`] if it is too late or the evidence breaks a limit.
    pub fn prove(
        self,
        proof: [u8; 32],
        quoted: Quoted,
        logs: Vec<(Log, Vec<u8>)>,
        now: BootTime,
    ) -> Result<(Vec<u8>, Proven), EnrolError> {
        check_deadline(now, self.deadline)?;
        let evidence = Evidence {
            session: self.session(),
            proof,
            quoted,
            logs,
        };
        let proven = Proven {
            ldevid: self.ldevid,
            deadline: now.after(OUTCOME_WAIT),
        };
        Ok((evidence.encode()?, proven))
    }

    /// The enrolment's name at the registrar, for the log.
    pub const fn session(&self) -> SessionId {
        self.challenge.session
    }
}

impl Proven {
    /// When to give up.
    pub const fn deadline(&self) -> BootTime {
        self.deadline
    }

    /// Takes the outcome. Certificates in it are over the key of the hello and chain to one of the
    /// owner's `anchors`; they have not ended before the floor of time.
    ///
    /// # Errors
    ///
    /// [`EnrolError`] if the message is none, came too late, or gives what does not count.
    pub fn ended(
        self,
        message: &[u8],
        anchors: &[Der],
        floor: OwnerTime,
        now: BootTime,
    ) -> Result<Ended, EnrolError> {
        check_deadline(now, self.deadline)?;
        match Outcome::decode(message)? {
            Outcome::Refused(reason) => Ok(Ended::Refused(reason)),
            Outcome::Reported if self.ldevid.is_some() => Err(EnrolError::Unasked),
            Outcome::Reported => Ok(Ended::Reported),
            Outcome::Enrolled(enrolment) => {
                let key = self.ldevid.ok_or(EnrolError::Unasked)?;
                check_enrolment(&enrolment, &key, anchors, floor)?;
                Ok(Ended::Enrolled(enrolment))
            }
        }
    }
}

/// Puts what the voucher's owner conveyed and what its registrar said together.
pub fn ownership(owner: Owner, enrolment: Enrolment) -> Ownership {
    Ownership {
        node: enrolment.node,
        epoch: owner.epoch,
        anchors: owner.site.anchors,
        verifier: owner.site.verifier,
        call_home: owner.site.call_home,
        registrar: owner.site.registrar,
        controller: owner.site.controller,
        ldevid: enrolment.ldevid,
        addresses: enrolment.addresses,
        peer_port: enrolment.peer_port,
        kmes: enrolment.kmes,
        network: owner.site.network,
    }
}

fn check_enrolment(
    enrolment: &Enrolment,
    key: &[u8],
    anchors: &[Der],
    floor: OwnerTime,
) -> Result<(), EnrolError> {
    let chain = parse(&enrolment.ldevid)?;
    let (leaf, others) = chain.split_first().ok_or(EnrolError::Foreign)?;
    let named = leaf.dns_name().as_deref() == Some(enrolment.node.as_str());
    if !named || !is_over(leaf, key)? {
        return Err(EnrolError::Foreign);
    }
    // The first anchor will do; the last one's error stands for all.
    let mut error = CertificateError::NoPath;
    let anchored = parse(anchors)?.iter().any(|anchor| {
        check_path(leaf, others, anchor, floor)
            .map_err(|cause| error = cause)
            .is_ok()
    });
    if !anchored {
        return Err(EnrolError::Certificate(error));
    }
    // Who certifies a gateway for a KME, the KME knows: it need not be the owner.
    for kme in &enrolment.kmes {
        let first = kme.chain.first().ok_or(EnrolError::Foreign)?;
        let certificate = Certificate::from_der(&first.0).map_err(EnrolError::Certificate)?;
        if !is_over(&certificate, key)? {
            return Err(EnrolError::Foreign);
        }
    }
    Ok(())
}

fn parse(chain: &[Der]) -> Result<Vec<Certificate>, EnrolError> {
    chain
        .iter()
        .map(|Der(der)| Certificate::from_der(der).map_err(EnrolError::Certificate))
        .collect()
}

/// Whether a certificate is over a key, by its `SubjectPublicKeyInfo`.
pub(super) fn is_over(certificate: &Certificate, key: &[u8]) -> Result<bool, EnrolError> {
    Ok(certificate.spki().map_err(EnrolError::Certificate)? == key)
}

/// The `SubjectPublicKeyInfo` of a key in the TPM.
pub(super) fn spki(public: &[u8]) -> Result<Vec<u8>, EnrolError> {
    let public = Public::parse(public).map_err(|error| {
        let text = format!("the LDevID key: {error}");
        EnrolError::Tpm(Failure::new(Rule::V14, Class::Malformed, text))
    })?;
    Ok(public.spki())
}

pub(super) fn check_deadline(now: BootTime, deadline: BootTime) -> Result<(), EnrolError> {
    if now > deadline {
        return Err(EnrolError::Late);
    }
    Ok(())
}
