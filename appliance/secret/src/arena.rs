//! Arenas of 64-byte slots.
//!
//! 256 slots share 16 KiB of locked memory, so a few hundred tunnels need a few arenas and not a
//! page for each key. An arena, once locked, stays until the process ends: what was once granted
//! cannot run out later.
#![expect(unsafe_code, reason = "hands out disjoint parts of one mapping")]

use core::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use zeroize::Zeroize;

use crate::LockError;
use crate::mapping::Mapping;

/// Bytes of one slot.
pub(crate) const SLOT: usize = 64;

const SLOTS: usize = 256;
const WORDS: usize = 4;

static ARENAS: Mutex<Vec<Arena>> = Mutex::new(Vec::new());

/// Locks the first arena if there is none.
pub(crate) fn ensure() -> Result<(), LockError> {
    let mut arenas = arenas();
    if arenas.is_empty() {
        arenas.push(Arena::new()?);
    }
    Ok(())
}

/// One slot, zero-filled when taken and wiped when dropped.
pub(crate) struct Slot {
    bytes: NonNull<[u8; SLOT]>,
    arena: usize,
    index: usize,
}

// SAFETY: the slot belongs to this value alone and is not bound to a thread.
unsafe impl Send for Slot {}
// SAFETY: through a shared reference bytes can only be read.
unsafe impl Sync for Slot {}

impl Slot {
    /// Takes a free slot, locking a further arena if there is none.
    pub(crate) fn take() -> Result<Self, LockError> {
        let mut arenas = arenas();
        for (number, arena) in arenas.iter_mut().enumerate() {
            if let Some((index, bytes)) = arena.take() {
                return Ok(Self {
                    bytes,
                    arena: number,
                    index,
                });
            }
        }
        let mut fresh = Arena::new()?;
        let (index, bytes) = fresh.take().ok_or(LockError::Refused(Errno::NOMEM))?;
        let arena = arenas.len();
        arenas.push(fresh);
        Ok(Self {
            bytes,
            arena,
            index,
        })
    }

    pub(crate) fn bytes(&self) -> &[u8; SLOT] {
        // SAFETY: inside a mapping that is never unmapped; the arena's map gives this slot to
        // this value alone.
        unsafe { self.bytes.as_ref() }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; SLOT] {
        // SAFETY: as in `bytes`, and `&mut self` makes it the only borrow.
        unsafe { self.bytes.as_mut() }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        if let Some(arena) = arenas().get_mut(self.arena) {
            arena.give_back(self.index);
        }
    }
}

struct Arena {
    mapping: Mapping,
    /// One bit a slot; set while taken.
    taken: [u64; WORDS],
}

impl Arena {
    fn new() -> Result<Self, LockError> {
        const { assert!(WORDS * 64 == SLOTS) };
        Ok(Self {
            mapping: Mapping::new(SLOTS * SLOT)?,
            taken: [0; WORDS],
        })
    }

    fn take(&mut self) -> Option<(usize, NonNull<[u8; SLOT]>)> {
        let (word, map) = self
            .taken
            .iter_mut()
            .enumerate()
            .find(|(_, map)| **map != u64::MAX)?;
        let bit = map.trailing_ones();
        *map |= 1_u64.checked_shl(bit)?;
        let index = word
            .checked_mul(64)?
            .checked_add(usize::try_from(bit).ok()?)?;
        let offset = index.checked_mul(SLOT)?;
        // SAFETY: index < SLOTS, so the slot lies inside the mapping's SLOTS * SLOT bytes.
        let start = unsafe { self.mapping.base().add(offset) };
        Some((index, start.cast()))
    }

    fn give_back(&mut self, index: usize) {
        let bit = u32::try_from(index % 64)
            .ok()
            .and_then(|bit| 1_u64.checked_shl(bit));
        if let (Some(map), Some(bit)) = (self.taken.get_mut(index / 64), bit) {
            *map &= !bit;
        }
    }
}

/// A panic elsewhere leaves the map whole: every change is a single store.
fn arenas() -> MutexGuard<'static, Vec<Arena>> {
    ARENAS.lock().unwrap_or_else(PoisonError::into_inner)
}
