//! Shows a human what evidence says, and why a verdict fell. It reads files, and changes nothing.
#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod report;

use std::io::Write;
use std::process::ExitCode;

use arguments::Arguments;
use report::Report;

const USAGE: &str = "\
usage: bartizan-evidence replay LOG [--userspace-log FILE] [--ima-log FILE] [--bank NAME] [--json]
       bartizan-evidence quote --ak FILE --attest FILE --signature FILE --values FILE --pcrs LIST
                               --qualifying HEX [--json]
       bartizan-evidence appraise (all of quote) --firmware-log FILE --reference FILE
                               --es384 FILE --ml-dsa-65 FILE [--userspace-log FILE] [--ima-log FILE]
                               [--pinned PCR=HEX,..] [--rollback-floor NUMBER] [--json]

LOG        a firmware's event log: /sys/kernel/security/tpm0/binary_bios_measurements
--ak       TPMT_PUBLIC            (tpm2_readpublic -f tpmt)
--attest   TPMS_ATTEST            (tpm2_quote -m)
--signature  TPMT_SIGNATURE       (tpm2_quote -s)
--values   SHA-256 values, one after the other  (tpm2_quote -o -F values)
--pcrs     which they are: 0,1,7
--bank     sha1, sha256, sha384 or sha512
--es384, --ml-dsa-65  the public keys that reference values are signed with, raw
";

/// The verdict fell.
const FELL: u8 = 1;
/// sysexits: the command line is wrong.
const USAGE_ERROR: u8 = 64;
/// sysexits: a file cannot be read.
const NO_INPUT: u8 = 66;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Usage(String),
    #[error("{file}")]
    Read {
        file: String,
        #[source]
        cause: std::io::Error,
    },
    #[error("cannot write the report")]
    Json(#[source] serde_json::Error),
}

fn main() -> ExitCode {
    match run() {
        Ok((text, clean)) => {
            print(&mut std::io::stdout(), &text);
            if clean {
                ExitCode::SUCCESS
            } else {
                FELL.into()
            }
        }
        Err(fault) => {
            let mut text = format!("bartizan-evidence: {fault}");
            let mut cause = std::error::Error::source(&fault);
            while let Some(error) = cause {
                text.push_str(": ");
                text.push_str(&error.to_string());
                cause = error.source();
            }
            text.push('\n');
            print(&mut std::io::stderr(), &text);
            match fault {
                Fault::Usage(_) => USAGE_ERROR.into(),
                Fault::Read { .. } | Fault::Json(_) => NO_INPUT.into(),
            }
        }
    }
}

/// The report, and whether nothing is wrong in it.
fn run() -> Result<(String, bool), Fault> {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let arguments = Arguments::parse(words)?;
    let report: Report = match command.as_str() {
        "replay" => commands::replay(&arguments)?,
        "quote" => commands::quote(&arguments)?,
        "appraise" => commands::appraise(&arguments)?,
        _ => return Err(Fault::Usage(USAGE.to_owned())),
    };
    let text = if arguments.json() {
        let mut json = serde_json::to_string_pretty(&report).map_err(Fault::Json)?;
        json.push('\n');
        json
    } else {
        report.to_string()
    };
    Ok((text, report.failures.is_empty()))
}

fn print(out: &mut dyn Write, text: &str) {
    // A reader that went away has seen what it wanted.
    let _gone = out.write_all(text.as_bytes());
}
