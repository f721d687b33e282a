//! A heap that forgets.
#![expect(unsafe_code, reason = "`GlobalAlloc` is an unsafe trait")]

use core::alloc::{GlobalAlloc, Layout};
use core::mem::MaybeUninit;
use core::slice;
use std::alloc::System;

use zeroize::Zeroize;

/// The system's allocator, zeroing every block before it gives it back.
///
/// For each process that touches secrets: libraries keep keys in buffers of their own, and what
/// they free must not stay readable. A block that grows or shrinks moves, and the old one is zeroed.
///
/// ```
/// #[global_allocator]
/// static HEAP: bartizan_secret::ZeroOnFree = bartizan_secret::ZeroOnFree;
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct ZeroOnFree;

// `realloc` is the trait's own: allocate, copy, `dealloc`. The system's would move a block and
// leave the old bytes behind.
// SAFETY: every call is the system allocator's, with the caller's own layout; the block is written
// to only while it still belongs to the caller.
unsafe impl GlobalAlloc for ZeroOnFree {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the one `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller hands over a block of this layout, which no one else uses. It may be
        // uninitialised, and `MaybeUninit` allows that.
        let bytes =
            unsafe { slice::from_raw_parts_mut(block.cast::<MaybeUninit<u8>>(), layout.size()) };
        bytes.zeroize();
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(block, layout) }
    }
}
