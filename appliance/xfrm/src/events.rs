//! The netlink socket that the kernel reports lifetimes and wanted SAs on.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::kernel::XfrmError;
use crate::reply::{Event, Replies, Said};
use crate::socket::Socket;

/// `XFRMGRP_ACQUIRE` and `XFRMGRP_EXPIRE`; the SA group is left alone, for it carries keys.
const GROUPS: u32 = 1 | 2;

/// Bytes of an event; the largest has six templates.
const EVENT_MAX: usize = 4 * 1024;

/// The most events of one round of the loop.
const ROUND_MAX: usize = 1024;

/// The socket for events.
#[derive(Debug)]
pub struct Events {
    socket: Socket,
    buffer: Vec<u8>,
    unintelligible: u64,
}

/// Whether events are complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Heard {
    /// Every event so far was handed over.
    All,
    /// The kernel had to drop events: what they said must be found out by listing.
    NotAll,
}

impl Events {
    /// Opens the socket; needs `CAP_NET_ADMIN`.
    ///
    /// # Errors
    ///
    /// [`XfrmError::Socket`].
    pub fn open() -> Result<Self, XfrmError> {
        Ok(Self {
            socket: Socket::open(GROUPS).map_err(XfrmError::Socket)?,
            buffer: vec![0; EVENT_MAX],
            unintelligible: 0,
        })
    }

    /// Hands the events that wait to `each`.
    ///
    /// # Errors
    ///
    /// [`XfrmError::Socket`] if the socket is of no use any more.
    pub fn hear(&mut self, mut each: impl FnMut(Event)) -> Result<Heard, XfrmError> {
        let mut heard = Heard::All;
        for _ in 0..ROUND_MAX {
            match self.socket.receive(&mut self.buffer) {
                Ok(len) => {
                    let datagram = self.buffer.get(..len).unwrap_or_default();
                    for reply in Replies::of(datagram) {
                        if let Said::Event(event) = reply.said {
                            each(event);
                        } else {
                            self.unintelligible = self.unintelligible.saturating_add(1);
                        }
                    }
                }
                Err(Errno::NOBUFS) => heard = Heard::NotAll,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(XfrmError::Socket(errno)),
            }
        }
        Ok(heard)
    }

    /// How many of the kernel's messages made no sense.
    pub fn unintelligible(&self) -> u64 {
        self.unintelligible
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
