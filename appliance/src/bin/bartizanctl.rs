//! The status tool: shows one snapshot, or checks a configuration. It can change nothing.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use bartizan::config::Config;
use bartizan::{status, table};
use bartizan_model::report::Snapshot;
use bartizan_process::{Exit, Fault};

const USAGE: &str = "usage: bartizanctl status [--json] | bartizanctl validate FILE";

/// The most bytes of a snapshot.
const SNAPSHOT_MAX: u64 = 64 * 1024 * 1024;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["status"] => show(false),
        ["status", "--json"] => show(true),
        ["validate", file] => validate(Path::new(file)),
        _ => Err(Fault::new(Exit::Usage, USAGE)),
    };
    match done {
        Ok(text) => print(&mut std::io::stdout(), &text),
        Err(fault) => {
            let _told = print(&mut std::io::stderr(), &format!("{fault}\n"));
            fault.exit().into()
        }
    }
}

/// Reads a snapshot and words it.
fn show(json: bool) -> Result<String, Fault> {
    let unreachable = |error| Fault::because(Exit::Unavailable, status::SOCKET, error);
    let mut text = String::new();
    UnixStream::connect(status::SOCKET)
        .map_err(unreachable)?
        .take(SNAPSHOT_MAX)
        .read_to_string(&mut text)
        .map_err(unreachable)?;
    if json {
        text.push('\n');
        return Ok(text);
    }
    let snapshot: Snapshot = serde_json::from_str(&text)
        .map_err(|error| Fault::because(Exit::Protocol, "the snapshot", error))?;
    let mut table = String::new();
    table::write(&mut table, &snapshot)
        .map_err(|error| Fault::because(Exit::Software, "the table", error))?;
    Ok(table)
}

/// Checks a configuration; the files that it names are not read.
fn validate(file: &Path) -> Result<String, Fault> {
    match Config::read(file) {
        Ok(config) => {
            let platform = &config.platform;
            Ok(format!(
                "{}: valid, for {} with {} {}\n",
                file.display(),
                platform.hw_model,
                platform.os_name,
                platform.os_version
            ))
        }
        Err(error) => Err(Fault::because(
            Exit::Config,
            file.display().to_string(),
            error,
        )),
    }
}

fn print(out: &mut impl Write, text: &str) -> ExitCode {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_closed) => Exit::IoErr.into(),
    }
}
