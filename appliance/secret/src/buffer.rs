//! A locked buffer of any size.

use core::fmt;

use zeroize::Zeroize;

use crate::LockError;
use crate::mapping::{Mapping, wipe};

/// Bytes in locked memory between guard pages, for what passes through and is more than a key: a
/// netlink batch, a TLS record in clear. Wiped on drop.
pub struct LockedBuffer {
    mapping: Mapping,
    len: usize,
}

impl LockedBuffer {
    /// Locks `len` zeroed bytes (rounded up to whole pages in the account of `RLIMIT_MEMLOCK`).
    ///
    /// # Errors
    ///
    /// [`LockError`] if the memory cannot be locked, or `len` is zero.
    pub fn new(len: usize) -> Result<Self, LockError> {
        Ok(Self {
            mapping: Mapping::new(len)?,
            len,
        })
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.mapping.bytes().get(..self.len).unwrap_or_default()
    }

    /// The bytes, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.mapping
            .bytes_mut()
            .get_mut(..self.len)
            .unwrap_or_default()
    }

    /// Number of bytes, as given to [`LockedBuffer::new`].
    #[expect(
        clippy::len_without_is_empty,
        reason = "a locked buffer is never empty"
    )]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Zeroes the first `len` bytes: all that was used of a large buffer.
    pub fn wipe_front(&mut self, len: usize) {
        let len = len.min(self.len);
        if let Some(front) = self.mapping.bytes_mut().get_mut(..len) {
            front.zeroize();
        }
    }

    /// Zeroes every byte.
    pub fn wipe(&mut self) {
        wipe(&mut self.mapping);
    }
}

impl Drop for LockedBuffer {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl fmt::Debug for LockedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockedBuffer({} bytes)", self.len)
    }
}
