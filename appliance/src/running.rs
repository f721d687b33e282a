//! The keyless copy of `running`: a sealed memfd that the service manager keeps over a restart.
//!
//! The supervisor never reads it. It checks that nobody can change it any more and that it is not
//! too long; what is in it is control's, which parses it like any document.

use std::os::fd::AsFd;

use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::io::Errno;

/// The name it is stored under.
pub const NAME: &str = "running";

/// The most bytes of it: what one edit may have.
pub const MAX: u64 = 16 * 1024 * 1024;

/// Why a descriptor is no such copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RunningError {
    /// Not a memfd, or one that can still be changed.
    #[error("the copy of running is not sealed")]
    Unsealed,
    /// Longer than [`MAX`].
    #[error("the copy of running is longer than {MAX} bytes")]
    TooLong,
    /// The kernel does not say.
    #[error("cannot look at the copy of running")]
    Kernel(#[source] Errno),
}

/// Checks a descriptor.
///
/// # Errors
///
/// [`RunningError`] if it may not be stored.
pub fn check(fd: impl AsFd) -> Result<(), RunningError> {
    let whole = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    let seals = match fcntl_get_seals(&fd) {
        Ok(seals) => seals,
        Err(Errno::INVAL) => return Err(RunningError::Unsealed),
        Err(errno) => return Err(RunningError::Kernel(errno)),
    };
    if !seals.contains(whole) {
        return Err(RunningError::Unsealed);
    }
    let size = fstat(&fd).map_err(RunningError::Kernel)?.st_size;
    if u64::try_from(size).map_or(true, |size| size > MAX) {
        return Err(RunningError::TooLong);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::OwnedFd;

    use rustix::fs::{MemfdFlags, fcntl_add_seals, ftruncate, memfd_create};

    use super::*;

    const SEALS: [SealFlags; 4] = [
        SealFlags::SHRINK,
        SealFlags::GROW,
        SealFlags::WRITE,
        SealFlags::SEAL,
    ];

    fn memfd(size: u64, seals: &[SealFlags]) -> OwnedFd {
        let fd = memfd_create("running", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, size).unwrap();
        for seal in seals {
            fcntl_add_seals(&fd, *seal).unwrap();
        }
        fd
    }

    #[test]
    fn a_sealed_memfd_up_to_the_limit_is_taken() {
        assert_eq!(check(memfd(0, &SEALS)), Ok(()));
        assert_eq!(check(memfd(MAX, &SEALS)), Ok(()));
        assert_eq!(check(memfd(MAX + 1, &SEALS)), Err(RunningError::TooLong));
    }

    #[test]
    fn what_can_still_be_changed_is_not_taken() {
        for missing in 0..SEALS.len() {
            let mut seals = SEALS.to_vec();
            seals.remove(missing);
            assert_eq!(
                check(memfd(1, &seals)),
                Err(RunningError::Unsealed),
                "{missing}"
            );
        }
        assert_eq!(
            check(File::open("/dev/null").unwrap()),
            Err(RunningError::Unsealed)
        );
    }
}
