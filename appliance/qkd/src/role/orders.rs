//! Which KME an order goes to, and which next if it has no key.

use std::collections::BTreeSet;

use bartizan_model::ids::{KeyId, OrderId, SaeId, StreamName};
use bartizan_model::message::{EngineToQkd, QkdToEngine};
use bartizan_model::report::{LinkState, QkdRefusal};
use bartizan_model::time::BootTime;
use bartizan_process::{Exit, Fault, boot_time};
use tokio::time::Duration;

use super::{ORDERS_MAX, Order, Qkd};
use crate::dispatch::{Ask, ORDER_LIMIT, Tag, Task};
use crate::health::Event;
use crate::kme::Pair;
use crate::stream::{Place, stream_id};
use crate::streams::Action;
use crate::worker::{Job, Status, Work};

/// Where there is another KME to go to, a request takes no longer.
const FIRST_LIMIT: Duration = Duration::from_millis(1500);

impl Qkd {
    /// The engine orders.
    pub(super) fn order(&mut self, message: EngineToQkd) -> Result<(), Fault> {
        let now = boot_time();
        let (id, peer, named) = match message {
            EngineToQkd::NewKey { order, peer } => (order, peer, None),
            EngineToQkd::SameKey { order, peer, key } => (order, peer, Some(key)),
            EngineToQkd::Join { peer, stream } => return self.join(&peer, &stream, now),
            EngineToQkd::Unused { peer, key } => {
                self.unused(&peer, &key, now);
                return Ok(());
            }
            EngineToQkd::Cancel(order) => {
                self.cancel(order);
                return Ok(());
            }
        };
        let refusal = if self.kmes.is_empty() {
            Some(QkdRefusal::Unreachable)
        } else if self.orders.len() >= ORDERS_MAX {
            Some(QkdRefusal::Busy)
        } else {
            None
        };
        if let Some(reason) = refusal {
            return self.refuse(id, reason);
        }
        let order = Order {
            peer: peer.clone(),
            named: named.clone(),
            deadline: now.after(ORDER_LIMIT),
            asked: BTreeSet::new(),
        };
        self.orders.insert(id, order);
        match named {
            None => self.place_new(id, &peer, now),
            Some(key) => self.place_same(id, &peer, &key, now),
        }
    }

    /// Gives an order for a fresh key to the best KME that was not asked yet: a healthy one before a
    /// degraded one, then in the order of preference. Keys that wait are taken first.
    pub(super) fn place_new(
        &mut self,
        id: OrderId,
        peer: &SaeId,
        now: BootTime,
    ) -> Result<(), Fault> {
        let Some(order) = self.orders.get(&id) else {
            return Ok(());
        };
        let (deadline, asked) = (order.deadline, order.asked.clone());
        let mut ranks: Vec<(bool, LinkState, usize)> = Vec::new();
        for (number, kme) in self.kmes.iter_mut().enumerate() {
            let away = kme.dispatch.is_away(now);
            let Some(pair) = kme.pair(peer).filter(|_| !asked.contains(&number)) else {
                continue;
            };
            ranks.push((away, pair.health.rank(now), number));
        }
        ranks.sort_unstable();
        let mut refusal = QkdRefusal::Busy;
        for (_, _, number) in ranks {
            let Some(kme) = self.kmes.get_mut(number) else {
                continue;
            };
            let Some(pair) = kme.pair(peer) else { continue };
            if let Some((name, key)) = pair.pool.order(now) {
                self.changed.insert((number, peer.clone()));
                self.hand_over(id, name, key)?;
                return self.fetch_ahead(number, peer, now);
            }
            if let Err(reason) = pair.health.admit(now) {
                refusal = reason;
                continue;
            }
            if let Some(order) = self.orders.get_mut(&id) {
                order.asked.insert(number);
            }
            self.fetch(number, peer, Tag::Order(id), deadline, now)?;
            return self.fetch_ahead(number, peer, now);
        }
        self.refuse(id, refusal)
    }

    /// Gives an order for a key that the peer named to the KME whose key it is.
    fn place_same(
        &mut self,
        id: OrderId,
        peer: &SaeId,
        key: &KeyId,
        now: BootTime,
    ) -> Result<(), Fault> {
        let Some(order) = self.orders.get_mut(&id) else {
            return Ok(());
        };
        let found = self.kmes.iter_mut().enumerate().find_map(|(number, kme)| {
            let key = kme.inside(key)?;
            Some((number, kme, key))
        });
        // A link that this gateway is not at an end of.
        let Some((number, kme, key)) = found else {
            return self.refuse(id, QkdRefusal::Unreachable);
        };
        order.asked.insert(number);
        let deadline = order.deadline;
        let Some(pair) = kme.pair(peer) else {
            return self.refuse(id, QkdRefusal::Busy);
        };
        // Not asked whether the link is refused: the peer has taken its half, and there is no other.
        let tag = Tag::Order(id);
        if let Some(streams) = &mut pair.streams {
            let Some(place) = Place::of(&key) else {
                return self.refuse(id, QkdRefusal::BadRequest);
            };
            let mut actions = Vec::new();
            streams.same_key(tag, place, deadline, now, &mut actions);
            return self.act(number, peer, actions, now);
        }
        kme.dispatch.take(Task {
            tag,
            peer: peer.clone(),
            ask: Ask::SameKey(key),
            deadline,
            not_before: now,
            tries: 0,
        });
        Ok(())
    }

    /// Asks a KME for a fresh key.
    pub(super) fn fetch(
        &mut self,
        number: usize,
        peer: &SaeId,
        tag: Tag,
        deadline: BootTime,
        now: BootTime,
    ) -> Result<(), Fault> {
        let Some(kme) = self.kmes.get_mut(number) else {
            return Ok(());
        };
        if let Some(streams) = kme.pair(peer).and_then(|pair| pair.streams.as_mut()) {
            let mut actions = Vec::new();
            streams.new_key(tag, deadline, now, &mut actions);
            return self.act(number, peer, actions, now);
        }
        kme.dispatch.take(Task {
            tag,
            peer: peer.clone(),
            ask: Ask::NewKey,
            deadline,
            not_before: now,
            tries: 0,
        });
        Ok(())
    }

    /// Fetches keys for orders to come.
    fn fetch_ahead(&mut self, number: usize, peer: &SaeId, now: BootTime) -> Result<(), Fault> {
        let pools = self.kmes.iter().flat_map(|kme| kme.pairs.values());
        let all: usize = pools.map(|pair| pair.pool.size()).sum();
        let Some(pair) = self.kmes.get_mut(number).and_then(|kme| kme.pair(peer)) else {
            return Ok(());
        };
        if !pair.may_fetch_ahead() {
            return Ok(());
        }
        let elsewhere = all.saturating_sub(pair.pool.size());
        for _ in 0..pair.pool.fetch(elsewhere, now) {
            self.fetch(number, peer, Tag::Prefetch, now.after(ORDER_LIMIT), now)?;
        }
        Ok(())
    }

    /// Does what a pair's streams want.
    pub(super) fn act(
        &mut self,
        number: usize,
        peer: &SaeId,
        actions: Vec<Action>,
        now: BootTime,
    ) -> Result<(), Fault> {
        for action in actions {
            match action {
                Action::Do(task) => {
                    if let Some(kme) = self.kmes.get_mut(number) {
                        kme.dispatch.take(task);
                    }
                }
                Action::Announce(stream) => {
                    let kme = self.kmes.get(number);
                    if let Some(stream) = kme.and_then(|kme| kme.stream_name(stream)) {
                        let peer = peer.clone();
                        self.engine.send(&QkdToEngine::Stream { peer, stream })?;
                    }
                }
                Action::Refuse(tag, reason) => self.failed(number, peer, tag, reason, now)?,
            }
        }
        Ok(())
    }

    /// There is no key for this at that KME: another one is asked, or the order is refused.
    pub(super) fn failed(
        &mut self,
        number: usize,
        peer: &SaeId,
        tag: Tag,
        reason: QkdRefusal,
        now: BootTime,
    ) -> Result<(), Fault> {
        self.changed.insert((number, peer.clone()));
        if let Some(pair) = self.kmes.get_mut(number).and_then(|kme| kme.pair(peer)) {
            pair.happen(Event::Failed(reason), now);
        }
        self.go_on(number, peer, tag, reason, now)
    }

    /// The same, where nothing new was learned of the link.
    pub(super) fn go_on(
        &mut self,
        number: usize,
        peer: &SaeId,
        tag: Tag,
        reason: QkdRefusal,
        now: BootTime,
    ) -> Result<(), Fault> {
        let id = match tag {
            Tag::Order(id) => id,
            Tag::Prefetch => {
                if let Some(pair) = self.kmes.get_mut(number).and_then(|kme| kme.pair(peer)) {
                    pair.pool.missed();
                }
                return Ok(());
            }
            Tag::Open | Tag::Join(_) | Tag::Close => return Ok(()),
        };
        let Some(order) = self.orders.get(&id) else {
            return Ok(());
        };
        let others = order.asked.len() < self.kmes.len();
        if order.named.is_none() && others && now < order.deadline {
            let peer = order.peer.clone();
            return self.place_new_or(id, &peer, reason, now);
        }
        self.refuse(id, reason)
    }

    /// Places an order anew; where no KME takes it, what the last one said is what counts.
    fn place_new_or(
        &mut self,
        id: OrderId,
        peer: &SaeId,
        reason: QkdRefusal,
        now: BootTime,
    ) -> Result<(), Fault> {
        let asked = self.orders.get(&id).map(|order| order.asked.clone());
        let asked = asked.unwrap_or_default();
        let takes = self.kmes.iter().enumerate().any(|(number, kme)| {
            let pair = kme.pairs.get(peer);
            !asked.contains(&number)
                && pair.is_none_or(|pair| pair.health.state() != LinkState::Refused)
        });
        if takes {
            self.place_new(id, peer, now)
        } else {
            self.refuse(id, reason)
        }
    }

    /// Gives the next tasks to workers that are free.
    pub(super) fn assign(&mut self, now: BootTime) -> Result<(), Fault> {
        let several = self.kmes.len() > 1;
        for number in 0..self.kmes.len() {
            while let Some(kme) = self.kmes.get_mut(number) {
                let pairs = &kme.pairs;
                let batch = |peer: &SaeId| pairs.get(peer).map_or(1, Pair::batch);
                let Some((worker, tasks)) = kme.dispatch.assign(now, batch) else {
                    break;
                };
                let Some(first) = tasks.first() else { break };
                let status = match pairs.get(&first.peer) {
                    Some(pair) => pair.status(now),
                    None => Status::Known,
                };
                let job = job(first, &tasks, status, several, now);
                let handed = kme.jobs.get(worker).map(|jobs| jobs.try_send(job));
                if !matches!(handed, Some(Ok(()))) {
                    return Err(Fault::new(Exit::Software, "an idle worker takes no job"));
                }
            }
        }
        Ok(())
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: BootTime) -> Result<(), Fault> {
        for number in 0..self.kmes.len() {
            let Some(kme) = self.kmes.get_mut(number) else {
                continue;
            };
            let mut due = Vec::new();
            for (peer, pair) in &mut kme.pairs {
                let old = pair.pool.expire(now);
                if old > 0 {
                    pair.wasted(old);
                    self.changed.insert((number, peer.clone()));
                }
                if let Some(streams) = &mut pair.streams
                    && streams.deadline().is_some_and(|deadline| deadline <= now)
                {
                    let mut actions = Vec::new();
                    streams.tick(now, &mut actions);
                    due.push((peer.clone(), actions));
                }
            }
            let expired = kme.dispatch.expire(now);
            for (peer, actions) in due {
                self.act(number, &peer, actions, now)?;
            }
            for task in expired {
                self.brought_nothing(number, &task, QkdRefusal::TimedOut, now)?;
            }
        }
        Ok(())
    }

    fn join(&mut self, peer: &SaeId, stream: &StreamName, now: BootTime) -> Result<(), Fault> {
        let found = self.kmes.iter_mut().enumerate().find_map(|(number, kme)| {
            let id = stream_id(kme.without_link(stream.as_str())?.as_bytes())?;
            let streams = kme.pair(peer)?.streams.as_mut()?;
            let mut actions = Vec::new();
            streams.join(id, now, &mut actions);
            Some((number, actions))
        });
        if let Some((number, actions)) = found {
            return self.act(number, peer, actions, now);
        }
        self.counters.count("qkd-unknown-stream");
        Ok(())
    }

    fn unused(&mut self, peer: &SaeId, key: &KeyId, now: BootTime) {
        let found = self
            .kmes
            .iter_mut()
            .enumerate()
            .find(|(_, kme)| kme.inside(key).is_some());
        if let Some((number, kme)) = found
            && let Some(pair) = kme.pairs.get_mut(peer)
        {
            pair.happen(Event::Unused, now);
            self.changed.insert((number, peer.clone()));
        }
    }

    fn cancel(&mut self, order: OrderId) {
        let Some(cancelled) = self.orders.remove(&order) else {
            return;
        };
        for kme in &mut self.kmes {
            kme.dispatch.cancel(order);
            let pair = kme.pairs.get_mut(&cancelled.peer);
            if let Some(streams) = pair.and_then(|pair| pair.streams.as_mut()) {
                streams.cancel(order);
            }
        }
    }
}

/// What a worker is to do for these tasks, which are of one kind.
fn job(first: &Task, tasks: &[Task], status: Status, several: bool, now: BootTime) -> Job {
    let remaining = first.deadline.since(now);
    let peer = first.peer.clone();
    match &first.ask {
        Ask::NewKey => Job {
            work: Work::New {
                peer,
                number: tasks.len(),
                status,
            },
            limit: if several {
                remaining.min(FIRST_LIMIT)
            } else {
                remaining
            },
        },
        Ask::SameKey(_) => Job {
            work: Work::Same {
                peer,
                keys: tasks.iter().filter_map(named).cloned().collect(),
            },
            limit: remaining,
        },
        Ask::Stream(call) => Job {
            work: Work::Stream(call.clone()),
            limit: if several {
                remaining.min(FIRST_LIMIT)
            } else {
                remaining
            },
        },
    }
}

/// The key that a task is for, if it was named.
pub(super) fn named(task: &Task) -> Option<&KeyId> {
    match &task.ask {
        Ask::SameKey(key) => Some(key),
        Ask::NewKey | Ask::Stream(_) => None,
    }
}
