//! The programs that the builder runs, and the files that it reads and writes, with errors that name them.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::BuildError;

/// A program of the machine, in an environment that makes its output the same everywhere.
#[derive(Debug)]
pub(crate) struct Program {
    name: &'static str,
    command: Command,
}

impl Program {
    pub(crate) fn new(name: &'static str) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a host tool: it drives the machine's own programs"
        )]
        let mut command = Command::new(name);
        // Some lie in sbin, which is not in everybody's path.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut path = path;
        path.push(":/usr/sbin:/sbin");
        command
            .env("PATH", path)
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("SOURCE_DATE_EPOCH", "0")
            .stdin(Stdio::null());
        Self { name, command }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs it to its end and returns what it printed.
    pub(crate) fn run(mut self) -> Result<String, BuildError> {
        let program = self.name;
        let output = self.command.output();
        let output = output.map_err(|cause| BuildError::Run { program, cause })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(BuildError::Program { program, said })
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    fs::read(path).map_err(BuildError::read(path))
}

pub(crate) fn text(path: &Path) -> Result<String, BuildError> {
    fs::read_to_string(path).map_err(BuildError::read(path))
}

/// Writes a file, with the folders above it.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(BuildError::write(folder))?;
    }
    fs::write(path, bytes).map_err(BuildError::write(path))
}
