//! The verdict over a verified quote: clock and floors (V11), the logs (V12) and the values (V13).
//!
//! | PCR | judged by |
//! |---|---|
//! | 0, 2 | the value pinned at enrolment, or the reference values' list of hardware |
//! | 1, 3, 5, 6, 8, 16 to 23 | the logs; informational |
//! | 4, 7, 9, 12, 13, 14 | the reference values, exactly, and the logs |
//! | 10 | the IMA log, where PCR 10 was asked for |
//! | 11 | the reference values, exactly, for a phase of boot, and the logs |
//! | 15 | the value pinned at enrolment, and the logs |
//!
//! A PCR without events must be at its reset value. Where the image's systemd keeps no log,
//! what userspace extends (11 to 15) need not replay if its exact value is known. Nothing is
//! skipped: every failure is in the verdict, and it is the same for the same input.

mod judge;

use std::collections::BTreeMap;

use bartizan_model::identity::{Floors, PcrSelection};

use crate::firmware_log::{self, FirmwareLog};
use crate::ima_log::ImaLog;
use crate::quote::{Digest, Quote};
use crate::reference::ReferenceValues;
use crate::replay::{Bank, Pcrs};
use crate::structures::ClockInfo;
use crate::userspace_log::{self, UserspaceLog};
use crate::verdict::{Class, Failure, Rule};

/// The PCRs that a quote must cover to be appraised: 0 to 15 without 10.
pub const APPRAISED: PcrSelection = PcrSelection(0xfbff);

/// The PCRs whose values are pinned at enrolment.
pub const PINNED_PCRS: [u8; 3] = [0, 2, 15];

/// What a box sent, with the quote verified.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The quote.
    pub quote: &'a Quote,
    /// The firmware's log, as sent.
    pub firmware_log: &'a [u8],
    /// Userspace's log, as sent.
    pub userspace_log: &'a [u8],
    /// The IMA log, as sent; looked at only where PCR 10 is quoted.
    pub ima_log: &'a [u8],
    /// The TPM's floors, to which the quote is bound; `None` where nobody asked for them.
    pub floors: Option<Floors>,
}

/// What the verifier knows of a box.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Record {
    /// The TPM's clock when it last attested.
    pub clock: Option<ClockInfo>,
    /// The values of [`PINNED_PCRS`] at enrolment; empty before it.
    pub pinned: BTreeMap<u8, Digest>,
    /// The floors as they were last seen: none may have fallen, and no image with a lower rollback
    /// epoch counts.
    pub floors: Floors,
}

/// What the verifier makes of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// Why it fails; none if it does not.
    pub failures: Vec<Failure>,
    /// Every quoted PCR.
    pub pcrs: BTreeMap<u8, PcrFinding>,
    /// The image whose reference values fit, or fitted best.
    pub image: Option<String>,
    /// Its phase of boot.
    pub phase: Option<String>,
    /// Whether the box was started anew since it last attested.
    pub boot: Boot,
}

/// One PCR.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PcrFinding {
    /// As quoted.
    pub value: Digest,
    /// As the logs say; `None` if they cannot be replayed.
    pub replayed: Option<Digest>,
    /// What it was judged by.
    pub basis: Basis,
}

/// What a PCR was judged by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Basis {
    /// It has a value of the image's reference values.
    Reference,
    /// It has the value that was pinned.
    Pinned,
    /// It has a value of the reference values' list of hardware.
    Hardware,
    /// It is to be pinned: none was before.
    First,
    /// Only that the logs explain it.
    Logged,
    /// It is refused.
    Refused,
}

/// Whether a box was started anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Boot {
    /// It never attested before.
    First,
    /// It was not.
    Same,
    /// It was, or resumed: what was known of the state before is void.
    New,
}

impl Verdict {
    /// Whether the box is as it should be.
    pub const fn is_clean(&self) -> bool {
        self.failures.is_empty()
    }

    /// The gravest class among the failures: all that the box is told.
    pub fn class(&self) -> Option<Class> {
        self.failures.iter().map(|failure| failure.class).max()
    }

    /// The values to pin at enrolment; meaningful if the verdict is clean.
    pub fn to_pin(&self) -> BTreeMap<u8, Digest> {
        PINNED_PCRS
            .into_iter()
            .filter_map(|pcr| Some((pcr, self.pcrs.get(&pcr)?.value)))
            .collect()
    }
}

/// Appraises evidence by the reference values of every image that the box may run.
///
/// Where no image fits, the verdict is by the one that comes closest: fewest failures, then first.
pub fn appraise(
    evidence: &Evidence<'_>,
    references: &[ReferenceValues],
    record: &Record,
) -> Verdict {
    let mut failures = Vec::new();
    let boot = check_clock(evidence.quote.clock(), record.clock, &mut failures);
    if let Some(shown) = &evidence.floors {
        check_floors(shown, &record.floors, &mut failures);
    }
    let floor = record.floors.rollback.max(shown_rollback(evidence));
    let logs = Logs::read(evidence, &mut failures);
    let judged = references
        .iter()
        .map(|reference| judge::judge(evidence.quote, &logs, reference, (record, floor)))
        .min_by_key(|judged| judged.failures.len());
    let Some(judged) = judged else {
        failures.push(Failure::new(
            Rule::V13,
            Class::State,
            "there are no reference values to judge by",
        ));
        return Verdict {
            failures,
            pcrs: BTreeMap::new(),
            image: None,
            phase: None,
            boot,
        };
    };
    failures.extend(judged.failures);
    Verdict {
        failures,
        pcrs: judged.pcrs,
        image: Some(judged.image),
        phase: judged.phase,
        boot,
    }
}

/// V11: no counter goes back, and within a boot neither does the clock.
///
/// From one boot to the next the clock decides nothing: after a loss of power it begins again with what the TPM saved
/// last, and there are TPMs that call it safe some seconds later although it never caught up. That a TPM was cleared is
/// told by its counters, by its missing LDevID and by its floors.
fn check_clock(now: ClockInfo, before: Option<ClockInfo>, failures: &mut Vec<Failure>) -> Boot {
    let Some(before) = before else {
        return Boot::First;
    };
    let mut refuse = |text: String| {
        failures.push(Failure::new(Rule::V11, Class::Evidence, text));
    };
    let counters = |clock: &ClockInfo| (clock.reset_count, clock.restart_count);
    let same = now.same_boot(&before);
    if counters(&now) < counters(&before) {
        refuse(format!(
            "the TPM counts {} resets and {} restarts, after {} and {}: it was cleared",
            now.reset_count, now.restart_count, before.reset_count, before.restart_count
        ));
    } else if same && now.clock < before.clock {
        refuse(format!(
            "the TPM's clock went back from {} ms to {} ms",
            before.clock, now.clock
        ));
    }
    if same { Boot::Same } else { Boot::New }
}

/// V11: no floor falls. That of time is the box's own matter: nothing here is judged by it.
fn check_floors(shown: &Floors, before: &Floors, failures: &mut Vec<Failure>) {
    for (name, shown, before) in [
        ("ownership", shown.ownership, before.ownership),
        ("rollback", shown.rollback, before.rollback),
    ] {
        if shown < before {
            let text = |floor: Option<u64>| floor.map_or("gone".to_owned(), |at| at.to_string());
            failures.push(Failure::new(
                Rule::V11,
                Class::Evidence,
                format!(
                    "the floor of {name} in the TPM is {}, it was {}",
                    text(shown),
                    text(before)
                ),
            ));
        }
    }
}

fn shown_rollback(evidence: &Evidence<'_>) -> Option<u64> {
    evidence.floors.and_then(|floors| floors.rollback)
}

/// The logs, as far as they could be read.
struct Logs<'a> {
    /// What both logs extend; `None` if one of them cannot be replayed.
    replayed: Option<Pcrs>,
    ima: Option<ImaLog<'a>>,
}

impl<'a> Logs<'a> {
    fn read(evidence: &Evidence<'a>, failures: &mut Vec<Failure>) -> Self {
        let replayed = replay(evidence.firmware_log, evidence.userspace_log)
            .map_err(|failure| failures.push(failure))
            .ok();
        let ima = if evidence.quote.pcrs().contains_key(&crate::ima_log::PCR) {
            ImaLog::parse(evidence.ima_log)
                .map_err(|error| {
                    failures.push(Failure::malformed("the IMA log", &error));
                })
                .ok()
        } else {
            None
        };
        Self { replayed, ima }
    }
}

/// Replays both logs, one after the other, into the SHA-256 bank.
///
/// # Errors
///
/// [`Failure`] by V12 for what is read and may not be, by V14 for what cannot be read.
pub fn replay(firmware_log: &[u8], userspace_log: &[u8]) -> Result<Pcrs, Failure> {
    let mut pcrs = FirmwareLog::parse(firmware_log)
        .and_then(|log| log.replay(Bank::Sha256))
        .map_err(|error| firmware_failure(&error))?;
    UserspaceLog::parse(userspace_log)
        .and_then(|log| log.replay(&mut pcrs))
        .map_err(|error| userspace_failure(&error))?;
    Ok(pcrs)
}

fn firmware_failure(error: &firmware_log::LogError) -> Failure {
    use firmware_log::LogError as E;
    const WHAT: &str = "the firmware's log";
    match error {
        E::TooLong
        | E::TooManyEvents
        | E::UnknownType { .. }
        | E::Digests(_)
        | E::Locality(_)
        | E::Separator(_)
        | E::Bank(_) => Failure::new(Rule::V12, Class::Evidence, format!("{WHAT}: {error}")),
        E::Truncated(_) | E::SpecId | E::Pcr { .. } => Failure::malformed(WHAT, error),
    }
}

fn userspace_failure(error: &userspace_log::LogError) -> Failure {
    use userspace_log::LogError as E;
    const WHAT: &str = "userspace's log";
    match error {
        E::TooLong | E::TooManyRecords | E::Digests(_) | E::Bank { .. } => {
            Failure::new(Rule::V12, Class::Evidence, format!("{WHAT}: {error}"))
        }
        E::Framing(_) | E::Malformed { .. } | E::Pcr(_) => Failure::malformed(WHAT, error),
    }
}
