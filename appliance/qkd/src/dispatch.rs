//! Which order is worked on by which connection, and when: without I/O and clock.
//!
//! Every order that is taken gets exactly one fate: it is assigned, expired, given up, or
//! cancelled.

use core::time::Duration;
use std::collections::VecDeque;

use bartizan_model::ids::{KeyId, OrderId, SaeId};
use bartizan_model::time::BootTime;
use bartizan_tls::Backoff;

/// Connections to the KME at most; each serves one order at a time. With a KME that takes half a
/// second, the engine's 128 orders at once are served within [`ORDER_LIMIT`].
pub(crate) const WORKERS: usize = 24;
/// Orders that wait for one at most.
pub(crate) const WAITING_MAX: usize = 2048;
/// How long an order may take, from when it is taken; the engine waits no longer for the reply.
pub(crate) const ORDER_LIMIT: Duration = Duration::from_secs(3);

/// The longest wait is shorter than an order's: each gets one attempt at least.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));

/// An order of the engine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) ask: Ask,
    pub(crate) deadline: BootTime,
}

/// What it asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Ask {
    /// A fresh key, to be shared with this SAE.
    NewKey { peer: SaeId },
    /// The key that this SAE named.
    SameKey { peer: SaeId, key: KeyId },
}

/// More orders wait than may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Busy;

/// Whether a worker holds a connection that can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Link {
    Up,
    Down,
}

/// How a worker came by its connection for an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Connect {
    /// It had one, or the order ended before.
    NotTried,
    Done,
    Failed,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Worker {
    Idle(Link),
    Busy {
        order: Option<OrderId>,
        /// Its link as the order began.
        link: Link,
    },
}

/// The orders and the workers.
#[derive(Debug)]
pub(crate) struct Dispatch {
    waiting: VecDeque<Order>,
    workers: [Worker; WORKERS],
    backoff: Backoff,
    /// Set while the KME could not be reached last time.
    retry: Option<BootTime>,
}

impl Dispatch {
    pub(crate) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            workers: [Worker::Idle(Link::Down); WORKERS],
            backoff: BACKOFF,
            retry: None,
        }
    }

    /// Takes an order.
    ///
    /// # Errors
    ///
    /// [`Busy`].
    pub(crate) fn take(&mut self, id: OrderId, ask: Ask, now: BootTime) -> Result<(), Busy> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(Busy);
        }
        let deadline = now.after(ORDER_LIMIT);
        self.waiting.push_back(Order { id, ask, deadline });
        Ok(())
    }

    /// Forgets an order; one that is being worked on gets no reply.
    pub(crate) fn cancel(&mut self, cancelled: OrderId) {
        self.waiting.retain(|order| order.id != cancelled);
        for worker in &mut self.workers {
            if let Worker::Busy { order, .. } = worker {
                order.take_if(|order| *order == cancelled);
            }
        }
    }

    /// Takes out the orders whose time is over before a worker had them.
    pub(crate) fn expire(&mut self, now: BootTime) -> Vec<OrderId> {
        let mut expired = Vec::new();
        // All have the same limit, so the first is the first to expire.
        while let Some(order) = self.waiting.pop_front_if(|order| order.deadline <= now) {
            expired.push(order.id);
        }
        expired
    }

    /// Gives the next order to a worker, if there are both.
    pub(crate) fn assign(&mut self, now: BootTime) -> Option<(usize, Order)> {
        if self.waiting.is_empty() {
            return None;
        }
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
        let order = self.waiting.pop_front()?;
        *self.workers.get_mut(index)? = Worker::Busy {
            order: Some(order.id),
            link,
        };
        Some((index, order))
    }

    /// A worker is done; whether its order still wants a reply.
    pub(crate) fn finish(&mut self, index: usize, link: Link) -> Option<OrderId> {
        let worker = self.workers.get_mut(index)?;
        match core::mem::replace(worker, Worker::Idle(link)) {
            Worker::Busy { order, .. } => order,
            Worker::Idle(_) => None,
        }
    }

    /// A worker tried to connect for its order; returns the orders that are given up because the
    /// KME cannot be reached.
    pub(crate) fn connected(
        &mut self,
        connect: Connect,
        now: BootTime,
        entropy: u32,
    ) -> Vec<OrderId> {
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
                self.waiting.drain(..).map(|order| order.id).collect()
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
    pub(crate) fn deadline(&self) -> Option<BootTime> {
        let first = self.waiting.front()?.deadline;
        Some(self.retry.map_or(first, |retry| retry.min(first)))
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> BootTime {
        BootTime(Duration::from_millis(millis))
    }

    fn ask() -> Ask {
        Ask::NewKey {
            peer: SaeId::try_from("sae-b").unwrap(),
        }
    }

    fn with_orders(count: u64) -> Dispatch {
        let mut dispatch = Dispatch::new();
        for id in 0..count {
            dispatch.take(OrderId(id), ask(), at(0)).unwrap();
        }
        dispatch
    }

    #[test]
    fn a_standing_connection_is_used_before_another_is_opened() {
        let mut dispatch = with_orders(1);
        let (first, _) = dispatch.assign(at(0)).unwrap();
        assert_eq!(dispatch.finish(first, Link::Up), Some(OrderId(0)));
        for id in 1..3 {
            dispatch.take(OrderId(id), ask(), at(0)).unwrap();
        }
        assert_eq!(dispatch.assign(at(0)).unwrap().0, first);
        assert_ne!(dispatch.assign(at(0)).unwrap().0, first);
    }

    #[test]
    fn no_more_orders_are_worked_on_than_there_are_workers_and_no_more_wait_than_may() {
        let mut dispatch = with_orders(WAITING_MAX.try_into().unwrap());
        assert_eq!(dispatch.take(OrderId(9999), ask(), at(0)), Err(Busy));
        for _ in 0..WORKERS {
            assert!(dispatch.assign(at(0)).is_some());
        }
        assert!(dispatch.assign(at(0)).is_none());
    }

    #[test]
    fn a_kme_that_is_away_is_tried_by_one_worker_after_a_wait() {
        let mut dispatch = with_orders(3);
        let (worker, order) = dispatch.assign(at(0)).unwrap();
        dispatch.finish(worker, Link::Down);
        let given_up = dispatch.connected(Connect::Failed, at(10), u32::MAX);
        assert_eq!(
            (order.id, given_up),
            (OrderId(0), vec![OrderId(1), OrderId(2)])
        );

        dispatch.take(OrderId(3), ask(), at(20)).unwrap();
        dispatch.take(OrderId(4), ask(), at(20)).unwrap();
        assert_eq!(dispatch.assign(at(20)), None);
        let retry = dispatch.deadline().unwrap();
        assert!(at(110) <= retry && retry <= at(210));
        let (worker, _) = dispatch.assign(retry).unwrap();
        assert_eq!(dispatch.assign(retry), None, "one at a time");

        dispatch.finish(worker, Link::Up);
        dispatch.connected(Connect::Done, at(300), 0);
        assert!(dispatch.assign(at(300)).is_some());
        dispatch.take(OrderId(5), ask(), at(300)).unwrap();
        assert!(dispatch.assign(at(300)).is_some(), "many again");
    }

    #[test]
    fn a_failed_connection_beside_a_standing_one_gives_nothing_up() {
        let mut dispatch = with_orders(3);
        let (first, _) = dispatch.assign(at(0)).unwrap();
        dispatch.finish(first, Link::Up);
        assert_eq!(dispatch.assign(at(0)).unwrap().0, first);
        let (second, _) = dispatch.assign(at(0)).unwrap();
        dispatch.finish(second, Link::Down);
        dispatch.take(OrderId(7), ask(), at(0)).unwrap();
        assert_eq!(dispatch.connected(Connect::Failed, at(0), 0), []);
        assert_eq!(dispatch.assign(at(1)), None);
        dispatch.finish(first, Link::Up);
        assert_eq!(dispatch.assign(at(1)).unwrap().1.id, OrderId(7));
    }

    #[test]
    fn a_cancelled_order_gets_no_reply() {
        let mut dispatch = with_orders(2);
        let (worker, _) = dispatch.assign(at(0)).unwrap();
        dispatch.cancel(OrderId(0));
        dispatch.cancel(OrderId(1));
        assert_eq!(dispatch.finish(worker, Link::Up), None);
        assert_eq!(dispatch.assign(at(0)), None);
        assert_eq!(dispatch.expire(at(u64::MAX)), []);
    }

    #[test]
    fn a_lost_connection_is_not_used() {
        let mut dispatch = with_orders(1);
        let (worker, _) = dispatch.assign(at(0)).unwrap();
        dispatch.lost(worker);
        assert_eq!(
            dispatch.finish(worker, Link::Up),
            Some(OrderId(0)),
            "it is busy"
        );
        dispatch.lost(worker);
        assert!(!dispatch.has_link());
    }

    proptest! {
        /// Whatever happens, each order has one fate, and each is over in time.
        #[test]
        fn every_order_has_one_fate(events in proptest::collection::vec((0_u8..5, 0..WORKERS, 0_u64..3000), 0..200)) {
            let mut dispatch = Dispatch::new();
            let mut open = std::collections::BTreeSet::new();
            let mut now = 0;
            let mut next = 0;
            for (event, worker, wait) in events {
                now += wait;
                match event {
                    0 | 1 => {
                        dispatch.take(OrderId(next), ask(), at(now)).unwrap();
                        open.insert(OrderId(next));
                        next += 1;
                    }
                    2 => {
                        let id = OrderId(next.saturating_sub(2));
                        dispatch.cancel(id);
                        open.remove(&id);
                    }
                    3 => {
                        let done = dispatch.finish(worker, Link::Up);
                        prop_assert!(done.is_none_or(|id| open.remove(&id)));
                        dispatch.connected(Connect::Done, at(now), 0);
                    }
                    _ => {
                        let done = dispatch.finish(worker, Link::Down);
                        prop_assert!(done.is_none_or(|id| open.remove(&id)));
                        for id in dispatch.connected(Connect::Failed, at(now), u32::MAX) {
                            prop_assert!(open.remove(&id));
                        }
                    }
                }
                for id in dispatch.expire(at(now)) {
                    prop_assert!(open.remove(&id));
                }
                while let Some((_, order)) = dispatch.assign(at(now)) {
                    prop_assert!(open.contains(&order.id) && at(now) < order.deadline);
                }
            }
            for worker in 0..WORKERS {
                if let Some(id) = dispatch.finish(worker, Link::Up) {
                    prop_assert!(open.remove(&id));
                }
            }
            for id in dispatch.expire(at(now).after(ORDER_LIMIT)) {
                prop_assert!(open.remove(&id));
            }
            prop_assert!(open.is_empty());
        }
    }
}
