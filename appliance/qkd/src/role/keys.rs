//! What workers bring: keys to the engine or to those that wait, refusals onward.

use bartizan_model::ids::{KeyId, OrderId, SaeId};
use bartizan_model::message::QkdToEngine;
use bartizan_model::report::QkdRefusal;
use bartizan_model::time::BootTime;
use bartizan_process::journal::{Level, log};
use bartizan_process::{Exit, Fault, boot_time};
use bartizan_secret::Secret;
use tokio::time::Duration;

use super::orders::named;
use super::{Qkd, counter, entropy};
use crate::dispatch::{Ask, Connect, Link, Tag, Task};
use crate::document::Delivered;
use crate::health::Event;
use crate::seen::Novelty;
use crate::stream::Said;
use crate::streams::Got;
use crate::worker::{Brought, Done, Failure, Report};

/// A key that came, and for what.
struct Came {
    peer: SaeId,
    tag: Tag,
    /// As the KME calls it.
    name: KeyId,
    key: Secret,
    took: Duration,
    age: Option<Duration>,
}

impl Qkd {
    /// A worker reports.
    pub(super) fn report(&mut self, report: Report) -> Result<(), Fault> {
        let now = boot_time();
        let done = match report {
            Report::Lost { kme, worker } => {
                if let Some(kme) = self.kmes.get_mut(kme) {
                    kme.dispatch.lost(worker);
                }
                return Ok(());
            }
            Report::Done(done) => *done,
        };
        let Done {
            kme: number,
            worker,
            outcome,
            limits,
            said,
            connect,
            link,
            took,
        } = done;
        let Some(kme) = self.kmes.get_mut(number) else {
            return Ok(());
        };
        let tasks = kme.dispatch.finish(worker, link);
        let peer = tasks.iter().flatten().map(|task| task.peer.clone()).next();
        if let Some(peer) = peer
            && let Some(pair) = kme.pair(&peer)
        {
            if let Some(limits) = limits {
                pair.limits(limits, now);
            }
            if let Some(said) = said {
                pair.hear(said);
            }
            self.changed.insert((number, peer));
        }
        match outcome {
            Ok(Brought::Keys(keys)) => self.keys(number, tasks, keys, took, now)?,
            Ok(Brought::Said(said)) => {
                // A request of 004 is one task's.
                if let Some(task) = tasks.into_iter().flatten().next() {
                    self.said(number, &task, Ok(said), took, now)?;
                }
            }
            Err(Failure::Refused(reason)) => self.nothing(number, tasks, reason, now)?,
            Err(Failure::TpmEdge) => {
                return Err(Fault::new(
                    Exit::Unavailable,
                    "the edge to the TPM is broken",
                ));
            }
        }
        self.connected(number, connect, now)
    }

    /// The tasks of a request of 014 get their keys.
    fn keys(
        &mut self,
        number: usize,
        tasks: Vec<Option<Task>>,
        mut keys: Vec<Delivered>,
        took: Duration,
        now: BootTime,
    ) -> Result<(), Fault> {
        let mut without = Vec::new();
        let tasks: Vec<Task> = tasks.into_iter().flatten().collect();
        let same = tasks.iter().any(|task| named(task).is_some());
        for task in tasks {
            let place = match named(&task) {
                Some(name) => keys.iter().position(|(id, _)| id == name),
                None => (!keys.is_empty()).then_some(0),
            };
            let Some(place) = place else {
                without.push(task);
                continue;
            };
            let (name, key) = keys.remove(place);
            match key {
                Ok(key) => {
                    let came = Came {
                        peer: task.peer,
                        tag: task.tag,
                        name,
                        key,
                        took,
                        age: None,
                    };
                    self.came(number, came, now)?;
                }
                Err(reason) => self.failed(number, &task.peer, task.tag, reason, now)?,
            }
        }
        let foreign = same && !keys.is_empty();
        for mut task in without {
            if foreign {
                self.failed(number, &task.peer, task.tag, QkdRefusal::WrongKeyId, now)?;
            } else if named(&task).is_some() {
                self.failed(number, &task.peer, task.tag, QkdRefusal::BadReply, now)?;
            } else if task.tag == Tag::Prefetch {
                self.go_on(number, &task.peer, task.tag, QkdRefusal::Unavailable, now)?;
            } else if let Some(kme) = self.kmes.get_mut(number) {
                // The KME gave fewer keys than were asked for.
                task.tries = task.tries.saturating_add(1);
                kme.dispatch.take(task);
            }
        }
        Ok(())
    }

    /// A request brought nothing. What was asked for by several names is asked for again one by one:
    /// a KME refuses the request where it does not know one of them.
    fn nothing(
        &mut self,
        number: usize,
        tasks: Vec<Option<Task>>,
        reason: QkdRefusal,
        now: BootTime,
    ) -> Result<(), Fault> {
        let together = tasks.len() > 1;
        let refused = !matches!(reason, QkdRefusal::Unreachable | QkdRefusal::TimedOut);
        for mut task in tasks.into_iter().flatten() {
            if together && refused {
                task.tries = task.tries.saturating_add(1);
                if task.tag == Tag::Prefetch {
                    self.go_on(number, &task.peer, task.tag, reason, now)?;
                } else if let Some(kme) = self.kmes.get_mut(number) {
                    kme.dispatch.take(task);
                }
            } else {
                self.brought_nothing(number, &task, reason, now)?;
            }
        }
        Ok(())
    }

    /// A task brought nothing.
    pub(super) fn brought_nothing(
        &mut self,
        number: usize,
        task: &Task,
        reason: QkdRefusal,
        now: BootTime,
    ) -> Result<(), Fault> {
        match &task.ask {
            Ask::NewKey | Ask::SameKey(_) => self.failed(number, &task.peer, task.tag, reason, now),
            Ask::Stream(_) => self.said(number, task, Err(reason), Duration::ZERO, now),
        }
    }

    /// A call of 004 was answered.
    fn said(
        &mut self,
        number: usize,
        task: &Task,
        said: Result<Said, QkdRefusal>,
        took: Duration,
        now: BootTime,
    ) -> Result<(), Fault> {
        let peer = task.peer.clone();
        let mut actions = Vec::new();
        let streams = self
            .kmes
            .get_mut(number)
            .and_then(|kme| kme.pair(&peer)?.streams.as_mut());
        let got = streams.and_then(|streams| streams.said(task, said, now, &mut actions));
        self.act(number, &peer, actions, now)?;
        let Some(Got {
            tag,
            place,
            key,
            age,
        }) = got
        else {
            return Ok(());
        };
        let Some(name) = place.name() else {
            return self.failed(number, &peer, tag, QkdRefusal::BadReply, now);
        };
        let came = Came {
            peer,
            tag,
            name,
            key,
            took,
            age,
        };
        self.came(number, came, now)
    }

    /// A key came that is in order by itself; also one that nobody wants any more is remembered.
    fn came(&mut self, number: usize, came: Came, now: BootTime) -> Result<(), Fault> {
        let Came {
            peer,
            tag,
            name,
            key,
            took,
            age,
        } = came;
        let outside = self.kmes.get(number).and_then(|kme| kme.outside(&name));
        let Some(name) = outside else {
            return self.failed(number, &peer, tag, QkdRefusal::BadReply, now);
        };
        if self.seen.remember(&name, &key) == Novelty::Repeated {
            return self.failed(number, &peer, tag, QkdRefusal::RepeatedKey, now);
        }
        self.changed.insert((number, peer.clone()));
        if let Some(pair) = self.kmes.get_mut(number).and_then(|kme| kme.pair(&peer)) {
            pair.happen(Event::Given { took, age }, now);
            if tag == Tag::Prefetch {
                if pair.may_fetch_ahead() {
                    pair.pool.put(name, key, now);
                } else {
                    pair.pool.missed();
                    pair.wasted(1);
                }
                return Ok(());
            }
        }
        match tag {
            Tag::Order(id) => self.hand_over(id, name, key),
            Tag::Prefetch | Tag::Open | Tag::Join(_) | Tag::Close => Ok(()),
        }
    }

    /// Hands a key to the engine, unless its order is over.
    pub(super) fn hand_over(
        &mut self,
        order: OrderId,
        key: KeyId,
        secret: Secret,
    ) -> Result<(), Fault> {
        if self.orders.remove(&order).is_none() {
            return Ok(());
        }
        self.counters.count("qkd-keys");
        self.engine
            .send_secret(&QkdToEngine::Key { order, key }, secret)?;
        Ok(())
    }

    pub(super) fn refuse(&mut self, order: OrderId, reason: QkdRefusal) -> Result<(), Fault> {
        self.orders.remove(&order);
        self.counters.count(counter(reason));
        self.engine.send(&QkdToEngine::Refused { order, reason })?;
        Ok(())
    }

    fn connected(&mut self, number: usize, connect: Connect, now: BootTime) -> Result<(), Fault> {
        let entropy = entropy()?;
        let Some(kme) = self.kmes.get_mut(number) else {
            return Ok(());
        };
        match connect {
            Connect::NotTried => {}
            Connect::Done => {
                if kme.up != Some(Link::Up) {
                    log(
                        Level::Info,
                        format_args!("connected to the KME {}", kme.name),
                    );
                }
                kme.up = Some(Link::Up);
            }
            Connect::Failed => {
                if kme.up != Some(Link::Down) {
                    log(
                        Level::Warn,
                        format_args!("no connection to the KME {}", kme.name),
                    );
                }
                kme.up = Some(Link::Down);
                self.counters.count("qkd-no-connection");
                kme.wipe();
                // Who comes back may be another.
                for (peer, pair) in &mut kme.pairs {
                    pair.forget_status();
                    self.changed.insert((number, peer.clone()));
                }
            }
        }
        for task in kme.dispatch.connected(connect, now, entropy) {
            // One failure to connect is one, however many wait.
            match task.ask {
                Ask::NewKey | Ask::SameKey(_) => {
                    let reason = QkdRefusal::Unreachable;
                    self.go_on(number, &task.peer, task.tag, reason, now)?;
                }
                Ask::Stream(_) => {
                    self.brought_nothing(number, &task, QkdRefusal::Unreachable, now)?;
                }
            }
        }
        Ok(())
    }
}
