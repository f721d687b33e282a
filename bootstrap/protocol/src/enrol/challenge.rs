//! What a registrar asks for.

use core::time::Duration;

use bartizan_evidence::cbor::Writer;
use bartizan_model::identity::{Credential, PcrSelection};
use bartizan_model::ids::Nonce;

use super::read::{self, Reader};
use super::{DEADLINE_MAX, EnrolError, MESSAGE_MAX};

const KIND: u64 = 2;

/// `TPM_ALG_SHA256` (TPM 2.0 Library, Part 2, 6.3): the bank of the PCRs.
pub(super) const SHA256: u64 = 0x000b;

/// The most bytes of a `TPM2B_ID_OBJECT` or `TPM2B_ENCRYPTED_SECRET`.
const CREDENTIAL_MAX: usize = 1024;

/// The most bytes of a policy's name.
const POLICY_MAX: usize = 64;

/// PCRs that there are.
const PCRS: u32 = 0x00ff_ffff;

/// Names an enrolment at the registrar.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SessionId(pub [u8; 16]);

/// What a registrar asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Challenge {
    /// The enrolment.
    pub session: SessionId,
    /// For the quote; used once.
    pub nonce: Nonce,
    /// What this TPM alone opens, for the Name of the attestation key.
    pub credential: Credential,
    /// Which PCRs of the SHA-256 bank to quote: at least one.
    pub pcrs: PcrSelection,
    /// The policy that the evidence will be judged by, for the log; at most 64 bytes.
    pub policy: String,
    /// How long the registrar waits: whole seconds, 1 to 30.
    pub deadline: Duration,
}

impl Challenge {
    /// The bytes that are sent.
    ///
    /// # Errors
    ///
    /// [`EnrolError::Deadline`] or [`EnrolError::Selection`] if it breaks their rule.
    pub fn encode(&self) -> Result<Vec<u8>, EnrolError> {
        self.check()?;
        Ok(read::encode(KIND, |writer| self.write(writer)))
    }

    /// Reads a message.
    ///
    /// # Errors
    ///
    /// [`EnrolError`] if it is no challenge, breaks a rule, or is not in its one form.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnrolError> {
        let challenge = read::message(bytes, MESSAGE_MAX, KIND, Self::read, Self::write)?;
        challenge.check()?;
        Ok(challenge)
    }

    fn check(&self) -> Result<(), EnrolError> {
        let seconds = Duration::from_secs(self.deadline.as_secs());
        if self.deadline.is_zero() || self.deadline > DEADLINE_MAX || seconds != self.deadline {
            return Err(EnrolError::Deadline);
        }
        let PcrSelection(pcrs) = self.pcrs;
        if pcrs == 0 || pcrs & !PCRS != 0 {
            return Err(EnrolError::Selection);
        }
        Ok(())
    }

    fn write(&self, writer: &mut Writer) {
        writer.array(6).bytes(&self.session.0).bytes(&self.nonce.0);
        writer
            .array(3)
            .unsigned(self.credential.endorsement.into())
            .bytes(&self.credential.blob)
            .bytes(&self.credential.secret);
        writer
            .array(2)
            .unsigned(SHA256)
            .unsigned(self.pcrs.0.into());
        writer.text(&self.policy).unsigned(self.deadline.as_secs());
    }

    fn read(reader: &mut Reader<'_>) -> read::Result<Self> {
        reader.array(6)?;
        let session = SessionId(reader.exactly()?);
        let nonce = Nonce(reader.exactly()?);
        reader.array(3)?;
        let credential = Credential {
            endorsement: reader.number()?,
            blob: reader.bytes(CREDENTIAL_MAX)?.to_vec(),
            secret: reader.bytes(CREDENTIAL_MAX)?.to_vec(),
        };
        reader.array(2)?;
        reader.one_of(&[(SHA256, ())])?;
        Ok(Self {
            session,
            nonce,
            credential,
            pcrs: PcrSelection(reader.number()?),
            policy: reader.text(POLICY_MAX)?.to_owned(),
            deadline: Duration::from_secs(reader.unsigned()?),
        })
    }
}
