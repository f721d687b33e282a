//! Tells the journal, and so the console, what this boot has measured: a technician beside the box, and the tests,
//! compare it with the reference values. It proves nothing to anybody else; quotes do.
#![forbid(unsafe_code)]

use std::{fs, io::Write as _, process::ExitCode};

/// Firmware's code and keys, the boot path, the kernel image's sections with the phases.
const PCRS: [u8; 6] = [0, 2, 4, 7, 9, 11];

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    for pcr in PCRS {
        let value = fs::read_to_string(format!("/sys/class/tpm/tpm0/pcr-sha256/{pcr}"));
        let told = match value {
            Ok(value) => writeln!(out, "PCR {pcr}: {}", value.trim().to_ascii_lowercase()),
            Err(cause) => writeln!(out, "PCR {pcr} cannot be read: {cause}"),
        };
        if told.is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
