//! A folder of the supervisor's own: files are replaced whole or not at all.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, fsync, openat, renameat, unlinkat};
use rustix::io::Errno;

/// What is not whole yet.
const DRAFT: &str = "draft";

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} the state folder")]
pub struct FolderError {
    what: &'static str,
    #[source]
    cause: std::io::Error,
}

impl FolderError {
    /// What is to be written cannot be worded.
    pub(crate) fn unworded(cause: impl core::error::Error + Send + Sync + 'static) -> Self {
        Self {
            what: "write to",
            cause: std::io::Error::other(cause),
        }
    }
}

/// The folder, open.
#[derive(Debug)]
pub struct Folder(OwnedFd);

impl Folder {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// [`FolderError`] if there is none.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        openat(CWD, path, flags, Mode::empty())
            .map(Self)
            .map_err(cannot("open"))
    }

    /// Reads the first `max` bytes of a file; none if there is no such file.
    ///
    /// # Errors
    ///
    /// [`FolderError`] if there is one that cannot be read.
    pub fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, FolderError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(&self.0, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(cannot("read")(errno)),
        };
        let mut bytes = Vec::new();
        std::fs::File::from(file)
            .take(max)
            .read_to_end(&mut bytes)
            .map_err(|cause| FolderError {
                what: "read",
                cause,
            })?;
        Ok(Some(bytes))
    }

    /// Writes a file in the place of one of the same name; everybody can read it.
    ///
    /// # Errors
    ///
    /// [`FolderError`]; what was there before still is.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let draft = openat(&self.0, DRAFT, flags, mode).map_err(cannot("write to"))?;
        let mut draft = std::fs::File::from(draft);
        draft.write_all(bytes).map_err(|cause| FolderError {
            what: "write to",
            cause,
        })?;
        fsync(&draft).map_err(cannot("write to"))?;
        self.rename(DRAFT, name)
    }

    /// Gives a file another name.
    ///
    /// # Errors
    ///
    /// [`FolderError`]; it has its old one.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), FolderError> {
        renameat(&self.0, from, &self.0, to).map_err(cannot("write to"))?;
        // Without it the new name may be gone after a power cut.
        fsync(&self.0).map_err(cannot("write to"))
    }

    /// Removes files, as far as they are there.
    ///
    /// # Errors
    ///
    /// [`FolderError`].
    pub fn remove<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<(), FolderError> {
        for name in names.into_iter().chain([DRAFT]) {
            match unlinkat(&self.0, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(cannot("clear")(errno)),
            }
        }
        fsync(&self.0).map_err(cannot("clear"))
    }
}

fn cannot(what: &'static str) -> impl FnOnce(Errno) -> FolderError {
    move |errno| FolderError {
        what,
        cause: errno.into(),
    }
}
