//! The keyless copy of `running`: a sealed memfd that outlives this process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bartizan_netconf::{CopyError, Running};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, memfd_create};
use rustix::io::{Errno, pread, retry_on_intr, write};

/// The most bytes of a copy; twice what the longest entries come to.
const MAX: u64 = 16 * 1024 * 1024;

/// A copy that cannot be restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// The kernel does not give it.
    #[error("cannot read the copy of running")]
    Read(#[source] Errno),
    /// It is longer than any that this role makes.
    #[error("the copy of running is longer than {MAX} bytes")]
    TooLong,
    /// It is none.
    #[error(transparent)]
    Copy(#[from] CopyError),
}

/// Writes a copy and seals it.
pub(crate) fn seal(running: &Running) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memfd = memfd_create("running", flags)?;
    let copy = running.to_copy();
    let mut rest = copy.as_slice();
    while !rest.is_empty() {
        let written = retry_on_intr(|| write(&memfd, rest))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    let whole = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&memfd, whole)?;
    Ok(memfd)
}

/// Reads a copy of before a restart.
pub(crate) fn restore(copy: impl AsFd) -> Result<Running, RestoreError> {
    let copy = copy.as_fd();
    let size = fstat(copy).map_err(RestoreError::Read)?.st_size;
    let size = u64::try_from(size).map_err(|_| RestoreError::TooLong)?;
    if size > MAX {
        return Err(RestoreError::TooLong);
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| RestoreError::TooLong)?];
    read_exactly(copy, &mut bytes).map_err(RestoreError::Read)?;
    Ok(Running::from_copy(&bytes)?)
}

/// Reads from the beginning, wherever the descriptor's position is: it is shared with those who
/// held it before.
fn read_exactly(copy: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<(), Errno> {
    let mut offset = 0;
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = retry_on_intr(|| pread(copy, &mut *rest, offset))?;
        if count == 0 {
            return Err(Errno::IO);
        }
        offset = offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        rest = rest.get_mut(count..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::fs::ftruncate;

    use super::*;

    #[test]
    fn a_copy_cannot_be_changed_and_is_read_again_and_again() {
        let memfd = seal(&Running::default()).unwrap();
        assert_eq!(write(&memfd, b"x"), Err(Errno::PERM));
        assert_eq!(ftruncate(&memfd, 0), Err(Errno::PERM));
        for _ in 0..2 {
            assert_eq!(restore(&memfd).unwrap(), Running::default());
        }
    }

    #[test]
    fn what_is_no_copy_is_not_restored() {
        let memfd = memfd_create("other", MemfdFlags::CLOEXEC).unwrap();
        assert!(matches!(restore(&memfd), Err(RestoreError::Copy(_))));
        ftruncate(&memfd, MAX + 1).unwrap();
        assert!(matches!(restore(&memfd), Err(RestoreError::TooLong)));
    }
}
