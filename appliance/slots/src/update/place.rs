//! From received to placed: read back, name, and the one sector that makes it count.

use bartizan_evidence::quote::Digest;
use bartizan_manifest::Part;
use sha2::{Digest as _, Sha256};

use super::{HEAD, Placed, READ_BACK, Update, UpdateError, failed};
use crate::disk::Disk;

impl Update {
    /// Puts the new version in its place.
    ///
    /// # Errors
    ///
    /// [`UpdateError`]: if it is [`UpdateError::Disk`] or [`UpdateError::ReadBack`], the idle slot
    /// is bad, and the next update begins from its beginning.
    pub fn finish<D: Disk>(mut self, disk: &mut D) -> Result<Placed, UpdateError<D::Error>> {
        if self.received != self.wanted() {
            return Err(UpdateError::Incomplete);
        }
        disk.flush()
            .map_err(|cause| failed("finish writing the idle slot", cause))?;
        disk.flush_files().map_err(|cause| failed(PLACE, cause))?;
        self.read_back_slot(disk)?;
        self.read_back_kernel_image(disk)?;
        self.slots
            .name_idle(disk, &self.manifest.root_hash)
            .map_err(UpdateError::Slots)?;
        self.put_head(disk)?;
        Ok(Placed { entry: self.entry })
    }

    fn read_back_slot<D: Disk>(&self, disk: &mut D) -> Result<(), UpdateError<D::Error>> {
        for (part, place) in [Part::Root, Part::Verity]
            .into_iter()
            .zip(self.slots.idle())
        {
            let expected = self.manifest.part(part);
            let digest = digest_of(expected.size, |offset, into| {
                disk.read(place.offset.saturating_add(offset), into)
            })
            .map_err(|cause| failed("read the idle slot back", cause))?;
            if digest != expected.sha256 {
                return Err(UpdateError::ReadBack(part));
            }
        }
        Ok(())
    }

    /// Compares the file with the head that is to come.
    fn read_back_kernel_image<D: Disk>(&self, disk: &mut D) -> Result<(), UpdateError<D::Error>> {
        let name = self.entry.to_string();
        let expected = self.manifest.part(Part::Uki);
        let digest = digest_of(expected.size, |offset, into| {
            disk.read_file(&name, offset, into)?;
            if offset == 0 {
                for (byte, head) in into.iter_mut().zip(&self.head) {
                    *byte = *head;
                }
            }
            Ok(())
        })
        .map_err(|cause| failed(PLACE, cause))?;
        if digest != expected.sha256 {
            return Err(UpdateError::ReadBack(Part::Uki));
        }
        Ok(())
    }

    fn put_head<D: Disk>(&self, disk: &mut D) -> Result<(), UpdateError<D::Error>> {
        let name = self.entry.to_string();
        disk.write_file(&name, 0, &self.head)
            .map_err(|cause| failed(PLACE, cause))?;
        disk.flush_files().map_err(|cause| failed(PLACE, cause))?;
        let mut head = vec![0; self.head.len()];
        disk.read_file(&name, 0, &mut head)
            .map_err(|cause| failed(PLACE, cause))?;
        if head != self.head {
            return Err(UpdateError::ReadBack(Part::Uki));
        }
        Ok(())
    }
}

/// Hashes `size` bytes piece by piece; every piece begins at a multiple of [`READ_BACK`].
pub(super) fn digest_of<E>(
    size: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Digest, E> {
    const { assert!(HEAD <= READ_BACK, "the head is in the first piece") }
    let mut hash = Sha256::new();
    let mut piece = vec![0; READ_BACK];
    let mut offset = 0_u64;
    while offset < size {
        let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        piece.truncate(left);
        read(offset, &mut piece)?;
        hash.update(&piece);
        offset = offset.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
    }
    Ok(hash.finalize().into())
}

const PLACE: &str = "put the kernel image in its place";
