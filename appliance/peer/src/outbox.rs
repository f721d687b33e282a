//! Frames on their way to a peer, each link with its own queue.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use tokio::sync::mpsc;

/// The most bytes that wait for one peer; beyond it the peer does not keep up.
pub(crate) const OUTBOX_MAX: usize = 4 * 1024 * 1024;
/// The most bytes that wait for all peers; beyond it the slowest does not keep up.
pub(crate) const OUTBOXES_MAX: usize = 64 * 1024 * 1024;
/// What a waiting frame costs beside its bytes.
const FRAME_COST: usize = 64;

/// What waits for all peers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Total(Arc<AtomicUsize>);

/// The loop's end of a queue.
#[derive(Debug)]
pub(crate) struct Outbox {
    frames: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    total: Total,
}

/// The connection's end of a queue; what is left in it goes with it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    frames: mpsc::UnboundedReceiver<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    total: Total,
}

/// The peer does not keep up: its link is to be closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Slow;

impl Total {
    /// Whether all queues together hold too much.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.0.load(Ordering::Relaxed) > OUTBOXES_MAX
    }
}

/// Makes both ends of a queue.
pub(crate) fn outbox(total: &Total) -> (Outbox, Outgoing) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let outbox = Outbox {
        frames: sender,
        waiting: Arc::clone(&waiting),
        total: total.clone(),
    };
    let outgoing = Outgoing {
        frames: receiver,
        waiting,
        total: total.clone(),
    };
    (outbox, outgoing)
}

impl Outbox {
    /// Queues a frame. One for a connection that has just ended is lost with it.
    ///
    /// # Errors
    ///
    /// [`Slow`].
    pub(crate) fn push(&self, frame: Vec<u8>) -> Result<(), Slow> {
        let cost = cost(&frame);
        if self.waiting().saturating_add(cost) > OUTBOX_MAX {
            return Err(Slow);
        }
        self.waiting.fetch_add(cost, Ordering::Relaxed);
        self.total.0.fetch_add(cost, Ordering::Relaxed);
        if let Err(unsent) = self.frames.send(frame) {
            forget(cost, &self.waiting, &self.total);
            drop(unsent);
        }
        Ok(())
    }

    /// Bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Outgoing {
    /// Waits for the next frame; `None` once the link is given up.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        let frame = self.frames.recv().await?;
        forget(cost(&frame), &self.waiting, &self.total);
        Some(frame)
    }

    /// The next frame, if there is one.
    pub(crate) fn try_next(&mut self) -> Option<Vec<u8>> {
        let frame = self.frames.try_recv().ok()?;
        forget(cost(&frame), &self.waiting, &self.total);
        Some(frame)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.frames.close();
        while self.try_next().is_some() {}
    }
}

fn cost(frame: &[u8]) -> usize {
    frame.len().saturating_add(FRAME_COST)
}

fn forget(cost: usize, waiting: &AtomicUsize, total: &Total) {
    waiting.fetch_sub(cost, Ordering::Relaxed);
    total.0.fetch_sub(cost, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_takes_nothing_is_slow_at_its_limit() {
        let total = Total::default();
        let (outbox, mut outgoing) = outbox(&total);
        let frame = vec![0; 1024 - FRAME_COST];
        for _ in 0..OUTBOX_MAX / 1024 {
            outbox.push(frame.clone()).unwrap();
        }
        assert_eq!(outbox.push(frame.clone()), Err(Slow));
        assert_eq!(outgoing.try_next(), Some(frame.clone()));
        assert_eq!(outbox.push(frame), Ok(()));
        assert_eq!(outbox.waiting(), OUTBOX_MAX);
    }

    #[test]
    fn what_goes_with_a_connection_counts_no_more() {
        let total = Total::default();
        let pairs: Vec<_> = (0..17).map(|_| outbox(&total)).collect();
        for (outbox, _) in &pairs {
            outbox.push(vec![0; OUTBOX_MAX - FRAME_COST]).unwrap();
        }
        assert!(total.is_exceeded());
        drop(pairs);
        assert_eq!(total.0.load(Ordering::Relaxed), 0);
        let (outbox, outgoing) = outbox(&total);
        drop(outgoing);
        outbox.push(vec![0; 100]).unwrap();
        assert_eq!(total.0.load(Ordering::Relaxed), 0);
    }
}
