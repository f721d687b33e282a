//! Judges the quoted PCRs by the reference values of one image.

use std::collections::BTreeMap;

use bartizan_model::identity::PcrSelection;

use super::{APPRAISED, Basis, Logs, PcrFinding, Record};
use crate::quote::{Digest, Quote};
use crate::reference::{Hardware, ReferenceValues, UserspaceLogging};
use crate::replay::{Bank, Pcrs};
use crate::verdict::{Class, Failure, Rule};
use crate::{hex, ima_log};

/// What comes of it.
pub(super) struct Judged {
    pub(super) failures: Vec<Failure>,
    pub(super) pcrs: BTreeMap<u8, PcrFinding>,
    pub(super) image: String,
    pub(super) phase: Option<String>,
}

pub(super) fn judge(
    quote: &Quote,
    logs: &Logs<'_>,
    reference: &ReferenceValues,
    (record, floor): (&Record, Option<u64>),
) -> Judged {
    let mut judge = Judge {
        quote,
        logs,
        reference,
        record,
        floor: floor.unwrap_or_default(),
        failures: Vec::new(),
    };
    judge.check_coverage();
    judge.check_rollback();
    let pcrs = quote
        .pcrs()
        .iter()
        .map(|(pcr, value)| (*pcr, judge.judge_pcr(*pcr, *value)))
        .collect();
    Judged {
        failures: judge.failures,
        pcrs,
        image: reference.image.clone(),
        phase: phase(quote, reference),
    }
}

struct Judge<'a> {
    quote: &'a Quote,
    logs: &'a Logs<'a>,
    reference: &'a ReferenceValues,
    record: &'a Record,
    /// No image with a lower rollback epoch counts.
    floor: u64,
    failures: Vec<Failure>,
}

impl Judge<'_> {
    fn refuse(&mut self, rule: Rule, text: String) {
        self.failures.push(Failure::new(rule, Class::State, text));
    }

    fn check_coverage(&mut self) {
        for pcr in selected(APPRAISED) {
            if !self.quote.pcrs().contains_key(&pcr) {
                self.failures.push(Failure::new(
                    Rule::V13,
                    Class::Evidence,
                    format!("PCR {pcr} is not quoted"),
                ));
            }
        }
    }

    fn check_rollback(&mut self) {
        let (epoch, floor) = (self.reference.rollback_epoch, self.floor);
        if epoch < floor {
            self.refuse(
                Rule::V13,
                format!("the image's rollback epoch {epoch} is below the floor {floor}"),
            );
        }
    }

    fn judge_pcr(&mut self, pcr: u8, value: Digest) -> PcrFinding {
        let basis = self.judge_value(pcr, &value);
        let replayed = self.replayed(pcr, &value);
        let explained = match replayed {
            Some(replayed) if replayed == value => true,
            Some(replayed) => {
                let excused = self.is_unlogged(pcr, basis);
                if !excused {
                    self.refuse(
                        Rule::V12,
                        format!(
                            "PCR {pcr} is {}, the logs replay to {}",
                            hex::encode(&value),
                            hex::encode(&replayed)
                        ),
                    );
                }
                excused
            }
            // The log that cannot be replayed is a failure already.
            None => false,
        };
        PcrFinding {
            value,
            replayed,
            basis: if explained { basis } else { Basis::Refused },
        }
    }

    /// Whether a PCR that the logs do not explain may stand all the same.
    fn is_unlogged(&self, pcr: u8, basis: Basis) -> bool {
        self.reference.userspace_log == UserspaceLogging::Unlogged
            && (11..=15).contains(&pcr)
            && matches!(basis, Basis::Reference | Basis::Pinned | Basis::First)
    }

    fn replayed(&self, pcr: u8, value: &Digest) -> Option<Digest> {
        let mut pcrs = self.logs.replayed.clone()?;
        if pcr == ima_log::PCR {
            // Wherever it stops: at the quoted value, or at the log's end.
            let _entries = self.logs.ima.as_ref()?.replay_until(&mut pcrs, value);
        }
        digest(&pcrs, pcr)
    }

    /// V13.
    fn judge_value(&mut self, pcr: u8, value: &Digest) -> Basis {
        match pcr {
            0 | 2 => self.judge_hardware(pcr, value),
            4 | 7 | 9 | 12 | 13 | 14 => {
                let good = self.reference.exact.get(&pcr).cloned().unwrap_or_default();
                self.judge_exact(pcr, value, &good)
            }
            11 => {
                let phases = self.reference.phases.iter();
                let good: Vec<Digest> = phases.map(|phase| phase.pcr11).collect();
                self.judge_exact(pcr, value, &good)
            }
            15 => match self.record.pinned.get(&pcr).copied() {
                None => Basis::First,
                Some(pinned) if pinned == *value => Basis::Pinned,
                Some(pinned) => self.judge_exact(pcr, value, &[pinned]),
            },
            _ => Basis::Logged,
        }
    }

    fn judge_exact(&mut self, pcr: u8, value: &Digest, good: &[Digest]) -> Basis {
        if good.contains(value) {
            return Basis::Reference;
        }
        let good: Vec<String> = good.iter().map(|good| hex::encode(good)).collect();
        self.refuse(
            Rule::V13,
            format!(
                "PCR {pcr} is {}, good is {}",
                hex::encode(value),
                good.join(" or ")
            ),
        );
        Basis::Refused
    }

    fn judge_hardware(&mut self, pcr: u8, value: &Digest) -> Basis {
        let pinned = self.record.pinned.get(&pcr).copied();
        if pinned == Some(*value) {
            return Basis::Pinned;
        }
        if self.hardware().is_some() {
            return Basis::Hardware;
        }
        match (pinned, self.reference.hardware.is_empty()) {
            (None, true) => Basis::First,
            (Some(pinned), _) => self.judge_exact(pcr, value, &[pinned]),
            (None, false) => {
                self.refuse(
                    Rule::V13,
                    format!(
                        "PCR {pcr} is {}, of no hardware that is allowed",
                        hex::encode(value)
                    ),
                );
                Basis::Refused
            }
        }
    }

    /// The model whose firmware and option ROMs are both as quoted.
    fn hardware(&self) -> Option<&Hardware> {
        let (pcr0, pcr2) = (self.quote.pcrs().get(&0)?, self.quote.pcrs().get(&2)?);
        self.reference
            .hardware
            .iter()
            .find(|model| model.pcr0.contains(pcr0) && model.pcr2.contains(pcr2))
    }
}

fn phase(quote: &Quote, reference: &ReferenceValues) -> Option<String> {
    let pcr11 = quote.pcrs().get(&11)?;
    let mut phases = reference.phases.iter();
    let phase = phases.find(|phase| phase.pcr11 == *pcr11)?;
    Some(phase.name.clone())
}

fn selected(selection: PcrSelection) -> impl Iterator<Item = u8> {
    (0_u8..32).filter(move |pcr| selection.0.checked_shr((*pcr).into()).unwrap_or(0) & 1 == 1)
}

/// The value of a PCR of the SHA-256 bank.
fn digest(pcrs: &Pcrs, pcr: u8) -> Option<Digest> {
    debug_assert_eq!(pcrs.bank(), Bank::Sha256);
    pcrs.value(pcr).try_into().ok()
}
