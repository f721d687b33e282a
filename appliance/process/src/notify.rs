//! What the service manager is told: ready, alive, status, descriptors to keep (`sd_notify(3)`).
//!
//! The words and the environment are `sd_notify`'s. Its socket is not: it opens one for each word,
//! and a locked-down role can open none; ours is opened before the lock-down and kept.

use core::mem::MaybeUninit;
use core::time::Duration;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use bartizan_model::time::BootTime;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sd_notify::NotifyState;

/// How often a loop wakes where no watchdog is set.
const UNWATCHED: Duration = Duration::from_secs(5);

/// The way to the service manager; silent where there is none.
#[derive(Debug)]
pub struct Notifier(Option<UnixDatagram>);

impl Notifier {
    /// Connects to `NOTIFY_SOCKET`.
    ///
    /// # Errors
    ///
    /// The kernel's error, if a socket is named and cannot be reached.
    pub fn from_env() -> std::io::Result<Self> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
            return Ok(Self(None));
        };
        let address = match name.as_encoded_bytes().split_first() {
            Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(&name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        Ok(Self(Some(socket)))
    }

    /// Says that the start is complete; waits until the service manager can be told.
    ///
    /// # Errors
    ///
    /// The kernel's error; the service manager would wait in vain.
    pub fn ready(&self, status: &str) -> Result<(), Errno> {
        let words = [NotifyState::Ready, NotifyState::Status(status)];
        self.send(&words, None, SendFlags::empty())
    }

    /// Says what the process does now, in words for people; nothing depends on it, so it is left
    /// out where the service manager is busy.
    pub fn status(&self, status: &str) {
        let _told = self.send(&[NotifyState::Status(status)], None, SendFlags::DONTWAIT);
    }

    /// Gives a descriptor to keep over restarts, in place of one of the same name; waits until the
    /// service manager can be told.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn store(&self, name: &str, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let wait = SendFlags::empty();
        let name = NotifyState::FdName(name);
        self.send(&[NotifyState::FdStoreRemove, name.clone()], None, wait)?;
        let unwatched = NotifyState::Custom("FDPOLL=0");
        self.send(&[NotifyState::FdStore, name, unwatched], Some(fd), wait)
    }

    fn send(
        &self,
        words: &[NotifyState<'_>],
        fd: Option<BorrowedFd<'_>>,
        wait: SendFlags,
    ) -> Result<(), Errno> {
        let Some(socket) = &self.0 else {
            return Ok(());
        };
        let words: Vec<String> = words.iter().map(NotifyState::to_string).collect();
        let text = words.join("\n");
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = fd.map(|fd| [fd]);
        if let Some(fds) = &fds
            && !ancillary.push(SendAncillaryMessage::ScmRights(fds))
        {
            return Err(Errno::INVAL);
        }
        let parts = [IoSlice::new(text.as_bytes())];
        sendmsg(
            socket.as_fd(),
            &parts,
            &mut ancillary,
            SendFlags::NOSIGNAL | wait,
        )?;
        Ok(())
    }
}

/// The proof of life that a role's loop gives to the service manager.
#[derive(Debug)]
pub struct Watchdog {
    notifier: Notifier,
    interval: Duration,
    fed: BootTime,
}

impl Watchdog {
    /// Reads `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub fn from_env(notifier: Notifier) -> Self {
        let limit = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
        let third = limit.and_then(|limit| limit.checked_div(3));
        let interval = third.unwrap_or(UNWATCHED);
        Self {
            notifier,
            interval,
            fed: BootTime::default(),
        }
    }

    /// The longest a loop may rest before it calls [`Watchdog::feed`] again: a third of
    /// `WatchdogSec=`, so that one late round is forgiven.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Tells the service manager that the loop turns; cheap to call in every round.
    pub fn feed(&mut self, now: BootTime) {
        if now.since(self.fed).saturating_mul(2) < self.interval {
            return;
        }
        // A full queue is no reason to stop: the next round tries again, and if none gets through
        // the service manager ends this process, as it should.
        if self
            .notifier
            .send(&[NotifyState::Watchdog], None, SendFlags::DONTWAIT)
            .is_ok()
        {
            self.fed = now;
        }
    }

    /// The way to say more than "alive".
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }
}
