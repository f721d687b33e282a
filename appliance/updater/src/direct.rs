//! Reads past the page cache: what comes back is what the medium holds (`open(2)`, `O_DIRECT`).

use std::os::fd::OwnedFd;

use crate::disk::DiskError;

/// Place, length and memory of such a read are multiples of this: no sector is larger.
const ALIGNMENT: usize = 4096;

/// The most bytes that are read at once.
const PIECE: usize = 64 * 1024;

/// Fills `into` from a byte offset of a descriptor that was opened with `O_DIRECT`.
pub(crate) fn read(from: &OwnedFd, mut offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
    let mut memory = vec![0; PIECE.saturating_add(ALIGNMENT)];
    let start = memory.as_ptr().align_offset(ALIGNMENT);
    let aligned = memory.get_mut(start..).ok_or(DiskError::Unaligned)?;
    let mut left = into;
    while !left.is_empty() {
        let alignment = u64::try_from(ALIGNMENT).map_err(|_| DiskError::Unaligned)?;
        let skipped = offset.checked_rem(alignment).unwrap_or_default();
        let skip = usize::try_from(skipped).map_err(|_| DiskError::Unaligned)?;
        let wanted = skip.saturating_add(left.len());
        let wanted = wanted.next_multiple_of(ALIGNMENT).min(PIECE);
        let piece = aligned.get_mut(..wanted).ok_or(DiskError::Unaligned)?;
        let read = rustix::io::pread(from, &mut *piece, offset.saturating_sub(skipped))?;
        let found = piece.get(skip..read).unwrap_or_default();
        let here = found.len().min(left.len());
        let (now, later) = left.split_at_mut_checked(here).ok_or(DiskError::Short)?;
        if now.is_empty() {
            return Err(DiskError::Short);
        }
        now.copy_from_slice(found.get(..here).ok_or(DiskError::Short)?);
        offset = offset.saturating_add(u64::try_from(here).unwrap_or(u64::MAX));
        left = later;
    }
    Ok(())
}
