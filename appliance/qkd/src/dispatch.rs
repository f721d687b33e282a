//! Which task is worked on by which connection to a KME, and when: without I/O and clock.
//!
//! Every task that is taken gets exactly one fate: it is assigned, expired, given up, or cancelled.

use core::time::Duration;

use bartizan_model::ids::{KeyId, OrderId, SaeId};
use bartizan_model::time::BootTime;
use bartizan_tls::Backoff;

use crate::stream::{self, StreamId};

/// Connections to a KME at most; each serves one task at a time. With a KME that takes half a
/// second, the engine's 128 orders at once are served within [`ORDER_LIMIT`].
pub(crate) const WORKERS: usize = 24;
/// How long an order may take, from when it is taken; the engine waits no longer for the reply.
pub(crate) const ORDER_LIMIT: Duration = Duration::from_secs(3);

/// The longest wait is shorter than an order's: each gets one attempt at least.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));

/// What a task is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tag {
    /// An order of the engine.
    Order(OrderId),
    /// The keys that wait for orders to come.
    Prefetch,
    /// A stream of our own.
    Open,
    /// A stream that the peer has opened.
    Join(StreamId),
    /// A stream that nobody needs any more.
    Close,
}

/// One request to a KME, or a part of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Task {
    pub(crate) tag: Tag,
    pub(crate) peer: SaeId,
    pub(crate) ask: Ask,
    pub(crate) deadline: BootTime,
    /// It is not begun before.
    pub(crate) not_before: BootTime,
    /// How often it was tried.
    pub(crate) tries: u32,
}

/// What it asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Ask {
    /// 014: a fresh key.
    NewKey,
    /// 014: the key of this name.
    SameKey(KeyId),
    /// 004: whatever this is.
    Stream(stream::Call),
}

/// Whether a worker holds a connection that can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Link {
    Up,
    Down,
}

/// How a worker came by its connection for a task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Connect {
    /// It had one, or the task ended before.
    NotTried,
    Done,
    Failed,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Worker {
    Idle(Link),
    Busy {
        /// A cancelled one is not there any more.
        tasks: Vec<Option<Task>>,
        /// Its link as the work began.
        link: Link,
    },
}

/// The tasks and the workers of one KME.
#[derive(Debug)]
pub(crate) struct Dispatch {
    waiting: Vec<Task>,
    workers: Vec<Worker>,
    backoff: Backoff,
    /// Set while the KME could not be reached last time.
    retry: Option<BootTime>,
}

impl Dispatch {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Vec::new(),
            workers: vec![Worker::Idle(Link::Down); WORKERS],
            backoff: BACKOFF,
            retry: None,
        }
    }

    /// Takes a task; orders go before what is not for one.
    pub(crate) fn take(&mut self, task: Task) {
        let place = match task.tag {
            Tag::Prefetch => self.waiting.len(),
            Tag::Order(_) | Tag::Open | Tag::Join(_) | Tag::Close => self
                .waiting
                .iter()
                .position(|other| other.tag == Tag::Prefetch)
                .unwrap_or(self.waiting.len()),
        };
        self.waiting.insert(place, task);
    }

    /// Forgets an order's task; one that is being worked on gets no reply.
    pub(crate) fn cancel(&mut self, cancelled: OrderId) {
        let is_it = |task: &Task| task.tag == Tag::Order(cancelled);
        self.waiting.retain(|task| !is_it(task));
        for worker in &mut self.workers {
            if let Worker::Busy { tasks, .. } = worker {
                for task in tasks {
                    task.take_if(|task| is_it(task));
                }
            }
        }
    }

    /// Takes out the tasks whose time is over before a worker had them.
    pub(crate) fn expire(&mut self, now: BootTime) -> Vec<Task> {
        self.waiting
            .extract_if(.., |task| task.deadline <= now)
            .collect()
    }

    /// Gives the next tasks to a worker, if there are both: one, or, of 014, as many of its kind and
    /// peer as one request may have. What was refused together is tried again alone.
    pub(crate) fn assign(
        &mut self,
        now: BootTime,
        batch: impl FnOnce(&SaeId) -> usize,
    ) -> Option<(usize, Vec<Task>)> {
        let first = self
            .waiting
            .iter()
            .position(|task| task.not_before <= now)?;
        let find = |link| {
            self.workers
                .iter()
                .position(|worker| *worker == Worker::Idle(link))
        };
        let (index, link) = match find(Link::Up) {
            Some(index) => (index, Link::Up),
            None if self.may_connect(now) => (find(Link::Down)?, Link::Down),
            None => return None,
        };
        let task = self.waiting.remove(first);
        let mut tasks = vec![task.clone()];
        let most = batch(&task.peer);
        if task.tries == 0 {
            let joins = |other: &mut Task| {
                let together = match (&task.ask, &other.ask) {
                    (Ask::NewKey, Ask::NewKey) | (Ask::SameKey(_), Ask::SameKey(_)) => true,
                    (Ask::NewKey | Ask::SameKey(_) | Ask::Stream(_), _) => false,
                };
                together && other.peer == task.peer && other.tries == 0 && other.not_before <= now
            };
            let others = self.waiting.extract_if(.., joins);
            tasks.extend(others.take(most.saturating_sub(1)));
        }
        *self.workers.get_mut(index)? = Worker::Busy {
            tasks: tasks.iter().cloned().map(Some).collect(),
            link,
        };
        Some((index, tasks))
    }

    /// A worker is done; its tasks in the order in which it got them, without those that were
    /// cancelled.
    pub(crate) fn finish(&mut self, index: usize, link: Link) -> Vec<Option<Task>> {
        let Some(worker) = self.workers.get_mut(index) else {
            return Vec::new();
        };
        match core::mem::replace(worker, Worker::Idle(link)) {
            Worker::Busy { tasks, .. } => tasks,
            Worker::Idle(_) => Vec::new(),
        }
    }

    /// A worker tried to connect; returns the tasks that are given up because the KME cannot be
    /// reached.
    pub(crate) fn connected(&mut self, connect: Connect, now: BootTime, entropy: u32) -> Vec<Task> {
        match connect {
            Connect::NotTried => Vec::new(),
            Connect::Done => {
                self.backoff.succeeded();
                self.retry = None;
                Vec::new()
            }
            Connect::Failed => {
                self.retry = Some(now.after(self.backoff.failed(entropy)));
                if self.has_link() {
                    return Vec::new();
                }
                self.waiting.drain(..).collect()
            }
        }
    }

    /// An idle worker's connection ended.
    pub(crate) fn lost(&mut self, index: usize) {
        if let Some(worker @ Worker::Idle(_)) = self.workers.get_mut(index) {
            *worker = Worker::Idle(Link::Down);
        }
    }

    /// When [`Dispatch::assign`] or [`Dispatch::expire`] may have something to do without an event.
    pub(crate) fn deadline(&self, now: BootTime) -> Option<BootTime> {
        let ends = self.waiting.iter().map(|task| task.deadline).min()?;
        let begins = self.waiting.iter().map(|task| task.not_before);
        let begins = begins.filter(|begins| *begins > now).min();
        [Some(ends), begins, self.retry.filter(|retry| *retry > now)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether the KME could not be reached last time, and it is too soon to try again.
    pub(crate) fn is_away(&self, now: BootTime) -> bool {
        self.retry.is_some_and(|retry| retry > now) && !self.has_link()
    }

    /// After a failure one worker at a time tries again, and not before the back-off is over.
    fn may_connect(&self, now: BootTime) -> bool {
        self.retry.is_none_or(|retry| {
            let trying = self.workers.iter().any(|worker| {
                matches!(
                    worker,
                    Worker::Busy {
                        link: Link::Down,
                        ..
                    }
                )
            });
            retry <= now && !trying
        })
    }

    fn has_link(&self) -> bool {
        self.workers.iter().any(|worker| {
            matches!(
                worker,
                Worker::Idle(Link::Up) | Worker::Busy { link: Link::Up, .. }
            )
        })
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]
mod tests;
