//! The bytes as they come, and where to go on after they stopped.

use bartizan_manifest::rules::Running;
use bartizan_manifest::{Manifest, Part};
use sha2::{Digest as _, Sha256};

use super::place::digest_of;
use super::{HEAD, Update, UpdateError, failed};
use crate::disk::Disk;

/// What an update takes, in order.
const TAKEN: [Part; 3] = [Part::Root, Part::Verity, Part::Uki];

impl Update {
    /// Goes on where an update of the same manifest stopped after `received` bytes: with the last
    /// part that had come whole, as the medium has it.
    ///
    /// What the medium holds is hashed again, so a wrong `received` costs time and nothing else.
    ///
    /// # Errors
    ///
    /// [`UpdateError`] as [`Self::begin`].
    pub fn resume<D: Disk>(
        disk: &mut D,
        manifest: Manifest,
        running: &Running,
        received: u64,
    ) -> Result<Self, UpdateError<D::Error>> {
        let mut update = Self::begin(disk, manifest, running)?;
        for (part, place) in [Part::Root, Part::Verity]
            .into_iter()
            .zip(update.slots.idle())
        {
            let expected = update.manifest.part(part);
            let end = update.manifest.offset(part).saturating_add(expected.size);
            let holds = end <= received
                && digest_of(expected.size, |offset, into| {
                    disk.read(place.offset.saturating_add(offset), into)
                })
                .map_err(|cause| failed(READ_BACK, cause))?
                    == expected.sha256;
            if !holds {
                break;
            }
            update.received = end;
        }
        Ok(update)
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// [`UpdateError`]: the update is over, and what came is in no use.
    pub fn take<D: Disk>(
        &mut self,
        disk: &mut D,
        mut bytes: &[u8],
    ) -> Result<(), UpdateError<D::Error>> {
        while !bytes.is_empty() {
            let (part, at) = self.coming().ok_or(UpdateError::TooLong)?;
            let left = self.manifest.part(part).size.saturating_sub(at);
            let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at_checked(here).ok_or(UpdateError::TooLong)?;
            self.write(disk, part, at, now)?;
            self.hash.update(now);
            self.received = self.received.saturating_add(length(now));
            bytes = later;
            if length(now) == left {
                self.end_part(part)?;
            }
        }
        Ok(())
    }

    /// Which part the next byte is of, and at which place in it.
    fn coming(&self) -> Option<(Part, u64)> {
        TAKEN.into_iter().find_map(|part| {
            let at = self.received.checked_sub(self.manifest.offset(part))?;
            (at < self.manifest.part(part).size).then_some((part, at))
        })
    }

    fn write<D: Disk>(
        &mut self,
        disk: &mut D,
        part: Part,
        at: u64,
        bytes: &[u8],
    ) -> Result<(), UpdateError<D::Error>> {
        let [root, tree] = self.slots.idle();
        let place = match part {
            Part::Root => root,
            Part::Verity => tree,
            Part::Uki
            | Part::Recovery
            | Part::BootLoader
            | Part::ReferenceValues
            | Part::BillOfMaterials => return self.write_kernel_image(disk, at, bytes),
        };
        disk.write(place.offset.saturating_add(at), bytes)
            .map_err(|cause| failed("write the idle slot", cause))
    }

    /// Writes all of the kernel image but its head.
    fn write_kernel_image<D: Disk>(
        &mut self,
        disk: &mut D,
        at: u64,
        bytes: &[u8],
    ) -> Result<(), UpdateError<D::Error>> {
        let name = self.entry.to_string();
        if at == 0 {
            disk.create(&name, self.manifest.part(Part::Uki).size)
                .map_err(|cause| failed("make room for the kernel image", cause))?;
        }
        let of_head = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        let (head, body) = bytes
            .split_at_checked(of_head)
            .ok_or(UpdateError::TooLong)?;
        self.head.extend_from_slice(head);
        if body.is_empty() {
            return Ok(());
        }
        disk.write_file(&name, at.saturating_add(length(head)), body)
            .map_err(|cause| failed("write the kernel image", cause))
    }

    fn end_part<E>(&mut self, part: Part) -> Result<(), UpdateError<E>> {
        let digest = core::mem::replace(&mut self.hash, Sha256::new()).finalize();
        if digest.as_slice() == self.manifest.part(part).sha256 {
            Ok(())
        } else {
            Err(UpdateError::Hash(part))
        }
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

const READ_BACK: &str = "read the idle slot back";
