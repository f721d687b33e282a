//! What the controller asks of the TPM: on a thread that may wait, while the loop goes on.

use core::future::pending;
use core::time::Duration;

use bartizan_evidence::binding;
use bartizan_model::identity::{Log, PcrSelection};
use bartizan_model::ids::Nonce;
use bartizan_model::message::{FromTpm, ToTpm};
use bartizan_netconf::LogPart;
use bartizan_netconf::limits;
use bartizan_netconf::server::{Finding, Unfound};
use bartizan_process::boot_time;
use bartizan_process::journal::{Level, log};
use bartizan_tls::{Tpm, TpmError};
use tokio::task::{JoinHandle, spawn_blocking};

/// How long one answer of the TPM may take: a discrete one needs some 200 ms for a quote.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long the reading of one part of a log may take in all.
const LOG_LIMIT: Duration = Duration::from_secs(10);

/// The TPM, and what it has been asked on the controller's behalf.
pub(crate) struct TpmDesk {
    tpm: Tpm,
    asked: Option<JoinHandle<Result<Finding, TpmError>>>,
}

impl TpmDesk {
    pub(crate) fn new(tpm: Tpm) -> Self {
        Self { tpm, asked: None }
    }

    /// Asks for a quote. `bound` is the engine's nonce, and makes the quote this session's; it shows
    /// the floors then.
    pub(crate) fn quote(
        &mut self,
        nonce: Vec<u8>,
        bound: Option<Nonce>,
        channel_binding: [u8; 32],
        pcrs: PcrSelection,
    ) {
        self.ask(move |tpm| {
            let answer = tpm.ask(ANSWER_LIMIT, |order| match bound {
                Some(Nonce(context)) => ToTpm::Attest {
                    order,
                    binding: binding::attest(&nonce, &channel_binding, &context),
                    pcrs,
                },
                None => ToTpm::Quote {
                    order,
                    qualifying: nonce,
                    pcrs,
                },
            })?;
            match answer {
                FromTpm::Attested { quoted, floors, .. } if bound.is_some() => {
                    let floors = Some(floors);
                    Ok(Finding::Quoted { quoted, floors })
                }
                FromTpm::Quoted { quoted, .. } if bound.is_none() => Ok(Finding::Quoted {
                    quoted,
                    floors: None,
                }),
                FromTpm::Attested { .. }
                | FromTpm::Quoted { .. }
                | FromTpm::Signature { .. }
                | FromTpm::Identity { .. }
                | FromTpm::Ldevid { .. }
                | FromTpm::Done(_)
                | FromTpm::Activated { .. }
                | FromTpm::LogPart { .. }
                | FromTpm::NotPermitted(_)
                | FromTpm::Failed { .. } => Err(TpmError::OtherAnswer),
            }
        });
    }

    /// Asks for a part of a log.
    pub(crate) fn log(&mut self, log: Log, offset: u32) {
        self.ask(move |tpm| read_log(tpm, log, offset).map(Finding::Log));
    }

    /// What was found. Waits for ever while nothing is asked; nothing is lost if the future is
    /// dropped.
    ///
    /// # Errors
    ///
    /// [`TpmError`] where the edge is broken: the process must end.
    pub(crate) async fn found(&mut self) -> Result<Result<Finding, Unfound>, TpmError> {
        let Some(asked) = &mut self.asked else {
            return pending().await;
        };
        let joined = asked.await;
        self.asked = None;
        // It is never aborted, so without an outcome it panicked.
        match joined.map_err(|_panicked| TpmError::OtherAnswer)? {
            Ok(finding) => Ok(Ok(finding)),
            Err(error @ (TpmError::Edge(_) | TpmError::OtherAnswer)) => Err(error),
            Err(TpmError::NotPermitted) => Ok(Err(Unfound::NotPermitted)),
            Err(error @ (TpmError::Refused { .. } | TpmError::TimedOut | TpmError::Wait(_))) => {
                log(Level::Warn, format_args!("an inquiry: {error}"));
                Ok(Err(Unfound::Tpm))
            }
        }
    }

    fn ask(&mut self, question: impl FnOnce(&Tpm) -> Result<Finding, TpmError> + Send + 'static) {
        let tpm = self.tpm.clone();
        self.asked = Some(spawn_blocking(move || question(&tpm)));
    }
}

fn read_log(tpm: &Tpm, log: Log, first: u32) -> Result<LogPart, TpmError> {
    let end = boot_time().after(LOG_LIMIT);
    let mut part = LogPart {
        offset: first,
        bytes: Vec::new(),
        size: 0,
    };
    while part.bytes.len() < limits::LOG_PART {
        if end.since(boot_time()).is_zero() {
            return Err(TpmError::TimedOut);
        }
        let read = u32::try_from(part.bytes.len()).unwrap_or(u32::MAX);
        let Some(offset) = first.checked_add(read) else {
            break;
        };
        let answer = tpm.ask(ANSWER_LIMIT, |order| ToTpm::ReadLog { order, log, offset })?;
        let FromTpm::LogPart { bytes, size, .. } = answer else {
            return Err(TpmError::OtherAnswer);
        };
        part.size = size;
        if bytes.is_empty() {
            break;
        }
        part.bytes.extend_from_slice(&bytes);
    }
    part.bytes.truncate(limits::LOG_PART);
    Ok(part)
}
