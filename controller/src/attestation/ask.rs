//! Asking a gateway for its quote and its logs.

use aws_lc_rs::rand::fill;
use bartizan_model::identity::{Floors, Log};
use bartizan_netconf::client::Qualified;
use tokio::time::Instant;

use super::{
    APPRAISED, Asked, AttestationKey, Attester, DEADLINE, Desk, Device, Judged, Link, LinkError,
    Logs, Mirror, Nonce, Passed, Quote, Request, binding, clock, failed, identity,
};

/// The most bytes of a log.
const LOG_MAX: usize = 4 * 1024 * 1024;

/// How often a log that went on between its reading and the quote is read again.
const ROUNDS: u32 = 2;

impl Attester {
    /// Asks for a quote; reads the logs first where no quote of this boot passed yet, and afterwards
    /// where it differs from the one that did.
    pub(super) async fn ask(
        &mut self,
        link: &mut Link,
        desk: &Desk,
        device: &Device,
        lease_nonce: Nonce,
    ) -> Result<Asked, LinkError> {
        let Some(known) = device.identity() else {
            return Ok(Asked::Failed(identity("the record has no attestation key")));
        };
        let ak = match AttestationKey::parse(&known.ak.0) {
            Ok(ak) => ak,
            Err(failure) => return Ok(Asked::Failed(failed(&failure))),
        };
        let mut failure = None;
        for _round in 0..ROUNDS {
            let logs = match &self.passed {
                Some(_) => None,
                None => match self.logs(link, desk).await? {
                    Some(logs) => Some(logs),
                    None => return Ok(Asked::Nothing),
                },
            };
            let (quote, floors) = match self.quote(link, desk, &ak, lease_nonce).await? {
                Ok(shown) => shown,
                Err(asked) => return Ok(asked),
            };
            let logs = match (logs, self.still(&quote, floors, device)) {
                (None, Some(judged)) => return Ok(Asked::Judged(judged)),
                (Some(logs), _) => logs,
                (None, None) => match self.logs(link, desk).await? {
                    Some(logs) => logs,
                    None => return Ok(Asked::Nothing),
                },
            };
            match self.verifier.judge(device, &quote, floors, &logs) {
                Ok(judged) => {
                    self.passed = Some(Passed {
                        clock: quote.clock(),
                        pcrs: quote.pcrs().clone(),
                        judged: judged.clone(),
                    });
                    return Ok(Asked::Judged(judged));
                }
                Err(found) => {
                    self.passed = None;
                    let explained = found.text.contains("V12");
                    failure = Some(found);
                    if !explained {
                        break;
                    }
                }
            }
        }
        Ok(failure.map_or(Asked::Nothing, Asked::Failed))
    }

    /// What was proved before, if this quote says the same of the same boot, with the floors that
    /// are known of the device.
    fn still(&mut self, quote: &Quote, floors: Floors, device: &Device) -> Option<Judged> {
        let passed = self.passed.as_mut()?;
        let now = quote.clock();
        let goes_on = now.same_boot(&passed.clock) && now.clock >= passed.clock.clock;
        let changed = *quote.pcrs() != passed.pcrs || Mirror::of(&floors) != device.floors();
        if !goes_on || changed {
            return None;
        }
        passed.clock = now;
        passed.judged.clock = clock(now);
        passed.judged.floors = floors;
        Some(passed.judged.clone())
    }

    /// One quote over a fresh nonce and the floors, verified (V1 to V5, V7).
    async fn quote(
        &self,
        link: &mut Link,
        desk: &Desk,
        ak: &AttestationKey,
        lease_nonce: Nonce,
    ) -> Result<Result<(Quote, Floors), Asked>, LinkError> {
        let mut nonce = [0; 32];
        if fill(&mut nonce).is_err() {
            desk.tell(&self.node, "there is no randomness for a nonce");
            return Ok(Err(Asked::Nothing));
        }
        let asked = Instant::now();
        let challenge = Request::Challenge {
            nonce: &nonce,
            pcrs: APPRAISED,
            qualified: Qualified::ByNonceAndSession,
        };
        let evidence = match link.quote(&challenge).await? {
            Ok(evidence) => evidence,
            Err(refusal) => {
                desk.tell(&self.node, &format!("does not quote: {refusal}"));
                desk.count("attestation-refused");
                return Ok(Err(Asked::Nothing));
            }
        };
        if asked.elapsed() > DEADLINE {
            desk.tell(&self.node, "quoted too late");
            desk.count("attestation-late");
            return Ok(Err(Asked::Nothing));
        }
        // Who shows none says that none stands.
        let floors = evidence.floors.unwrap_or_default();
        let bound = binding::attest(&nonce, &self.channel, &lease_nonce.0);
        let qualifying = binding::floors(&bound, &floors);
        let quote = Quote::verify(&evidence.quoted, ak, &qualifying, APPRAISED);
        Ok(match quote {
            Ok(quote) => Ok((quote, floors)),
            Err(failure) => Err(Asked::Failed(failed(&failure))),
        })
    }

    /// All logs; none if the gateway does not tell them.
    async fn logs(&self, link: &mut Link, desk: &Desk) -> Result<Option<Logs>, LinkError> {
        let mut logs = Logs::default();
        for (kind, log) in [
            (Log::Firmware, &mut logs.firmware),
            (Log::Userspace, &mut logs.userspace),
        ] {
            loop {
                let offset = u32::try_from(log.len()).unwrap_or(u32::MAX);
                let part = match link.log(&Request::Log { log: kind, offset }).await? {
                    Ok(part) => part,
                    Err(refusal) => {
                        desk.tell(&self.node, &format!("does not tell a log: {refusal}"));
                        desk.count("attestation-refused");
                        return Ok(None);
                    }
                };
                if part.bytes.is_empty() {
                    break;
                }
                log.extend_from_slice(&part.bytes);
                if part.offset != offset || log.len() > LOG_MAX {
                    desk.tell(&self.node, "tells a log that is none");
                    desk.count("attestation-refused");
                    return Ok(None);
                }
            }
        }
        Ok(Some(logs))
    }
}
