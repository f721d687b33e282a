//! From a signed manifest to a version that the boot loader tries next.
//!
//! | stage | begin | take | place | cancel |
//! |---|---|---|---|---|
//! | Idle | Receiving | refused | refused | Idle |
//! | Receiving | the same again: as it is; another: refused | Receiving | Placed | Idle |
//! | Placed | the same again: as it is; another: Receiving | refused | as it is | Idle |
//!
//! What does not come as it was signed ends the update; what the disk does not do marks the idle
//! slot as bad besides. A sender that lost an answer may repeat begin and place, and learns from
//! every answer how far the update is.

use bartizan_evidence::cose::VerifierKeys;
use bartizan_manifest::rules::Running;
use bartizan_manifest::{Manifest, ManifestError};
use bartizan_slots::boot_entry::BootEntry;
use bartizan_slots::update::{self, Placed, Update, UpdateError};
use bartizan_slots::{Disk, SlotError, Slots};

/// What may wait to be written to the medium: the rest of it is what placing has to wait for.
const UNFLUSHED_MAX: u64 = 8 * 1024 * 1024;

/// Takes one update at a time.
#[derive(Debug)]
pub struct Installer<D: Disk> {
    disk: D,
    running: Running,
    keys: VerifierKeys,
    stage: Stage,
    idle_is_bad: bool,
    /// Bytes that were written since the last flush.
    unflushed: u64,
}

#[derive(Debug)]
enum Stage {
    Idle,
    Receiving {
        signed: Vec<u8>,
        update: Box<Update>,
    },
    Placed {
        signed: Vec<u8>,
        entry: BootEntry,
        len: u64,
    },
}

/// How far an update is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// How many bytes of the parts came: where to go on.
    pub received: u64,
    /// How many bytes it takes.
    pub wanted: u64,
}

/// Why the installer does not do what it is asked for. The running version is as it was.
#[derive(Debug, thiserror::Error)]
pub enum InstallError<E> {
    /// Not a manifest of the maker; nothing was written.
    #[error("the update's manifest does not count")]
    Manifest(#[source] ManifestError),
    /// Another update is under way; it goes on.
    #[error("another update is under way")]
    Busy,
    /// No update is under way.
    #[error("no update was begun")]
    NotBegun,
    /// The bytes are not the next ones; the update goes on.
    #[error("the next byte of the update is number {received}")]
    NotNext {
        /// Which they are.
        received: u64,
    },
    /// Bytes are missing; the update goes on.
    #[error("{received} of the update's {wanted} bytes came")]
    Incomplete {
        /// How many came.
        received: u64,
        /// How many it takes.
        wanted: u64,
    },
    /// The update is not taken, or is over.
    #[error("the update ends")]
    Update(#[source] UpdateError<E>),
    /// The disk did not do it: the update is over, and the idle slot is marked as bad.
    #[error("the idle slot is bad")]
    BadSlot(#[source] UpdateError<E>),
    /// As [`Self::BadSlot`], but it could not even be marked.
    #[error("the idle slot is bad, and cannot be marked so")]
    Unmarked(#[source] UpdateError<E>),
}

impl<D: Disk> Installer<D> {
    /// Works on the disk of a box that runs `running`, for a maker who signs with `keys`.
    ///
    /// # Errors
    ///
    /// [`SlotError`] if the running slot cannot be told from the idle one.
    pub fn new(
        mut disk: D,
        running: Running,
        keys: VerifierKeys,
    ) -> Result<Self, SlotError<D::Error>> {
        let slots = Slots::open(&mut disk, &running.root_hash)?;
        Ok(Self {
            disk,
            running,
            keys,
            stage: Stage::Idle,
            idle_is_bad: slots.idle_is_bad(),
            unflushed: 0,
        })
    }

    /// Begins an update, or goes on with one: of `received` bytes that the sender knows to have come
    /// before, in whichever boot or process, those parts count that the medium holds whole.
    ///
    /// # Errors
    ///
    /// [`InstallError`]; but for those of the disk nothing was written.
    pub fn begin(
        &mut self,
        signed: &[u8],
        received: u64,
    ) -> Result<Progress, InstallError<D::Error>> {
        match &self.stage {
            Stage::Receiving {
                signed: before,
                update,
            } => {
                return if before == signed {
                    Ok(progress(update))
                } else {
                    Err(InstallError::Busy)
                };
            }
            Stage::Placed {
                signed: before,
                len,
                ..
            } if before == signed => {
                return Ok(Progress {
                    received: *len,
                    wanted: *len,
                });
            }
            Stage::Placed { .. } | Stage::Idle => {}
        }
        let manifest = Manifest::verify(signed, &self.keys).map_err(InstallError::Manifest)?;
        let begun = Update::resume(&mut self.disk, manifest, &self.running, received);
        let update = begun.map_err(|error| self.failed(error))?;
        let progress = progress(&update);
        self.unflushed = 0;
        self.stage = Stage::Receiving {
            signed: signed.to_vec(),
            update: Box::new(update),
        };
        Ok(progress)
    }

    /// Takes the bytes from `at` on, which must be the next ones.
    ///
    /// # Errors
    ///
    /// [`InstallError`].
    pub fn take(&mut self, at: u64, bytes: &[u8]) -> Result<Progress, InstallError<D::Error>> {
        let Stage::Receiving { update, .. } = &mut self.stage else {
            return Err(InstallError::NotBegun);
        };
        let received = update.received();
        if at != received {
            return Err(InstallError::NotNext { received });
        }
        let mut taken = update.take(&mut self.disk, bytes);
        let progress = progress(update);
        let came = progress.received.saturating_sub(received);
        self.unflushed = self.unflushed.saturating_add(came);
        if taken.is_ok() && self.unflushed >= UNFLUSHED_MAX {
            self.unflushed = 0;
            taken = self
                .disk
                .flush_files()
                .map_err(|cause| UpdateError::Disk("write what came to the medium", cause));
        }
        taken.map_err(|error| self.failed(error))?;
        Ok(progress)
    }

    /// Puts the new version in its place once all of it has come: the next boot tries it.
    ///
    /// # Errors
    ///
    /// [`InstallError`].
    pub fn place(&mut self) -> Result<BootEntry, InstallError<D::Error>> {
        let (signed, update) = match core::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => return Err(InstallError::NotBegun),
            Stage::Placed { signed, entry, len } => {
                let again = entry.clone();
                self.stage = Stage::Placed { signed, entry, len };
                return Ok(again);
            }
            Stage::Receiving { signed, update } => (signed, update),
        };
        let Progress { received, wanted } = progress(&update);
        if received != wanted {
            self.stage = Stage::Receiving { signed, update };
            return Err(InstallError::Incomplete { received, wanted });
        }
        let placed = update.finish(&mut self.disk);
        let Placed { entry } = placed.map_err(|error| self.failed(error))?;
        self.idle_is_bad = false;
        self.stage = Stage::Placed {
            signed,
            entry: entry.clone(),
            len: wanted,
        };
        Ok(entry)
    }

    /// Ends an update that is under way or placed: the running version is the next one, too.
    ///
    /// # Errors
    ///
    /// [`InstallError`] if the disk does not take its entry away.
    pub fn cancel(&mut self) -> Result<(), InstallError<D::Error>> {
        if matches!(self.stage, Stage::Idle) {
            return Ok(());
        }
        self.stage = Stage::Idle;
        let withdrawn = update::withdraw(&mut self.disk, &self.running);
        withdrawn.map_err(|error| self.failed(error))
    }

    /// How far an update is that is under way.
    pub fn progress(&self) -> Option<Progress> {
        if let Stage::Receiving { update, .. } = &self.stage {
            Some(progress(update))
        } else {
            None
        }
    }

    /// The entry of an update that the next boot tries.
    pub const fn placed(&self) -> Option<&BootEntry> {
        if let Stage::Placed { entry, .. } = &self.stage {
            Some(entry)
        } else {
            None
        }
    }

    /// Whether the disk did not carry out the last update.
    pub const fn idle_is_bad(&self) -> bool {
        self.idle_is_bad
    }

    /// The disk, for what is no update of it.
    pub const fn disk(&mut self) -> &mut D {
        &mut self.disk
    }

    /// Says what an error means. One that says that nothing was written changes nothing.
    fn failed(&mut self, error: UpdateError<D::Error>) -> InstallError<D::Error> {
        match error {
            UpdateError::Refused(_) | UpdateError::NotBlessed | UpdateError::NoRoom(_) => {
                InstallError::Update(error)
            }
            UpdateError::TooLong | UpdateError::Incomplete | UpdateError::Hash(_) => {
                self.stage = Stage::Idle;
                InstallError::Update(error)
            }
            UpdateError::Disk(..) | UpdateError::Slots(_) | UpdateError::ReadBack(_) => {
                self.stage = Stage::Idle;
                self.idle_is_bad = true;
                match update::condemn(&mut self.disk, &self.running) {
                    Ok(()) => InstallError::BadSlot(error),
                    // Why it failed is told; marking it most likely failed for the same reason.
                    Err(_unmarked) => InstallError::Unmarked(error),
                }
            }
        }
    }
}

fn progress(update: &Update) -> Progress {
    Progress {
        received: update.received(),
        wanted: update.wanted(),
    }
}
