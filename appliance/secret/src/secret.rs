//! A secret in its slot.

use core::fmt;

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroize;

use crate::LockError;
use crate::arena::{SLOT, Slot};

/// The longest [`Secret`], in bytes.
pub const SECRET_MAX: usize = SLOT;

/// 1 to [`SECRET_MAX`] bytes of key material in locked memory, wiped on drop.
pub struct Secret {
    slot: Slot,
    len: usize,
}

impl Secret {
    /// Fills `len` zeroed bytes of a fresh slot through `fill`, so that they never pass over the
    /// stack.
    ///
    /// # Errors
    ///
    /// [`LockError`] if no memory can be locked, or `len` is not in 1 to [`SECRET_MAX`].
    pub fn from_fn(len: usize, fill: impl FnOnce(&mut [u8])) -> Result<Self, LockError> {
        Self::try_from_fn(len, |bytes| {
            fill(bytes);
            Ok(())
        })
    }

    /// As [`Secret::from_fn`], for a `fill` that can go wrong; what it wrote is wiped then.
    ///
    /// # Errors
    ///
    /// The error of `fill`; or [`LockError`] as in [`Secret::from_fn`].
    pub fn try_from_fn<E: From<LockError>>(
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut slot = EmptySlot::new()?;
        let bytes = slot
            .bytes_mut()
            .get_mut(..len)
            .ok_or(LockError::Length(len))?;
        fill(bytes)?;
        Ok(slot.into_secret(len)?)
    }

    /// Shows the bytes to the one consumer that needs them.
    pub fn expose(&self) -> &[u8] {
        self.slot.bytes().get(..self.len).unwrap_or_default()
    }

    /// Number of bytes, 1 to [`SECRET_MAX`].
    #[expect(clippy::len_without_is_empty, reason = "a secret is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The whole slot: the secret, then zeros; for a transfer of fixed length.
    pub fn expose_slot(&self) -> &[u8; SECRET_MAX] {
        self.slot.bytes()
    }
}

impl ConstantTimeEq for Secret {
    /// Compares in constant time; only the lengths are not kept secret.
    fn ct_eq(&self, other: &Self) -> Choice {
        self.expose().ct_eq(other.expose())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A zeroed slot that a secret of yet unknown length is received into.
pub struct EmptySlot(Slot);

impl EmptySlot {
    /// Takes a slot.
    ///
    /// # Errors
    ///
    /// [`LockError`] if no memory can be locked.
    pub fn new() -> Result<Self, LockError> {
        Slot::take().map(Self)
    }

    /// The bytes to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8; SECRET_MAX] {
        self.0.bytes_mut()
    }

    /// Makes the first `len` bytes the secret and wipes the rest.
    ///
    /// # Errors
    ///
    /// [`LockError::Length`] if `len` is not in 1 to [`SECRET_MAX`]; the bytes are wiped.
    pub fn into_secret(mut self, len: usize) -> Result<Secret, LockError> {
        match self.0.bytes_mut().split_at_mut_checked(len) {
            Some((secret, rest)) if !secret.is_empty() => rest.zeroize(),
            _ => return Err(LockError::Length(len)),
        }
        Ok(Secret { slot: self.0, len })
    }

    /// Wipes what was received, keeping the slot for the next.
    pub fn wipe(&mut self) {
        self.0.bytes_mut().zeroize();
    }
}

impl fmt::Debug for EmptySlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmptySlot(..)")
    }
}
