//! What is shown: the same for eyes and for programs.

use std::collections::BTreeMap;
use std::fmt;

use bartizan_evidence::verdict::Failure;
use serde::Serialize;

/// A report.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Facts by the way, in their order.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) facts: BTreeMap<&'static str, String>,
    /// Every event, where a log was shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) events: Vec<EventLine>,
    /// Every PCR.
    pub(crate) pcrs: BTreeMap<u8, PcrLine>,
    /// Why it fell; none if it stands.
    pub(crate) failures: Vec<FailureLine>,
}

/// An event of a log.
#[derive(Debug, Serialize)]
pub(crate) struct EventLine {
    pub(crate) log: &'static str,
    pub(crate) number: usize,
    pub(crate) pcr: Option<u8>,
    pub(crate) what: String,
    pub(crate) digest: String,
}

/// A PCR.
#[derive(Debug, Serialize)]
pub(crate) struct PcrLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quoted: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replayed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) basis: Option<String>,
}

/// A failure.
#[derive(Debug, Serialize)]
pub(crate) struct FailureLine {
    pub(crate) rule: String,
    pub(crate) class: String,
    pub(crate) text: String,
}

impl Report {
    pub(crate) fn fail(&mut self, failure: &Failure) {
        self.failures.push(FailureLine {
            rule: failure.rule.to_string(),
            class: failure.class.to_string(),
            text: failure.text.clone(),
        });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.facts {
            writeln!(f, "{name}: {value}")?;
        }
        for event in &self.events {
            let pcr = event
                .pcr
                .map_or_else(|| "-".to_owned(), |pcr| pcr.to_string());
            writeln!(
                f,
                "{:9} {:5} PCR {pcr:>2} {} {}",
                event.log, event.number, event.digest, event.what
            )?;
        }
        for (pcr, line) in &self.pcrs {
            let value = line.quoted.as_ref().or(line.replayed.as_ref());
            let value = value.map_or("?", String::as_str);
            write!(f, "PCR {pcr:>2} {value}")?;
            if let Some(basis) = &line.basis {
                write!(f, " {basis}")?;
            }
            if let (Some(quoted), Some(replayed)) = (&line.quoted, &line.replayed)
                && quoted != replayed
            {
                write!(f, "\n       {replayed} by the logs")?;
            }
            writeln!(f)?;
        }
        for failure in &self.failures {
            writeln!(f, "{} ({}): {}", failure.rule, failure.class, failure.text)?;
        }
        let end = if self.failures.is_empty() {
            "nothing is wrong"
        } else {
            "refused"
        };
        writeln!(f, "{end}")
    }
}
