//! What bootstrap asks of the TPM. Every call blocks its thread until the TPM has answered.

use core::time::Duration;

use bartizan_model::identity::{
    Certified, Credential, Floor, Log, PcrSelection, Quoted, TpmIdentity,
};
use bartizan_model::message::{FromTpm, ToTpm};
use bartizan_tls::{Tpm, TpmError};

/// How long one request may take: a discrete TPM needs seconds for a primary key.
const LIMIT: Duration = Duration::from_secs(30);

/// The most bytes of a log (enrolment takes no more).
const LOG_MAX: usize = 4 * 1024 * 1024;

pub(crate) fn identity(tpm: &Tpm) -> Result<TpmIdentity, TpmError> {
    if let FromTpm::Identity { identity, .. } = tpm.ask(LIMIT, ToTpm::Identity)? {
        Ok(*identity)
    } else {
        Err(TpmError::OtherAnswer)
    }
}

pub(crate) fn create_ldevid(tpm: &Tpm, qualifying: [u8; 32]) -> Result<Certified, TpmError> {
    let request = |order| ToTpm::CreateLdevid { order, qualifying };
    if let FromTpm::Ldevid { certified, .. } = tpm.ask(LIMIT, request)? {
        Ok(*certified)
    } else {
        Err(TpmError::OtherAnswer)
    }
}

pub(crate) fn keep_ldevid(tpm: &Tpm) -> Result<(), TpmError> {
    done(&tpm.ask(LIMIT, ToTpm::KeepLdevid)?)
}

pub(crate) fn raise_floor(tpm: &Tpm, floor: Floor, to: u64) -> Result<(), TpmError> {
    done(&tpm.ask(LIMIT, |order| ToTpm::RaiseFloor { order, floor, to })?)
}

pub(crate) fn activate(
    tpm: &Tpm,
    credential: Credential,
    context: [u8; 32],
) -> Result<[u8; 32], TpmError> {
    let request = |order| ToTpm::Activate {
        order,
        credential,
        context,
    };
    if let FromTpm::Activated { proof, .. } = tpm.ask(LIMIT, request)? {
        Ok(proof)
    } else {
        Err(TpmError::OtherAnswer)
    }
}

pub(crate) fn quote(tpm: &Tpm, qualifying: &[u8], pcrs: PcrSelection) -> Result<Quoted, TpmError> {
    let request = |order| ToTpm::Quote {
        order,
        qualifying: qualifying.to_vec(),
        pcrs,
    };
    if let FromTpm::Quoted { quoted, .. } = tpm.ask(LIMIT, request)? {
        Ok(*quoted)
    } else {
        Err(TpmError::OtherAnswer)
    }
}

/// Reads a log as far as it goes; empty where there is none.
pub(crate) fn log(tpm: &Tpm, log: Log) -> Result<Vec<u8>, TpmError> {
    let mut whole = Vec::new();
    loop {
        let offset = u32::try_from(whole.len()).map_err(|_| TpmError::OtherAnswer)?;
        let part = tpm.ask(LIMIT, |order| ToTpm::ReadLog { order, log, offset })?;
        let FromTpm::LogPart { bytes, .. } = part else {
            return Err(TpmError::OtherAnswer);
        };
        if bytes.is_empty() {
            return Ok(whole);
        }
        if whole.len() > LOG_MAX {
            return Err(TpmError::OtherAnswer);
        }
        whole.extend(bytes);
    }
}

fn done(answer: &FromTpm) -> Result<(), TpmError> {
    if matches!(answer, FromTpm::Done(_)) {
        Ok(())
    } else {
        Err(TpmError::OtherAnswer)
    }
}
