//! The file descriptors a service manager passed at the start.
#![expect(unsafe_code, reason = "an inherited descriptor is a bare number")]

use core::sync::atomic::{AtomicBool, Ordering};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// The first descriptor a service manager passes, `sd_listen_fds(3)`.
const FIRST: RawFd = 3;

/// More than any service of ours is passed.
const MAX: RawFd = 16;

/// A descriptor and the name it was passed under.
#[derive(Debug)]
pub struct InheritedFd {
    /// `FileDescriptorName=` of its socket unit, or the name it was stored under.
    pub name: String,
    /// The descriptor, closed on exec.
    pub fd: OwnedFd,
}

/// Takes the descriptors that `LISTEN_FDS` announces to this process, `sd_listen_fds(3)`.
///
/// Empty when there are none, when they are meant for another process, and from the second call on.
/// To be called at the start of a process, which owns their numbers until then.
pub fn take_inherited_fds() -> Vec<InheritedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let variable = |name| std::env::var(name).unwrap_or_default();
    if variable("LISTEN_PID") != std::process::id().to_string() {
        return Vec::new();
    }
    let count = variable("LISTEN_FDS").parse::<RawFd>().unwrap_or(0);
    if !(1..=MAX).contains(&count) || TAKEN.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    let names = variable("LISTEN_FDNAMES");
    let mut names = names.split(':');
    (FIRST..FIRST.saturating_add(count))
        .filter_map(|number| {
            let name = names.next().unwrap_or_default().to_owned();
            Some(InheritedFd {
                name,
                fd: take(number)?,
            })
        })
        .collect()
}

fn take(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: borrowed for this block only, and a number that is not open is an error, no more.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl_getfd(borrowed).ok()?;
    fcntl_setfd(borrowed, flags | FdFlags::CLOEXEC).ok()?;
    // SAFETY: open, and the manager gave it to this process alone; `TAKEN` lets us own it once.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}
