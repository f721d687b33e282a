//! One locked mapping between two guard pages.
//!
//! Unsafe because `mmap`, `mlock` and `madvise` have no safe wrapper and `memfd_secret` has none
//! at all.
#![expect(unsafe_code, reason = "memory mappings have no safe wrapper")]

use core::ffi::c_void;
use core::ptr::{self, NonNull};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use rustix::fs::ftruncate;
use rustix::io::Errno;
use rustix::mm::{
    Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mlock, mmap, mmap_anonymous, mprotect,
    munmap,
};
use zeroize::Zeroize;

use crate::arena;

/// What keeps this process's secrets out of swap, core dumps and other processes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Backing {
    /// `memfd_secret`: the pages are not even in the kernel's direct map.
    MemfdSecret,
    /// `mlock` with `MADV_DONTDUMP` and `MADV_WIPEONFORK`, on a kernel without `memfd_secret`.
    Mlock,
}

/// Why there is no locked memory; the caller must not go on without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The kernel refused to give or to lock the pages.
    #[error("cannot lock memory for key material")]
    Refused(#[from] Errno),
    /// No slot or buffer has this length.
    #[error("no locked memory has a length of {0} bytes")]
    Length(usize),
}

/// Says what backs this process's locked memory; the first call locks the first arena.
///
/// # Errors
///
/// [`LockError`] if the kernel refuses to lock it.
pub fn backing() -> Result<Backing, LockError> {
    if let Some(backing) = BACKING.get() {
        return Ok(*backing);
    }
    arena::ensure()?;
    BACKING
        .get()
        .copied()
        .ok_or(LockError::Refused(Errno::NOSYS))
}

/// Chosen by the first mapping; all others use the same, so that one answer describes them all.
static BACKING: OnceLock<Backing> = OnceLock::new();

/// A locked, zero-filled range of whole pages that faults one byte before and one byte after.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// First usable byte.
    base: NonNull<u8>,
    /// Usable bytes, a multiple of the page size.
    len: usize,
    page: usize,
}

// SAFETY: the mapping belongs to this value alone and is not bound to a thread.
unsafe impl Send for Mapping {}
// SAFETY: through a shared reference bytes can only be read.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps at least `size` bytes, rounded up to whole pages.
    pub(crate) fn new(size: usize) -> Result<Self, LockError> {
        let page = page_size()?;
        let length = || LockError::Length(size);
        let len = size.checked_next_multiple_of(page).ok_or_else(length)?;
        if len == 0 {
            return Err(length());
        }
        let mapping = Self::reserve(len, page).map_err(LockError::Refused)?;
        mapping.lock()?;
        Ok(mapping)
    }

    /// First usable byte.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Every usable byte.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: mapped readable by `lock`, filled by the kernel, borrowed from `self`.
        unsafe { core::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    /// Every usable byte, to be written.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` makes it the only borrow.
        unsafe { core::slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }

    /// Takes the address range with its guards; nothing in it can be touched yet.
    fn reserve(len: usize, page: usize) -> Result<Self, Errno> {
        let guards = page.checked_mul(2).ok_or(Errno::NOMEM)?;
        let whole = len.checked_add(guards).ok_or(Errno::NOMEM)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a null hint and no MAP_FIXED: the kernel picks an unused range.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), whole, ProtFlags::empty(), flags) }?;
        let base = NonNull::new(start.cast::<u8>().wrapping_add(page)).ok_or(Errno::NOMEM)?;
        Ok(Self { base, len, page })
    }

    fn lock(&self) -> Result<(), LockError> {
        let at = self.base.as_ptr().cast::<c_void>();
        if BACKING.get() != Some(&Backing::Mlock) {
            match memfd_secret() {
                Ok(file) => {
                    settle(Backing::MemfdSecret)?;
                    return Ok(self.map_secret(at, &file)?);
                }
                // Not built in, not enabled, or kept back by the sandbox. Once one mapping has it
                // the others must have it too.
                Err(Errno::NOSYS | Errno::PERM) if BACKING.get().is_none() => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        self.lock_anonymous(at)?;
        settle(Backing::Mlock)
    }

    fn map_secret(&self, at: *mut c_void, file: &OwnedFd) -> Result<(), Errno> {
        ftruncate(file, u64::try_from(self.len).map_err(|_| Errno::NOMEM)?)?;
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: MAP_FIXED replaces a part of the range that `reserve` took for this value.
        unsafe { mmap(at, self.len, readable_and_writable(), flags, file, 0) }?;
        // The mapping is shared, so a child would see the same pages: it gets none.
        // SAFETY: the range is the mapping just made; the advice changes no content.
        unsafe { madvise(at, self.len, Advice::LinuxDontFork) }
    }

    fn lock_anonymous(&self, at: *mut c_void) -> Result<(), Errno> {
        let access = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: a part of the range that `reserve` took for this value, not in use yet.
        unsafe { mprotect(at, self.len, access) }?;
        // SAFETY: as above; the advice changes no content.
        unsafe { madvise(at, self.len, Advice::LinuxDontDump) }?;
        // SAFETY: as above.
        unsafe { madvise(at, self.len, Advice::LinuxWipeOnFork) }?;
        // SAFETY: as above.
        unsafe { mlock(at, self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let start = self.base.as_ptr().wrapping_sub(self.page).cast::<c_void>();
        let whole = self.len.saturating_add(self.page).saturating_add(self.page);
        // SAFETY: the range that `reserve` took, which nothing can name after this.
        let unmapped = unsafe { munmap(start, whole) };
        debug_assert_eq!(unmapped, Ok(()), "the range is ours and page-aligned");
    }
}

/// Zeroes the usable bytes of a mapping that holds or held secrets.
pub(crate) fn wipe(mapping: &mut Mapping) {
    mapping.bytes_mut().zeroize();
}

fn readable_and_writable() -> ProtFlags {
    ProtFlags::READ | ProtFlags::WRITE
}

/// Records the backing; two threads that raced for the first mapping must agree.
fn settle(backing: Backing) -> Result<(), LockError> {
    if *BACKING.get_or_init(|| backing) == backing {
        Ok(())
    } else {
        Err(LockError::Refused(Errno::NOSYS))
    }
}

fn memfd_secret() -> Result<OwnedFd, Errno> {
    // SAFETY: no pointer is passed; the kernel checks the flag.
    let made = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let fd = RawFd::try_from(made).map_err(|_| Errno::BADF)?;
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn page_size() -> Result<usize, Errno> {
    // SAFETY: reads a constant of the system.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).map_err(|_| Errno::INVAL)
}

/// The error of the libc call before.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
