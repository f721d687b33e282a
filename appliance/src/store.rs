//! The folder in which ownership outlives a boot: one file, replaced whole or not at all.
//!
//! When ownership is to end, the file is first put aside under a name that says how, so that an end
//! that was begun is carried through whatever happens on the way.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use bartizan_model::identity::Farewell;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fsync, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::ownership::{DOCUMENT_MAX, Owned, OwnershipError};

/// The name of the document.
pub const DOCUMENT: &str = "ownership.json";

/// What is not whole yet.
const DRAFT: &str = "ownership.new";

/// Names of a document whose end has begun.
const ENDING: [(Farewell, &str); 2] = [
    (Farewell::Release, "ownership.released"),
    (Farewell::Retire, "ownership.retired"),
];

/// What a folder holds.
#[derive(Debug)]
pub enum Kept {
    /// No owner.
    Nobody,
    /// An owner.
    Owner(Box<Owned>),
    /// An owner whose end has begun.
    Ending(Farewell),
    /// A document that does not count.
    Broken(OwnershipError),
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} the state folder")]
pub struct StoreError {
    what: &'static str,
    #[source]
    cause: std::io::Error,
}

/// The folder, open.
#[derive(Debug)]
pub struct Store(OwnedFd);

impl Store {
    /// Opens the folder.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if there is none.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        openat(CWD, folder, flags, Mode::empty())
            .map(Self)
            .map_err(cannot("open"))
    }

    /// Reads what it holds.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be read; a document that does not count is [`Kept::Broken`].
    pub fn read(&self) -> Result<Kept, StoreError> {
        for (farewell, name) in ENDING {
            if self.look(name)?.is_some() {
                return Ok(Kept::Ending(farewell));
            }
        }
        let Some(file) = self.look(DOCUMENT)? else {
            return Ok(Kept::Nobody);
        };
        let mut bytes = Vec::new();
        std::fs::File::from(file)
            .take(DOCUMENT_MAX)
            .read_to_end(&mut bytes)
            .map_err(|cause| StoreError {
                what: "read",
                cause,
            })?;
        Ok(match Owned::decode(&bytes) {
            Ok(owned) => Kept::Owner(Box::new(owned)),
            Err(error) => Kept::Broken(error),
        })
    }

    /// Keeps an ownership in the place of any other.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; what was kept before still is.
    pub fn keep(&self, owned: &Owned) -> Result<(), StoreError> {
        let bytes = owned.encode().map_err(|error| StoreError {
            what: "write to",
            cause: std::io::Error::other(error),
        })?;
        let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let draft = openat(&self.0, DRAFT, flags, mode).map_err(cannot("write to"))?;
        let mut draft = std::fs::File::from(draft);
        draft.write_all(&bytes).map_err(|cause| StoreError {
            what: "write to",
            cause,
        })?;
        fsync(&draft).map_err(cannot("write to"))?;
        self.rename(DRAFT, DOCUMENT)
    }

    /// Puts the ownership aside: its end has begun.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the ownership stands.
    pub fn begin_end(&self, farewell: Farewell) -> Result<(), StoreError> {
        let name = ENDING.iter().find(|(other, _)| *other == farewell);
        self.rename(DOCUMENT, name.map_or(DRAFT, |(_, name)| name))
    }

    /// Forgets the ownership whose end has come.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn forget(&self) -> Result<(), StoreError> {
        for name in ENDING.map(|(_, name)| name).into_iter().chain([DRAFT]) {
            match unlinkat(&self.0, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(cannot("clear")(errno)),
            }
        }
        fsync(&self.0).map_err(cannot("clear"))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        renameat(&self.0, from, &self.0, to).map_err(cannot("write to"))?;
        // Without it the new name may be gone after a power cut.
        fsync(&self.0).map_err(cannot("write to"))
    }

    fn look(&self, name: &str) -> Result<Option<OwnedFd>, StoreError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(self.0.as_fd(), name, flags, Mode::empty()) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(cannot("read")(errno)),
        }
    }
}

fn cannot(what: &'static str) -> impl FnOnce(Errno) -> StoreError {
    move |errno| StoreError {
        what,
        cause: errno.into(),
    }
}
