//! Files and programs, with errors that name them.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::fault::Fault;

pub(crate) fn read(file: &Path) -> Result<Vec<u8>, Fault> {
    fs::read(file).map_err(|cause| Fault::Read {
        file: file.display().to_string(),
        cause,
    })
}

pub(crate) fn json<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T, Fault> {
    serde_json::from_slice(&read(file)?).map_err(|cause| Fault::Json {
        file: file.display().to_string(),
        cause,
    })
}

/// Writes a file under another name first: what has the name is whole.
pub(crate) fn write(file: &Path, parts: &[&[u8]]) -> Result<(), Fault> {
    let mut partial = file.as_os_str().to_owned();
    partial.push(".part");
    let partial = Path::new(&partial);
    let all = || {
        let mut out = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(partial)?;
        for part in parts {
            out.write_all(part)?;
        }
        out.sync_all()?;
        fs::rename(partial, file)
    };
    all().map_err(|cause| Fault::Write {
        file: file.display().to_string(),
        cause,
    })
}

pub(crate) fn run(
    program: &'static str,
    folder: &Path,
    arguments: &[&str],
) -> Result<Vec<u8>, Fault> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a host tool: it drives the machine's own programs"
    )]
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .map_err(|cause| Fault::Run { program, cause })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Fault::Program { program, said });
    }
    Ok(output.stdout)
}
