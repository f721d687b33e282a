//! The role's end of its tpm edge, for everything that it may ask of the TPM.

use core::fmt;
use core::time::Duration;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};

use bartizan_model::ids::OrderId;
use bartizan_model::message::{FromTpm, ToTpm};
use bartizan_process::{Channel, ChannelError, boot_time};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// The tpm edge; clones share it and take turns.
///
/// A request blocks its thread until the TPM has answered, so it belongs on a thread that may wait.
#[derive(Clone)]
pub struct Tpm(Arc<Mutex<TpmEdge>>);

/// Why the TPM did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// The tpm role broke the rules of the edge or is gone: this process must end.
    #[error("the edge to the TPM is broken")]
    Edge(#[source] ChannelError),
    /// The tpm role does not do this for us in this state.
    #[error("the TPM is not permitted to do this")]
    NotPermitted,
    /// The TPM refused.
    #[error("the TPM refused: response code {code:#010x}")]
    Refused {
        /// The TPM's response code.
        code: u32,
    },
    /// The TPM did not answer in time.
    #[error("the TPM did not answer in time")]
    TimedOut,
    /// It answered something else than it was asked for: this process must end.
    #[error("the TPM's answer is not to the question")]
    OtherAnswer,
    /// The kernel refused to wait.
    #[error("cannot wait for the TPM")]
    Wait(#[source] Errno),
}

impl Tpm {
    /// Takes the role's end of the tpm edge.
    pub fn new(edge: Channel<FromTpm, ToTpm>) -> Self {
        Self(Arc::new(Mutex::new(TpmEdge {
            channel: edge,
            last: OrderId(0),
        })))
    }

    /// Asks, and waits for the answer at most `limit` from when it is our turn; blocks.
    ///
    /// # Errors
    ///
    /// [`TpmError`]; a refusal is one too, so what is returned is neither
    /// [`FromTpm::NotPermitted`] nor [`FromTpm::Failed`].
    pub fn ask(
        &self,
        limit: Duration,
        request: impl FnOnce(OrderId) -> ToTpm,
    ) -> Result<FromTpm, TpmError> {
        // Whoever panicked ends the process, so there is no poison to respect.
        let mut edge = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        edge.ask(limit, request)
    }
}

impl fmt::Debug for Tpm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tpm")
    }
}

struct TpmEdge {
    channel: Channel<FromTpm, ToTpm>,
    last: OrderId,
}

impl TpmEdge {
    fn ask(
        &mut self,
        limit: Duration,
        request: impl FnOnce(OrderId) -> ToTpm,
    ) -> Result<FromTpm, TpmError> {
        let order = OrderId(self.last.0.wrapping_add(1));
        self.last = order;
        self.channel.send(&request(order)).map_err(TpmError::Edge)?;

        let end = boot_time().after(limit);
        loop {
            self.channel.flush().map_err(TpmError::Edge)?;
            while let Some(received) = self.channel.recv().map_err(TpmError::Edge)? {
                if answered(&received.message) != order {
                    // The answer to a request that was given up.
                    continue;
                }
                if matches!(received.message, FromTpm::NotPermitted(_)) {
                    return Err(TpmError::NotPermitted);
                }
                if let FromTpm::Failed { code, .. } = received.message {
                    return Err(TpmError::Refused { code });
                }
                return Ok(received.message);
            }
            let left = end.since(boot_time());
            if left.is_zero() {
                return Err(TpmError::TimedOut);
            }
            self.wait(left)?;
        }
    }

    fn wait(&self, limit: Duration) -> Result<(), TpmError> {
        let events = if self.channel.wants_write() {
            PollFlags::IN | PollFlags::OUT
        } else {
            PollFlags::IN
        };
        let limit = Timespec::try_from(limit).map_err(|_| TpmError::Wait(Errno::INVAL))?;
        match poll(
            &mut [PollFd::from_borrowed_fd(self.channel.as_fd(), events)],
            Some(&limit),
        ) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(TpmError::Wait(errno)),
        }
    }
}

/// Which request this answers.
fn answered(answer: &FromTpm) -> OrderId {
    match answer {
        FromTpm::Signature { order, .. }
        | FromTpm::Identity { order, .. }
        | FromTpm::Ldevid { order, .. }
        | FromTpm::Activated { order, .. }
        | FromTpm::Quoted { order, .. }
        | FromTpm::Attested { order, .. }
        | FromTpm::LogPart { order, .. }
        | FromTpm::Failed { order, .. }
        | FromTpm::Done(order)
        | FromTpm::NotPermitted(order) => *order,
    }
}
