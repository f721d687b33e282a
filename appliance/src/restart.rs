//! The one word that has the service manager start the machine anew, without a capability.

use std::os::fd::OwnedFd;

use bartizan_process::Fault;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, write};

/// The FIFO of `bartizan-restart.socket`. It is there where the box judges its own versions.
const FIFO: &str = "/run/bartizan/restart";

/// The way to a restart.
#[derive(Debug)]
pub(crate) struct Restart(OwnedFd);

impl Restart {
    /// Opens it, before the lock-down; `None` where the box does not judge its versions.
    ///
    /// # Errors
    ///
    /// [`Fault`] if it is there and cannot be opened.
    pub(crate) fn find() -> Result<Option<Self>, Fault> {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match open(FIFO, flags, Mode::empty()) {
            Ok(fifo) => Ok(Some(Self(fifo))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Fault::os("cannot open the way to a restart", errno)),
        }
    }

    /// Asks for it.
    ///
    /// # Errors
    ///
    /// [`Fault`] if nobody can be asked.
    pub(crate) fn ask(&self) -> Result<(), Fault> {
        match write(&self.0, b"\n") {
            // Full: it was asked for already.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(Fault::os("cannot ask for a restart", errno)),
        }
    }
}
