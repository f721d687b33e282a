//! What a gateway shows.

use bartizan_evidence::cbor::Writer;
use bartizan_model::identity::{Log, Quoted};

use super::challenge::{SHA256, SessionId};
use super::hello::{LOGS, STRUCTURE_MAX, log_id};
use super::read::{self, Reader, count};
use super::{EVIDENCE_MAX, EnrolError};

const KIND: u64 = 3;

/// HMAC-SHA-256 (RFC 9053, 3.1: `HMAC 256/256`).
const HMAC_SHA256: u64 = 5;

/// The most bytes of a log.
const LOG_MAX: usize = 4 * 1024 * 1024;

/// The most PCRs.
const PCRS_MAX: usize = 24;

/// What a gateway shows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evidence {
    /// The enrolment.
    pub session: SessionId,
    /// HMAC-SHA-256 under the secret of the credential.
    pub proof: [u8; 32],
    /// The quote.
    pub quoted: Quoted,
    /// The logs that explain it, each at most once, in the order of [`Log`]; at most 4 MiB each.
    pub logs: Vec<(Log, Vec<u8>)>,
}

impl Evidence {
    /// The bytes that are sent.
    ///
    /// # Errors
    ///
    /// [`EnrolError::Logs`] or [`EnrolError::TooLong`] if it breaks their rule.
    pub fn encode(&self) -> Result<Vec<u8>, EnrolError> {
        self.check()?;
        let bytes = read::encode(KIND, |writer| self.write(writer));
        if bytes.len() > EVIDENCE_MAX {
            return Err(EnrolError::TooLong);
        }
        Ok(bytes)
    }

    /// Reads a message.
    ///
    /// # Errors
    ///
    /// [`EnrolError`] if it is no evidence, breaks a rule, or is not in its one form.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnrolError> {
        let evidence = read::message(bytes, EVIDENCE_MAX, KIND, Self::read, Self::write)?;
        evidence.check()?;
        Ok(evidence)
    }

    fn check(&self) -> Result<(), EnrolError> {
        if self.logs.iter().any(|(_, log)| log.len() > LOG_MAX) {
            return Err(EnrolError::TooLong);
        }
        let kinds = self.logs.iter().map(|(kind, _)| log_id(*kind));
        if !kinds.is_sorted_by(|one, next| one < next) {
            return Err(EnrolError::Logs);
        }
        Ok(())
    }

    fn write(&self, writer: &mut Writer) {
        writer.array(5).bytes(&self.session.0);
        writer.array(2).unsigned(HMAC_SHA256).bytes(&self.proof);
        writer
            .array(2)
            .bytes(&self.quoted.attest)
            .bytes(&self.quoted.signature);
        writer
            .array(2)
            .unsigned(SHA256)
            .array(count(&self.quoted.pcrs));
        for (index, digest) in &self.quoted.pcrs {
            writer.array(2).unsigned((*index).into()).bytes(digest);
        }
        writer.array(count(&self.logs));
        for (kind, log) in &self.logs {
            writer.array(2).unsigned(log_id(*kind)).bytes(log);
        }
    }

    fn read(reader: &mut Reader<'_>) -> read::Result<Self> {
        reader.array(5)?;
        let session = SessionId(reader.exactly()?);
        reader.array(2)?;
        reader.one_of(&[(HMAC_SHA256, ())])?;
        let proof = reader.exactly()?;
        reader.array(2)?;
        let attest = reader.bytes(STRUCTURE_MAX)?.to_vec();
        let signature = reader.bytes(STRUCTURE_MAX)?.to_vec();
        reader.array(2)?;
        reader.one_of(&[(SHA256, ())])?;
        let pcrs = reader.list(PCRS_MAX, |reader| {
            reader.array(2)?;
            Ok((reader.number()?, reader.exactly()?))
        })?;
        Ok(Self {
            session,
            proof,
            quoted: Quoted {
                attest,
                signature,
                pcrs,
            },
            logs: reader.list(LOGS.len(), |reader| {
                reader.array(2)?;
                Ok((reader.one_of(&LOGS)?, reader.bytes(LOG_MAX)?.to_vec()))
            })?,
        })
    }
}
