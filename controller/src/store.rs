//! The one file that the controller's will is kept in.
//!
//! It is written beside itself, flushed and renamed into place, so that a crash leaves the old file
//! or the new one. Only one controller holds it at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::plan::Document;
use crate::reqids::Reqids;

/// The version of the file.
const VERSION: u32 = 1;

/// The file, held.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    folder: File,
    _lock: File,
}

/// What the file keeps.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The plan as it was applied.
    pub document: Document,
    /// The number of each tunnel.
    pub reqids: Reqids,
}

/// The file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another controller holds it.
    #[error("{} is held by another controller", .0.display())]
    Held(PathBuf),
    /// The system refuses.
    #[error("cannot {act} {}", path.display())]
    File {
        /// What was tried.
        act: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// It is not ours.
    #[error("{} is no state of a controller", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: serde_json::Error,
    },
    /// It is of another version.
    #[error("{} has the version {version}, not {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

#[derive(Deserialize)]
struct Stored {
    version: u32,
    kept: serde_json::Value,
}

#[derive(Serialize)]
struct Storing<'kept> {
    version: u32,
    kept: &'kept Kept,
}

impl Store {
    /// Takes hold of the file and reads it; a file that is not there keeps nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. A file that cannot be understood is left as it is.
    pub fn open(path: &Path) -> Result<(Self, Kept), StoreError> {
        let fault = |act, path: &Path, cause| StoreError::File {
            act,
            path: path.to_owned(),
            cause,
        };
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let lock_path = beside(path, "lock");
        let lock = private().open(&lock_path);
        let lock = lock.map_err(|cause| fault("open", &lock_path, cause))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Held(path.to_owned())),
            Err(TryLockError::Error(cause)) => return Err(fault("lock", &lock_path, cause)),
        }
        let kept = match fs::read(path) {
            Ok(bytes) => decode(path, &bytes)?,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Kept::default(),
            Err(cause) => return Err(fault("read", path, cause)),
        };
        let store = Self {
            path: path.to_owned(),
            folder: File::open(folder).map_err(|cause| fault("open", folder, cause))?,
            _lock: lock,
        };
        Ok((store, kept))
    }

    /// Replaces what the file keeps; it is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the file keeps what it kept, unless only the last flush failed.
    pub fn save(&self, kept: &Kept) -> Result<(), StoreError> {
        let storing = Storing {
            version: VERSION,
            kept,
        };
        let bytes = serde_json::to_vec(&storing).map_err(|cause| StoreError::Malformed {
            path: self.path.clone(),
            cause,
        })?;
        let next = beside(&self.path, "next");
        self.replace(&next, &bytes)
            .map_err(|cause| StoreError::File {
                act: "write",
                path: self.path.clone(),
                cause,
            })
    }

    fn replace(&self, next: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = private().truncate(true).open(next)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(next, &self.path)?;
        self.folder.sync_all()
    }
}

fn decode(path: &Path, bytes: &[u8]) -> Result<Kept, StoreError> {
    let fault = |cause| StoreError::Malformed {
        path: path.to_owned(),
        cause,
    };
    let stored: Stored = serde_json::from_slice(bytes).map_err(fault)?;
    if stored.version != VERSION {
        return Err(StoreError::Version {
            path: path.to_owned(),
            version: stored.version,
        });
    }
    serde_json::from_value(stored.kept).map_err(fault)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}
