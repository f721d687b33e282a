//! Files and programs, with errors that name them.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
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

/// A folder for this process alone, which goes with it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Result<Self, Fault> {
        let mut number = [0; 8];
        rustix::rand::getrandom(&mut number[..], rustix::rand::GetRandomFlags::empty())
            .map_err(|cause| Fault::Random(cause.into()))?;
        let name = format!("bartizan-image-{:016x}", u64::from_le_bytes(number));
        let path = std::env::temp_dir().join(name);
        // Fails if anybody was faster.
        (DirBuilder::new().mode(0o700).create(&path)).map_err(|cause| Fault::Write {
            file: path.display().to_string(),
            cause,
        })?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What could not be removed is in the folder for such things.
        let _left = fs::remove_dir_all(&self.0);
    }
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
    let mut command = Command::new(program);
    // Some lie in sbin, which is not in everybody's path.
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    let output = command
        .env("PATH", path)
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
