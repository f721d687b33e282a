//! A channel on the event loop of a role that speaks TLS.

use std::io;

use bartizan_process::{Channel, ChannelError, Exit, Fault, Received, Vocabulary};
use bartizan_secret::Secret;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

/// A [`Channel`] whose readiness the runtime watches.
#[derive(Debug)]
pub struct AsyncChannel<Rx, Tx>(AsyncFd<Channel<Rx, Tx>>);

impl<Rx: Vocabulary, Tx: Vocabulary> AsyncChannel<Rx, Tx> {
    /// Registers a channel with the runtime that this is called in.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the kernel cannot watch it.
    #[expect(
        deprecated,
        reason = "its replacement is unsafe for types that do not own their descriptor; a channel does"
    )]
    pub fn new(channel: Channel<Rx, Tx>) -> Result<Self, Fault> {
        AsyncFd::new(channel)
            .map(Self)
            .map_err(|error| Fault::because(Exit::OsErr, "cannot watch a channel", error))
    }

    /// As [`Channel::send`]; what waits is sent by [`AsyncChannel::recv`].
    ///
    /// # Errors
    ///
    /// [`ChannelError`]; the process must end.
    pub fn send(&mut self, message: &Tx) -> Result<(), ChannelError> {
        self.0.get_mut().send(message)
    }

    /// As [`Channel::send_secret`].
    ///
    /// # Errors
    ///
    /// As [`AsyncChannel::send`].
    pub fn send_secret(&mut self, message: &Tx, secret: Secret) -> Result<(), ChannelError> {
        self.0.get_mut().send_secret(message, secret)
    }

    /// As [`Channel::has_room`].
    pub fn has_room(&self) -> bool {
        self.0.get_ref().has_room()
    }

    /// The channel itself.
    pub fn channel_mut(&mut self) -> &mut Channel<Rx, Tx> {
        self.0.get_mut()
    }

    /// Waits for the next message and sends meanwhile what waits to be sent. `None` says that some
    /// of it was: [`AsyncChannel::has_room`] may have changed.
    ///
    /// Nothing is lost if the future is dropped.
    ///
    /// # Errors
    ///
    /// As [`AsyncChannel::send`].
    pub async fn recv(&mut self) -> Result<Option<Received<Rx>>, ChannelError> {
        loop {
            let interest = if self.0.get_ref().wants_write() {
                Interest::READABLE | Interest::WRITABLE
            } else {
                Interest::READABLE
            };
            let mut guard = self
                .0
                .ready_mut(interest)
                .await
                .map_err(|error| socket(&error))?;
            let ready = guard.ready();
            if ready.is_readable() || ready.is_read_closed() {
                if let Some(received) = guard.get_inner_mut().recv()? {
                    return Ok(Some(received));
                }
                guard.clear_ready_matching(Ready::READABLE);
            }
            if ready.is_writable() && guard.get_inner().wants_write() {
                guard.get_inner_mut().flush()?;
                if guard.get_inner().wants_write() {
                    guard.clear_ready_matching(Ready::WRITABLE);
                }
                return Ok(None);
            }
        }
    }
}

fn socket(error: &io::Error) -> ChannelError {
    ChannelError::Socket(Errno::from_io_error(error).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bartizan_model::identity::KeyName;
    use bartizan_model::ids::OrderId;
    use bartizan_model::message::{FromTpm, ToTpm};
    use std::time::Duration;
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn request(order: u64) -> ToTpm {
        ToTpm::Sign {
            order: OrderId(order),
            key: KeyName::Ldevid,
            digest: vec![0; 32],
        }
    }

    #[tokio::test]
    async fn a_neighbour_that_is_slow_gets_everything_in_order() {
        const COUNT: u64 = 5000;
        let (near, far) = Channel::<FromTpm, ToTpm>::pair().unwrap();
        let (mut near, mut far) = (
            AsyncChannel::new(near).unwrap(),
            AsyncChannel::new(far).unwrap(),
        );
        for order in 0..COUNT {
            near.send(&request(order)).unwrap();
        }
        assert!(near.channel_mut().wants_write(), "the kernel took it all");
        let mut next = 0;
        timeout(PATIENCE, async {
            while next < COUNT {
                tokio::select! {
                    sent = near.recv() => assert!(sent.unwrap().is_none()),
                    received = far.recv() => {
                        if let Some(received) = received.unwrap() {
                            assert_eq!(received.message, request(next));
                            next = next.saturating_add(1);
                        }
                    }
                }
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_message_wakes_whoever_waits_and_an_end_does_too() {
        let (near, mut far) = Channel::<FromTpm, ToTpm>::pair().unwrap();
        let mut near = AsyncChannel::new(near).unwrap();
        let mut waits = Box::pin(near.recv());
        assert!(timeout(Duration::from_millis(1), &mut waits).await.is_err());
        far.send(&FromTpm::NotPermitted(OrderId(7))).unwrap();
        let received = timeout(PATIENCE, waits).await.unwrap().unwrap().unwrap();
        assert_eq!(received.message, FromTpm::NotPermitted(OrderId(7)));
        drop(far);
        let end = timeout(PATIENCE, near.recv()).await.unwrap();
        assert!(matches!(end, Err(ChannelError::Closed)));
    }
}
