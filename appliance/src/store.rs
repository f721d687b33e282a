//! Where ownership outlives a boot: one document in the state folder.
//!
//! When ownership begins, the document is written under a name of its own before the TPM keeps the
//! LDevID, and gets its name after: whenever the power is cut, the TPM alone says whether the
//! ownership came to be. When ownership is to end, the document is first put aside under a name that
//! says how, so that an end that was begun is carried through whatever happens on the way.

use std::path::Path;

use bartizan_model::identity::Farewell;

use crate::folder::{Folder, FolderError};
use crate::ownership::{DOCUMENT_MAX, Owned, OwnershipError};

/// The name of the document.
pub const DOCUMENT: &str = "ownership.json";

/// The name of a document whose LDevID the TPM may or may not keep.
const PENDING: &str = "ownership.pending";

/// Names of a document whose end has begun.
const RELEASED: &str = "ownership.released";
const RETIRED: &str = "ownership.retired";

/// What a folder holds.
#[derive(Debug)]
pub enum Kept {
    /// No owner.
    Nobody,
    /// An owner.
    Owner(Box<Owned>),
    /// An owner, if the TPM keeps the LDevID.
    Pending(Box<Owned>),
    /// An owner whose end has begun.
    Ending(Farewell),
    /// A document that does not count.
    Broken(OwnershipError),
}

/// The state folder, as far as ownership is concerned.
#[derive(Debug)]
pub struct Store(Folder);

impl Store {
    /// Opens the folder.
    ///
    /// # Errors
    ///
    /// [`FolderError`] if there is none.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        Folder::open(path).map(Self)
    }

    /// Reads what it holds.
    ///
    /// # Errors
    ///
    /// [`FolderError`] if it cannot be read; a document that does not count is [`Kept::Broken`].
    pub fn read(&self) -> Result<Kept, FolderError> {
        for farewell in [Farewell::Release, Farewell::Retire] {
            if self.0.read(ending(farewell), 0)?.is_some() {
                return Ok(Kept::Ending(farewell));
            }
        }
        let stands: [(_, fn(_) -> _); 2] = [(DOCUMENT, Kept::Owner), (PENDING, Kept::Pending)];
        for (name, kept) in stands {
            if let Some(bytes) = self.0.read(name, DOCUMENT_MAX)? {
                return Ok(match Owned::decode(&bytes) {
                    Ok(owned) => kept(Box::new(owned)),
                    Err(error) => Kept::Broken(error),
                });
            }
        }
        Ok(Kept::Nobody)
    }

    /// Keeps an ownership in the place of any other.
    ///
    /// # Errors
    ///
    /// [`FolderError`]; what was kept before still is.
    pub fn keep(&self, owned: &Owned) -> Result<(), FolderError> {
        let bytes = owned.encode().map_err(FolderError::unworded)?;
        self.0.write(DOCUMENT, &bytes)
    }

    /// Keeps an ownership that counts only if the TPM keeps its LDevID.
    ///
    /// # Errors
    ///
    /// [`FolderError`]; what was kept before still is.
    pub fn keep_pending(&self, owned: &Owned) -> Result<(), FolderError> {
        let bytes = owned.encode().map_err(FolderError::unworded)?;
        self.0.write(PENDING, &bytes)
    }

    /// Lets the pending ownership count: the TPM keeps its LDevID.
    ///
    /// # Errors
    ///
    /// [`FolderError`]; it is still pending.
    pub fn confirm(&self) -> Result<(), FolderError> {
        self.0.rename(PENDING, DOCUMENT)
    }

    /// Forgets the pending ownership: the TPM does not keep its LDevID.
    ///
    /// # Errors
    ///
    /// [`FolderError`].
    pub fn discard(&self) -> Result<(), FolderError> {
        self.0.remove([PENDING])
    }

    /// Puts the ownership aside: its end has begun.
    ///
    /// # Errors
    ///
    /// [`FolderError`]; the ownership stands.
    pub fn begin_end(&self, farewell: Farewell) -> Result<(), FolderError> {
        self.0.rename(DOCUMENT, ending(farewell))
    }

    /// Forgets the ownership whose end has come.
    ///
    /// # Errors
    ///
    /// [`FolderError`].
    pub fn forget(&self) -> Result<(), FolderError> {
        self.0.remove([RELEASED, RETIRED])
    }
}

fn ending(farewell: Farewell) -> &'static str {
    match farewell {
        Farewell::Release => RELEASED,
        Farewell::Retire => RETIRED,
    }
}
