//! One update, from the first byte to an entry that the boot loader tries next.
//!
//! 1. The entry of the idle slot is taken away: by its first sector, then by its name.
//! 2. Root and hash tree go to the idle slot as they come; the kernel image to a file with the
//!    entry's name, without its first sector: the boot loader sees no image in it.
//! 3. All is on the medium, and is read back and compared.
//! 4. The idle slot gets its name in the partition table.
//! 5. The first sector of the kernel image is written: from here on the new version boots.
//!
//! Whatever fails before the last step leaves the running version as it was. An update starts only
//! where the running version is blessed, so that there is one to go back to.

mod place;
mod receive;

use bartizan_manifest::rules::{Refusal, Running};
use bartizan_manifest::{Manifest, Part, Version};
use sha2::{Digest as _, Sha256};

use crate::boot_entry::BootEntry;
use crate::disk::Disk;
use crate::slot::{SlotError, Slots};

/// What the boot loader needs to see an image in a file: without it there is none. A write of so
/// many bytes at a sector's beginning happens or does not.
pub const HEAD: usize = 512;

/// The bytes that are read back at once.
const READ_BACK: usize = 256 * 1024;

/// An update that is under way.
#[derive(Debug)]
pub struct Update {
    manifest: Manifest,
    slots: Slots,
    entry: BootEntry,
    /// How many bytes of root, hash tree and kernel image have come.
    received: u64,
    /// Over what has come of the part that is coming.
    hash: Sha256,
    /// The withheld beginning of the kernel image.
    head: Vec<u8>,
}

/// The new version is in its place; the next boot tries it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placed {
    /// Its entry.
    pub entry: BootEntry,
}

/// Why an update does not go on. The running version is as it was.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError<E> {
    /// The box does not take it.
    #[error("the update is refused")]
    Refused(#[source] Refusal),
    /// The disk did not do it.
    #[error("cannot {0}")]
    Disk(&'static str, #[source] E),
    /// The slots cannot be told or changed.
    #[error("the disk's slots cannot be used")]
    Slots(#[source] SlotError<E>),
    /// The running version has no blessed entry.
    #[error("the running version has not proven itself yet")]
    NotBlessed,
    /// A partition of the idle slot is smaller than what goes there.
    #[error("the idle slot has no room for the {0}")]
    NoRoom(Part),
    /// More bytes came than the manifest names.
    #[error("the update is longer than its manifest says")]
    TooLong,
    /// Bytes are missing.
    #[error("the update has not come whole")]
    Incomplete,
    /// What came is not what was signed.
    #[error("the {0} is not what was signed")]
    Hash(Part),
    /// What the medium holds is not what came.
    #[error("the disk does not hold the {0} that was written")]
    ReadBack(Part),
}

impl Update {
    /// Starts an update whose manifest's signatures were checked: looks at everything that can be
    /// known beforehand, then takes the idle slot's entry away.
    ///
    /// # Errors
    ///
    /// [`UpdateError`]; but for [`UpdateError::Disk`] nothing was written.
    pub fn begin<D: Disk>(
        disk: &mut D,
        manifest: Manifest,
        running: &Running,
    ) -> Result<Self, UpdateError<D::Error>> {
        let update = Self::checked(disk, manifest, running)?;
        withdraw_others(disk, &running.version)?;
        Ok(update)
    }

    fn checked<D: Disk>(
        disk: &mut D,
        manifest: Manifest,
        running: &Running,
    ) -> Result<Self, UpdateError<D::Error>> {
        bartizan_manifest::rules::check(&manifest, running).map_err(UpdateError::Refused)?;
        must_be_blessed(disk, &running.version)?;
        let slots = Slots::open(disk, &running.root_hash).map_err(UpdateError::Slots)?;
        for (part, size) in [Part::Root, Part::Verity]
            .into_iter()
            .zip(slots.idle_sizes())
        {
            if manifest.part(part).size > size {
                return Err(UpdateError::NoRoom(part));
            }
        }
        Ok(Self {
            entry: BootEntry::untried(manifest.version.clone()),
            manifest,
            slots,
            received: 0,
            hash: Sha256::new(),
            head: Vec::new(),
        })
    }

    /// How many bytes came: where to go on, counted from the first part.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// How many bytes it takes.
    pub fn wanted(&self) -> u64 {
        self.manifest.update_len()
    }

    /// What is being installed.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

/// Takes the idle slot's entry away, whatever it stands for: nothing but the running version boots.
///
/// # Errors
///
/// [`UpdateError`] if the disk does not do it, or the running version is not blessed: the other
/// entry is then the one to go back to.
pub fn withdraw<D: Disk>(disk: &mut D, running: &Running) -> Result<(), UpdateError<D::Error>> {
    must_be_blessed(disk, &running.version)?;
    withdraw_others(disk, &running.version)
}

/// Marks the idle slot as bad after the disk did not carry an update out: it has no entry, and its
/// partitions have a name that no image has. The next update that is placed there takes the mark
/// away.
///
/// # Errors
///
/// [`UpdateError`] if the disk does not do that either, as much as can be done is; and as
/// [`withdraw`], where nothing is done.
pub fn condemn<D: Disk>(disk: &mut D, running: &Running) -> Result<(), UpdateError<D::Error>> {
    must_be_blessed(disk, &running.version)?;
    let withdrawn = withdraw_others(disk, &running.version);
    let mut slots = Slots::open(disk, &running.root_hash).map_err(UpdateError::Slots)?;
    slots.condemn_idle(disk).map_err(UpdateError::Slots)?;
    withdrawn
}

fn must_be_blessed<D: Disk>(disk: &mut D, running: &Version) -> Result<(), UpdateError<D::Error>> {
    let names = disk.names().map_err(|cause| failed(READ_NAMES, cause))?;
    let blessed = BootEntry::blessed(running.clone()).to_string();
    if names.contains(&blessed) {
        Ok(())
    } else {
        Err(UpdateError::NotBlessed)
    }
}

/// Takes away every entry of ours but the running version's.
fn withdraw_others<D: Disk>(disk: &mut D, running: &Version) -> Result<(), UpdateError<D::Error>> {
    let names = disk.names().map_err(|cause| failed(READ_NAMES, cause))?;
    let others: Vec<String> = names
        .into_iter()
        .filter(|name| is_other(name, running))
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    // A name that was half removed could come back under another; without its head it is nothing.
    for name in &others {
        let size = disk
            .file_size(name)
            .map_err(|cause| failed(WITHDRAW, cause))?;
        // A file that power cut short may have nothing at all.
        let head = usize::try_from(size).unwrap_or(usize::MAX).min(HEAD);
        disk.write_file(name, 0, &vec![0; head])
            .map_err(|cause| failed(WITHDRAW, cause))?;
    }
    disk.flush_files()
        .map_err(|cause| failed(WITHDRAW, cause))?;
    for name in &others {
        disk.remove(name).map_err(|cause| failed(WITHDRAW, cause))?;
    }
    disk.flush_files().map_err(|cause| failed(WITHDRAW, cause))
}

fn is_other(name: &str, running: &Version) -> bool {
    match BootEntry::parse(name) {
        Some(entry) => entry.version != *running,
        None => is_mangled(name),
    }
}

/// A short name that is left of one of our long ones (8.3: no long name of ours fits).
fn is_mangled(name: &str) -> bool {
    name.to_ascii_uppercase().starts_with("BARTIZ~")
}

fn failed<E>(what: &'static str, cause: E) -> UpdateError<E> {
    UpdateError::Disk(what, cause)
}

const READ_NAMES: &str = "read the names of boot entries";
const WITHDRAW: &str = "take a boot entry away";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_entries_of_ours_are_taken_away() {
        let running = Version::try_from("1.2").unwrap();
        for (name, other) in [
            ("bartizan_1.2.efi", false),
            ("bartizan_1.2+2-1.efi", false),
            ("bartizan_1.3+0-3.efi", true),
            ("bartizan_1.1.efi", true),
            ("BARTIZ~1.EFI", true),
            ("bartiz~2.efi", true),
            ("recovery.efi", false),
            ("bartizan_recovery.efi", false),
        ] {
            assert_eq!(is_other(name, &running), other, "{name}");
        }
    }
}
