//! The three commands.

use std::collections::BTreeMap;

use bartizan_evidence::appraisal::{self, Evidence, Record, Verdict};
use bartizan_evidence::cose::VerifierKeys;
use bartizan_evidence::firmware_log::FirmwareLog;
use bartizan_evidence::hex;
use bartizan_evidence::ima_log::ImaLog;
use bartizan_evidence::quote::{AttestationKey, Digest, Quote};
use bartizan_evidence::reference::ReferenceValues;
use bartizan_evidence::replay::{Bank, PCRS, Pcrs};
use bartizan_evidence::userspace_log::UserspaceLog;
use bartizan_evidence::verdict::{Class, Failure, Rule};
use bartizan_model::identity::{Floors, PcrSelection, Quoted};

use crate::Fault;
use crate::arguments::{Arguments, wrong};
use crate::report::{EventLine, PcrLine, Report};

/// Shows the events of a log and the PCRs that they lead to.
pub(crate) fn replay(arguments: &Arguments) -> Result<Report, Fault> {
    let firmware = arguments.only_file()?;
    let userspace = arguments.file_or_nothing("--userspace-log")?;
    let ima = arguments.file_or_nothing("--ima-log")?;
    let bank = match arguments.option("--bank") {
        None => Bank::Sha256,
        Some(name) => Bank::ALL
            .into_iter()
            .find(|bank| bank.name() == name)
            .ok_or_else(|| wrong("--bank"))?,
    };
    let mut report = Report::default();
    if let Err(failure) = replay_all(&mut report, bank, &firmware, &userspace, &ima) {
        report.fail(&failure);
    }
    Ok(report)
}

fn replay_all(
    report: &mut Report,
    bank: Bank,
    firmware: &[u8],
    userspace: &[u8],
    ima: &[u8],
) -> Result<(), Failure> {
    let refused = |what: &str, error: &dyn std::fmt::Display| {
        Failure::new(Rule::V12, Class::Evidence, format!("{what}: {error}"))
    };
    let log =
        FirmwareLog::parse(firmware).map_err(|error| refused("the firmware's log", &error))?;
    report.facts.insert("format", format!("{:?}", log.format()));
    report
        .facts
        .insert("startup locality", log.locality().to_string());
    for (number, event) in log.events().iter().enumerate() {
        let digest = event.digests.iter().find(|(id, _)| *id == bank.id());
        report.events.push(EventLine {
            log: "firmware",
            number,
            pcr: event.pcr,
            what: event.kind.to_string(),
            digest: digest.map_or_else(String::new, |(_, digest)| hex::encode(digest)),
        });
    }
    let mut pcrs = log
        .replay(bank)
        .map_err(|error| refused("the firmware's log", &error))?;
    let log = UserspaceLog::parse(userspace).map_err(|error| refused("userspace's log", &error))?;
    for (number, record) in log.records().iter().enumerate() {
        let digest = record.digests.iter().find(|(known, _)| *known == bank);
        report.events.push(EventLine {
            log: "userspace",
            number,
            pcr: record.pcr,
            what: record.description.escape_debug().to_string(),
            digest: digest.map_or_else(String::new, |(_, digest)| hex::encode(digest)),
        });
    }
    log.replay(&mut pcrs)
        .map_err(|error| refused("userspace's log", &error))?;
    let log = ImaLog::parse(ima).map_err(|error| refused("the IMA log", &error))?;
    // No value is looked for: to the end.
    let _end = log.replay_until(&mut pcrs, &[]);
    report
        .facts
        .insert("IMA entries", log.entries().len().to_string());
    show_pcrs(report, &pcrs);
    Ok(())
}

/// The last PCR that a boot without a dynamic launch may extend.
const LAST_STATIC: u8 = 15;

fn show_pcrs(report: &mut Report, pcrs: &Pcrs) {
    for pcr in 0..PCRS {
        if pcrs.is_extended(pcr) || pcr <= LAST_STATIC {
            report.pcrs.insert(
                pcr,
                PcrLine {
                    quoted: None,
                    replayed: Some(hex::encode(&pcrs.value(pcr))),
                    basis: None,
                },
            );
        }
    }
}

/// Verifies a quote.
pub(crate) fn quote(arguments: &Arguments) -> Result<Report, Fault> {
    let mut report = Report::default();
    match verified(arguments)? {
        Ok(quote) => show_quote(&mut report, &quote),
        Err(failure) => report.fail(&failure),
    }
    Ok(report)
}

/// Verifies a quote and appraises it.
pub(crate) fn appraise(arguments: &Arguments) -> Result<Report, Fault> {
    let keys = (arguments.file("--es384")?, arguments.file("--ml-dsa-65")?);
    let signed = arguments.file("--reference")?;
    let firmware_log = arguments.file("--firmware-log")?;
    let userspace_log = arguments.file_or_nothing("--userspace-log")?;
    let ima_log = arguments.file_or_nothing("--ima-log")?;
    let record = record(arguments)?;
    let mut report = Report::default();
    let quote = match verified(arguments)? {
        Ok(quote) => quote,
        Err(failure) => {
            report.fail(&failure);
            return Ok(report);
        }
    };
    show_quote(&mut report, &quote);
    let reference = VerifierKeys::new(&keys.0, &keys.1)
        .map_err(|error| error.to_string())
        .and_then(|keys| {
            ReferenceValues::verify(&signed, &keys).map_err(|error| error.to_string())
        });
    match reference {
        Ok(reference) => {
            let evidence = Evidence {
                quote: &quote,
                firmware_log: &firmware_log,
                userspace_log: &userspace_log,
                ima_log: &ima_log,
                floors: None,
            };
            show_verdict(
                &mut report,
                &appraisal::appraise(&evidence, &[reference], &record),
            );
        }
        Err(text) => report.fail(&Failure::new(Rule::V13, Class::Malformed, text)),
    }
    Ok(report)
}

fn verified(arguments: &Arguments) -> Result<Result<Quote, Failure>, Fault> {
    let pcrs: Vec<u8> = arguments
        .required("--pcrs")?
        .split(',')
        .map(|pcr| pcr.parse().ok().filter(|pcr| *pcr < PCRS))
        .collect::<Option<_>>()
        .ok_or_else(|| wrong("--pcrs"))?;
    let selection = pcrs.iter().fold(0, |selection, pcr| {
        selection | 1_u32.checked_shl((*pcr).into()).unwrap_or(0)
    });
    let values = arguments.file("--values")?;
    let (values, []) = values.as_chunks::<32>() else {
        return Err(wrong("--values"));
    };
    if values.len() != pcrs.len() || !pcrs.is_sorted() {
        return Err(wrong("--pcrs"));
    }
    let quoted = Quoted {
        attest: arguments.file("--attest")?,
        signature: arguments.file("--signature")?,
        pcrs: pcrs.into_iter().zip(values.iter().copied()).collect(),
    };
    let qualifying = hex::decode(arguments.required("--qualifying")?);
    let qualifying = qualifying.ok_or_else(|| wrong("--qualifying"))?;
    let ak = arguments.file("--ak")?;
    Ok(AttestationKey::parse(&ak)
        .and_then(|ak| Quote::verify(&quoted, &ak, &qualifying, PcrSelection(selection))))
}

fn record(arguments: &Arguments) -> Result<Record, Fault> {
    let mut pinned = BTreeMap::new();
    for pin in arguments.option("--pinned").unwrap_or_default().split(',') {
        if pin.is_empty() {
            continue;
        }
        let pin = pin.split_once('=').and_then(|(pcr, value)| {
            let value: Digest = hex::decode(value)?.try_into().ok()?;
            Some((pcr.parse().ok()?, value))
        });
        let (pcr, value) = pin.ok_or_else(|| wrong("--pinned"))?;
        pinned.insert(pcr, value);
    }
    let floor = arguments.option("--rollback-floor").unwrap_or("0");
    let floor = floor.parse().map_err(|_| wrong("--rollback-floor"))?;
    Ok(Record {
        clock: None,
        pinned,
        floors: Floors {
            rollback: Some(floor),
            ..Floors::default()
        },
    })
}

fn show_quote(report: &mut Report, quote: &Quote) {
    let clock = quote.clock();
    let facts = &mut report.facts;
    facts.insert("resets", clock.reset_count.to_string());
    facts.insert("restarts", clock.restart_count.to_string());
    facts.insert("clock (ms)", clock.clock.to_string());
    facts.insert("TPM firmware", format!("{:#x}", quote.firmware_version()));
    for (pcr, value) in quote.pcrs() {
        report.pcrs.insert(
            *pcr,
            PcrLine {
                quoted: Some(hex::encode(value)),
                replayed: None,
                basis: None,
            },
        );
    }
}

fn show_verdict(report: &mut Report, verdict: &Verdict) {
    for (pcr, finding) in &verdict.pcrs {
        report.pcrs.insert(
            *pcr,
            PcrLine {
                quoted: Some(hex::encode(&finding.value)),
                replayed: finding.replayed.map(|value| hex::encode(&value)),
                basis: Some(format!("{:?}", finding.basis).to_lowercase()),
            },
        );
    }
    if let Some(image) = &verdict.image {
        report.facts.insert("image", image.clone());
    }
    if let Some(phase) = &verdict.phase {
        report.facts.insert("phase", phase.clone());
    }
    for failure in &verdict.failures {
        report.fail(failure);
    }
}
