//! The netlink socket that carries the orders.
//!
//! The kernel carries a datagram of requests out, one after the other, before `send` returns, so
//! its answers wait in the socket by then; an answer that is not there is lost and will not come.
//! A batch is not a transaction: what stands after a refused request is carried out all the same.

use std::os::fd::{AsFd, BorrowedFd};

use bartizan_secret::{LockError, LockedBuffer};
use rustix::io::Errno;

use crate::reply::{Refusal, Replies, Said, Shown};
use crate::request::{Dump, Request, ask_acknowledgement};
use crate::socket::Socket;

/// The most requests of one datagram.
pub const BATCH_MAX: usize = 64;

/// Bytes of a datagram: 64 SAs with the largest replay window.
const REQUEST_MAX: usize = 64 * 1024;

/// Bytes of a part of a dump, as the kernel makes them.
const REPLY_MAX: usize = 32 * 1024;

/// Why the kernel cannot be spoken to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XfrmError {
    /// No netlink socket, or one without the capability.
    #[error("netlink socket")]
    Socket(#[source] Errno),
    /// No locked memory for what carries keys.
    #[error("netlink buffer")]
    Lock(#[from] LockError),
    /// An answer that must be there is not.
    #[error("the kernel gave no answer")]
    NoAnswer,
    /// The clock cannot be watched.
    #[error("clock watch")]
    Clock(#[source] Errno),
    /// The kernel does not list.
    #[error("the kernel refuses to list")]
    Dump(#[source] Errno),
    /// The kernel refuses what every boot begins with.
    #[error("the kernel refuses a built-in policy")]
    BuiltIn(#[source] Errno),
}

/// What became of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is carried out.
    Done,
    /// It is carried out; the kernel shows this.
    Shown(Shown),
    /// It is not.
    Refused(Refusal),
    /// The kernel's answer is lost: it may be either.
    Unknown,
}

/// The socket for orders, with its locked buffers.
#[derive(Debug)]
pub struct Kernel {
    socket: Socket,
    request: LockedBuffer,
    /// Locked too: the kernel shows an SA with its key.
    reply: LockedBuffer,
    seq: u32,
    unintelligible: u64,
}

impl Kernel {
    /// Opens the socket; needs `CAP_NET_ADMIN`, now and for every call.
    ///
    /// # Errors
    ///
    /// [`XfrmError`] if the socket or its locked buffers cannot be had.
    pub fn open() -> Result<Self, XfrmError> {
        Ok(Self {
            socket: Socket::open(0).map_err(XfrmError::Socket)?,
            request: LockedBuffer::new(REQUEST_MAX)?,
            reply: LockedBuffer::new(REPLY_MAX)?,
            seq: 1,
            unintelligible: 0,
        })
    }

    /// Begins a batch.
    pub fn batch(&mut self) -> Batch<'_> {
        Batch {
            first: self.seq,
            kernel: self,
            outcomes: Vec::new(),
            waiting: 0,
            len: 0,
            last: 0,
        }
    }

    /// Carries out one request.
    pub fn carry_out(&mut self, request: &Request<'_>) -> Outcome {
        let mut batch = self.batch();
        batch.push(request);
        batch.finish().pop().unwrap_or(Outcome::Unknown)
    }

    /// Lists, handing each SA or policy to `each`.
    ///
    /// # Errors
    ///
    /// [`XfrmError`] if the list is not complete.
    pub fn dump(&mut self, what: Dump, mut each: impl FnMut(Shown)) -> Result<(), XfrmError> {
        let seq = self.seq;
        self.seq = seq.wrapping_add(1);
        let len = what
            .encode(self.request.as_mut_slice(), seq)
            .map_err(|_| XfrmError::Dump(Errno::MSGSIZE))?;
        self.send(len).map_err(XfrmError::Socket)?;
        let mut end = None;
        while end.is_none() {
            self.receive(|reply_seq, said| match said {
                _ if reply_seq != seq => {}
                Said::Shown(shown) => each(shown),
                Said::ListEnds => end = Some(Ok(())),
                Said::Refused(refusal) => {
                    let errno = Errno::from_raw_os_error(refusal.errno);
                    end = Some(Err(XfrmError::Dump(errno)));
                }
                Said::Acknowledged | Said::Event(_) | Said::Unintelligible => {}
            })
            .map_err(|_| XfrmError::NoAnswer)?;
        }
        end.unwrap_or(Err(XfrmError::NoAnswer))
    }

    /// How many of the kernel's messages made no sense.
    pub fn unintelligible(&self) -> u64 {
        self.unintelligible
    }

    /// Sends the first `len` bytes of the buffer and wipes them.
    fn send(&mut self, len: usize) -> Result<(), Errno> {
        let bytes = self.request.as_slice().get(..len).unwrap_or_default();
        let sent = self.socket.send(bytes);
        self.request.wipe_front(len);
        sent
    }

    /// Takes one datagram of answers apart.
    fn receive(&mut self, mut each: impl FnMut(u32, Said)) -> Result<(), Lost> {
        let len = match self.socket.receive(self.reply.as_mut_slice()) {
            Ok(len) => len,
            Err(Errno::INTR) => return Ok(()),
            Err(Errno::NOBUFS) => return Err(Lost::Some),
            Err(_again) => return Err(Lost::Rest),
        };
        if let Some(datagram) = self.reply.as_slice().get(..len) {
            for reply in Replies::of(datagram) {
                if reply.said == Said::Unintelligible {
                    self.unintelligible = self.unintelligible.saturating_add(1);
                }
                each(reply.seq, reply.said);
            }
        }
        let cut = len > self.reply.len();
        self.reply.wipe_front(len);
        if cut { Err(Lost::Some) } else { Ok(()) }
    }
}

impl AsFd for Kernel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Answers that did not fit into the socket's queue or our buffer, or are not there.
enum Lost {
    /// Others may follow.
    Some,
    /// No more come.
    Rest,
}

/// Requests that go to the kernel together, [`BATCH_MAX`] in a datagram, with one acknowledgement
/// for each datagram. A batch that is dropped is not sent beyond its full datagrams.
#[derive(Debug)]
pub struct Batch<'k> {
    kernel: &'k mut Kernel,
    /// The number of the first request.
    first: u32,
    /// One a request; those not yet sent are `None`.
    outcomes: Vec<Option<Outcome>>,
    /// Requests in the buffer.
    waiting: usize,
    /// Bytes in the buffer.
    len: usize,
    /// Where the last request in the buffer begins.
    last: usize,
}

impl Batch<'_> {
    /// Adds a request. Its bytes are in the locked buffer when this returns.
    pub fn push(&mut self, request: &Request<'_>) {
        if self.waiting == BATCH_MAX || !self.encode(request) {
            self.flush();
            if !self.encode(request) {
                self.outcomes.push(Some(Outcome::Refused(Refusal {
                    errno: Errno::MSGSIZE.raw_os_error(),
                    text: String::new(),
                })));
                self.kernel.seq = self.kernel.seq.wrapping_add(1);
            }
        }
    }

    /// Sends what waits, and says what became of each request, in the order of the pushes.
    pub fn finish(mut self) -> Vec<Outcome> {
        self.flush();
        let outcomes = core::mem::take(&mut self.outcomes);
        outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or(Outcome::Unknown))
            .collect()
    }

    /// Writes a request behind those that wait; false if it does not fit there.
    fn encode(&mut self, request: &Request<'_>) -> bool {
        let room = self.kernel.request.as_mut_slice().get_mut(self.len..);
        let Ok(len) = request.encode(room.unwrap_or_default(), self.kernel.seq) else {
            return false;
        };
        self.last = self.len;
        self.len = self.len.saturating_add(len);
        self.waiting = self.waiting.saturating_add(1);
        self.outcomes.push(None);
        self.kernel.seq = self.kernel.seq.wrapping_add(1);
        true
    }

    fn flush(&mut self) {
        if self.waiting == 0 {
            return;
        }
        let last = self.kernel.request.as_mut_slice().get_mut(self.last..);
        ask_acknowledgement(last.unwrap_or_default());
        let sent = self.kernel.send(self.len);
        let start = self.outcomes.len().saturating_sub(self.waiting);
        self.waiting = 0;
        self.len = 0;
        let unanswered = match sent {
            Ok(()) => self.collect(),
            // The kernel takes a whole datagram or none of it.
            Err(errno) => Outcome::Refused(Refusal {
                errno: errno.raw_os_error(),
                text: String::new(),
            }),
        };
        for outcome in self.outcomes.iter_mut().skip(start) {
            outcome.get_or_insert_with(|| unanswered.clone());
        }
    }

    /// Reads answers up to that of the last request; returns what became of those without one.
    fn collect(&mut self) -> Outcome {
        let last = self.outcomes.len().saturating_sub(1);
        let (first, outcomes) = (self.first, &mut self.outcomes);
        let mut complete = false;
        let mut unanswered = Outcome::Done;
        while !complete {
            let heard = self.kernel.receive(|seq, said| {
                let place = usize::try_from(seq.wrapping_sub(first)).unwrap_or(usize::MAX);
                let Some(outcome) = outcomes.get_mut(place) else {
                    return;
                };
                let answer = matches!(said, Said::Acknowledged | Said::Refused(_));
                complete |= answer && place == last;
                match said {
                    Said::Acknowledged => {
                        outcome.get_or_insert(Outcome::Done);
                    }
                    Said::Refused(refusal) => *outcome = Some(Outcome::Refused(refusal)),
                    Said::Shown(shown) => *outcome = Some(Outcome::Shown(shown)),
                    Said::ListEnds | Said::Event(_) | Said::Unintelligible => {}
                }
            });
            match heard {
                Ok(()) => {}
                Err(Lost::Some) => unanswered = Outcome::Unknown,
                Err(Lost::Rest) => return Outcome::Unknown,
            }
        }
        unanswered
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.kernel.request.wipe_front(self.len);
    }
}
