//! One end of an edge, typed by what may come in and what may go out.

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use bartizan_secret::{EmptySlot, LockError, Secret};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvAncillaryBuffer, SocketFlags, SocketType, socketpair};

use crate::frame::{Cargo, Outgoing, SLOT_HEAD, only_descriptor, receive, transmit};
use crate::vocabulary::Vocabulary;

/// The most bytes that wait to be sent on one channel, each message counted with 128 more. Beyond it
/// the neighbour does not keep up, and that is an error.
pub const QUEUE_MAX: usize = 32 * 1024 * 1024;

/// [`Channel::has_room`] turns false at this many bytes.
pub const QUEUE_ROOM: usize = 1024 * 1024;

/// Why a message did not pass. Each ends the process that meets it: a neighbour that breaks the
/// rules has been taken over or is of another version.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The other process closed its end or died.
    #[error("the neighbour is gone")]
    Closed,
    /// The bytes are no message of this direction, or more than one message.
    #[error("malformed message")]
    Malformed(#[source] postcard::Error),
    /// A body longer than the direction's cap.
    #[error("a message is longer than its edge carries")]
    TooLong,
    /// A secret or a file descriptor where none belongs, or none where one does.
    #[error("a message lacks what belongs beside it, or has what does not")]
    Beside,
    /// More waits to be sent than [`QUEUE_MAX`].
    #[error("the neighbour does not keep up")]
    Full,
    /// The kernel refused the transfer.
    #[error("channel socket")]
    Socket(#[source] Errno),
    /// No locked slot for a secret.
    #[error("secret slot")]
    Lock(#[from] LockError),
}

/// A message and what came beside it; the channel has checked that it is what belongs there.
#[derive(Debug)]
pub struct Received<Rx> {
    /// The message.
    pub message: Rx,
    /// The secret of a message that carries one.
    pub secret: Option<Secret>,
    /// The file descriptor of a message that carries one.
    pub fd: Option<OwnedFd>,
}

/// One end of a socketpair that reads `Rx` and writes `Tx`; never blocks.
///
/// Poll its descriptor for reading, and for writing while [`Channel::wants_write`]. Read with
/// [`Channel::recv`] until it says `None`.
#[derive(Debug)]
pub struct Channel<Rx, Tx> {
    socket: OwnedFd,
    queue: VecDeque<Outgoing>,
    queued: usize,
    body: Vec<u8>,
    slot: Option<EmptySlot>,
    types: PhantomData<fn(Tx) -> Rx>,
}

impl<Rx: Vocabulary, Tx: Vocabulary> Channel<Rx, Tx> {
    /// Makes both ends; what one writes the other reads.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Socket`] if the kernel has no socketpair to give.
    pub fn pair() -> Result<(Self, Channel<Tx, Rx>), ChannelError> {
        let (near, far) = socket_pair().map_err(ChannelError::Socket)?;
        Ok((Self::new(near)?, Channel::new(far)?))
    }

    /// Takes an end that was handed over.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Socket`] if it cannot be made non-blocking.
    pub fn new(socket: OwnedFd) -> Result<Self, ChannelError> {
        rustix::io::ioctl_fionbio(&socket, true).map_err(ChannelError::Socket)?;
        Ok(Self {
            socket,
            queue: VecDeque::new(),
            queued: 0,
            body: vec![0; Rx::CAP],
            slot: None,
            types: PhantomData,
        })
    }

    /// Sends a message, or queues it while the neighbour is slower.
    ///
    /// # Errors
    ///
    /// [`ChannelError`]; the channel is of no use then.
    pub fn send(&mut self, message: &Tx) -> Result<(), ChannelError> {
        self.submit(message, Cargo::Nothing)
    }

    /// As [`Channel::send`], for a message that carries a secret, which is given away: it is wiped
    /// as soon as the kernel has it.
    ///
    /// # Errors
    ///
    /// As [`Channel::send`].
    pub fn send_secret(&mut self, message: &Tx, secret: Secret) -> Result<(), ChannelError> {
        self.submit(message, Cargo::Secret(secret))
    }

    /// As [`Channel::send`], for a message that carries a file descriptor.
    ///
    /// # Errors
    ///
    /// As [`Channel::send`].
    pub fn send_fd(&mut self, message: &Tx, fd: OwnedFd) -> Result<(), ChannelError> {
        self.submit(message, Cargo::Descriptor(fd))
    }

    /// Sends what waits, as far as the neighbour takes it.
    ///
    /// # Errors
    ///
    /// As [`Channel::send`].
    pub fn flush(&mut self) -> Result<(), ChannelError> {
        while let Some(first) = self.queue.front() {
            if !transmit::<Tx>(&self.socket, first)? {
                return Ok(());
            }
            self.queued = self.queued.saturating_sub(first.cost());
            self.queue.pop_front();
        }
        Ok(())
    }

    /// Says whether something waits for the socket to become writable.
    pub fn wants_write(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Says whether less than [`QUEUE_ROOM`] waits; a loop stops reading from where its work comes
    /// from while this is false.
    pub fn has_room(&self) -> bool {
        self.queued < QUEUE_ROOM
    }

    /// Takes the next message, or `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// [`ChannelError`]; the process must end.
    pub fn recv(&mut self) -> Result<Option<Received<Rx>>, ChannelError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut secret_len = [0_u8];
        let outcome = if Rx::SLOT {
            let mut slot = self.slot.take().map_or_else(EmptySlot::new, Ok)?;
            let mut parts = [
                IoSliceMut::new(&mut secret_len),
                IoSliceMut::new(slot.bytes_mut()),
                IoSliceMut::new(&mut self.body),
            ];
            let outcome = receive(&self.socket, &mut parts, &mut ancillary);
            self.slot = Some(slot);
            outcome
        } else {
            receive(
                &self.socket,
                &mut [IoSliceMut::new(&mut self.body)],
                &mut ancillary,
            )
        };
        let Some(bytes) = outcome? else {
            return Ok(None);
        };
        let fd = only_descriptor(&mut ancillary)?;
        let head = if Rx::SLOT { SLOT_HEAD } else { 0 };
        let body_len = bytes.checked_sub(head).ok_or(ChannelError::Beside)?;
        let body = self.body.get(..body_len).ok_or(ChannelError::TooLong)?;
        let (message, rest) =
            postcard::take_from_bytes::<Rx>(body).map_err(ChannelError::Malformed)?;
        if !rest.is_empty() {
            return Err(ChannelError::Malformed(
                postcard::Error::DeserializeBadEncoding,
            ));
        }
        let cargo = match (secret_len, fd) {
            ([0], fd) => {
                if let Some(slot) = &mut self.slot {
                    slot.wipe();
                }
                fd.map_or(Cargo::Nothing, Cargo::Descriptor)
            }
            ([len], None) => {
                let slot = self.slot.take().ok_or(ChannelError::Beside)?;
                Cargo::Secret(slot.into_secret(usize::from(len))?)
            }
            (_, Some(_)) => return Err(ChannelError::Beside),
        };
        if !cargo.fits(message.beside()) {
            return Err(ChannelError::Beside);
        }
        let (secret, fd) = match cargo {
            Cargo::Nothing => (None, None),
            Cargo::Secret(secret) => (Some(secret), None),
            Cargo::Descriptor(fd) => (None, Some(fd)),
        };
        Ok(Some(Received {
            message,
            secret,
            fd,
        }))
    }

    fn submit(&mut self, message: &Tx, cargo: Cargo) -> Result<(), ChannelError> {
        if !cargo.fits(message.beside()) {
            return Err(ChannelError::Beside);
        }
        let body = postcard::to_allocvec(message).map_err(ChannelError::Malformed)?;
        if body.len() > Tx::CAP {
            return Err(ChannelError::TooLong);
        }
        let outgoing = Outgoing { body, cargo };
        if self.queue.is_empty() && transmit::<Tx>(&self.socket, &outgoing)? {
            return Ok(());
        }
        let queued = self.queued.saturating_add(outgoing.cost());
        if queued > QUEUE_MAX {
            return Err(ChannelError::Full);
        }
        self.queued = queued;
        self.queue.push_back(outgoing);
        Ok(())
    }
}

impl<Rx, Tx> AsFd for Channel<Rx, Tx> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<Rx, Tx> AsRawFd for Channel<Rx, Tx> {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Makes the two sockets of an edge, closed on exec.
///
/// # Errors
///
/// The kernel's [`Errno`].
pub fn socket_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
}
