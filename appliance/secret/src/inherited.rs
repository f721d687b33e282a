//! The file descriptors a service manager passed at the start.
#![expect(unsafe_code, reason = "an inherited descriptor is a bare number")]

use core::sync::atomic::{AtomicBool, Ordering};
use std::os::fd::{FromRawFd, OwnedFd};

/// More than any service of ours is passed.
const MAX: usize = 16;

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
/// Empty when there are none, when they are meant for another process or announced wrongly, and
/// from the second call on. To be called at the start of a process, which owns their numbers until
/// then.
pub fn take_inherited_fds() -> Vec<InheritedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let Ok(announced) = sd_notify::listen_fds_with_names() else {
        return Vec::new();
    };
    if !(1..=MAX).contains(&announced.len()) || TAKEN.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    let own = |(number, name)| InheritedFd {
        name,
        // SAFETY: `listen_fds_with_names` has found it open, and the manager gave it to this process
        // alone; `TAKEN` lets us own it once.
        fd: unsafe { OwnedFd::from_raw_fd(number) },
    };
    announced.map(own).collect()
}
