//! A frame: one `SOCK_SEQPACKET` datagram, on its way out and in.
//!
//! The postcard body alone, or, in a direction that can carry keys, a byte with the length of the
//! secret, the 64-byte slot and then the body. The slot goes from locked memory to locked memory in
//! an iovec of its own.

use core::mem::MaybeUninit;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};

use bartizan_secret::{SECRET_MAX, Secret};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::channel::ChannelError;
use crate::vocabulary::{Beside, Vocabulary};

/// What a waiting message costs beside its body.
const MESSAGE_COST: usize = 128;

/// The length byte and the slot before the body.
pub(crate) const SLOT_HEAD: usize = 1 + SECRET_MAX;

/// What a message that carries no secret has in its slot.
const EMPTY: [u8; SECRET_MAX] = [0; SECRET_MAX];

/// A message on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) body: Vec<u8>,
    pub(crate) cargo: Cargo,
}

/// What goes along with it.
#[derive(Debug)]
pub(crate) enum Cargo {
    Nothing,
    Secret(Secret),
    Descriptor(OwnedFd),
}

impl Cargo {
    /// Says whether this is what belongs beside a message.
    pub(crate) fn fits(&self, beside: Beside) -> bool {
        match beside {
            Beside::Nothing => matches!(self, Self::Nothing),
            Beside::Secret => matches!(self, Self::Secret(_)),
            Beside::Descriptor => matches!(self, Self::Descriptor(_)),
            Beside::MaybeDescriptor => matches!(self, Self::Nothing | Self::Descriptor(_)),
        }
    }
}

impl Outgoing {
    /// What it takes of the queue.
    pub(crate) fn cost(&self) -> usize {
        self.body.len().saturating_add(MESSAGE_COST)
    }
}

/// Hands one message to the kernel; false while the neighbour's queue is full.
pub(crate) fn transmit<Tx: Vocabulary>(
    socket: &OwnedFd,
    outgoing: &Outgoing,
) -> Result<bool, ChannelError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let (secret_len, slot, fd) = match &outgoing.cargo {
        Cargo::Nothing => (0, &EMPTY, None),
        Cargo::Secret(secret) => {
            let len = u8::try_from(secret.len()).map_err(|_| ChannelError::Beside)?;
            (len, secret.expose_slot(), None)
        }
        Cargo::Descriptor(fd) => (0, &EMPTY, Some([fd.as_fd()])),
    };
    if let Some(fd) = &fd
        && !ancillary.push(SendAncillaryMessage::ScmRights(fd))
    {
        return Err(ChannelError::Beside);
    }
    let head = [secret_len];
    let parts = [
        IoSlice::new(&head),
        IoSlice::new(slot),
        IoSlice::new(&outgoing.body),
    ];
    let parts = if Tx::SLOT {
        parts.as_slice()
    } else {
        parts.get(2..).unwrap_or_default()
    };
    match sendmsg(
        socket,
        parts,
        &mut ancillary,
        SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    ) {
        Ok(_whole) => Ok(true),
        Err(Errno::AGAIN | Errno::INTR) => Ok(false),
        Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Err(ChannelError::Closed),
        Err(errno) => Err(ChannelError::Socket(errno)),
    }
}

/// Takes one datagram; `None` if there is none yet.
pub(crate) fn receive(
    socket: &OwnedFd,
    parts: &mut [IoSliceMut<'_>],
    ancillary: &mut RecvAncillaryBuffer<'_>,
) -> Result<Option<usize>, ChannelError> {
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = match recvmsg(socket, parts, ancillary, flags) {
        Ok(received) => received,
        Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
        Err(Errno::CONNRESET) => return Err(ChannelError::Closed),
        Err(errno) => return Err(ChannelError::Socket(errno)),
    };
    // The kernel cuts a longer message; TRUNC is the only sign of it.
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(ChannelError::TooLong);
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(ChannelError::Beside);
    }
    if received.bytes == 0 {
        return Err(ChannelError::Closed);
    }
    Ok(Some(received.bytes))
}

/// Takes the file descriptor that came along; padding lets the kernel deliver two.
pub(crate) fn only_descriptor(
    ancillary: &mut RecvAncillaryBuffer<'_>,
) -> Result<Option<OwnedFd>, ChannelError> {
    let mut only = None;
    let mut count = 0_u8;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            for fd in fds {
                count = count.saturating_add(1);
                only = Some(fd);
            }
        }
    }
    if count > 1 {
        Err(ChannelError::Beside)
    } else {
        Ok(only)
    }
}
