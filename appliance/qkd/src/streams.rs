//! The streams (ETSI GS QKD 004) with one peer through one KME: which are open, which wait to be, and
//! which chunk an order gets. Without I/O and clock.
//!
//! The end that wants fresh keys opens a stream, and the peer is told its name; it takes chunk after
//! chunk, each index once. The other end joins that stream and takes the chunks that it is told. A
//! stream that is in use is followed by another one before its time is over.

use core::time::Duration;

use bartizan_model::ids::OrderId;
use bartizan_model::report::QkdRefusal;
use bartizan_model::time::BootTime;
use bartizan_secret::Secret;

use crate::dispatch::{Ask, ORDER_LIMIT, Tag, Task};
use crate::stream::{Call, METADATA_MAX, Place, Said, Status, StreamId};

mod opening;

pub(crate) use opening::Terms;
use opening::{Heard, Opening, Waiting};

/// What a chunk is asked for with.
const METADATA: u32 = 64;
/// A stream that is followed by another is closed so much later: the peer may still want chunks.
const CLOSE_AFTER: Duration = Duration::from_secs(10);
/// After a stream could not be opened, how long orders are refused at once.
const OPEN_GAP: Duration = Duration::from_secs(1);
/// How often the peer is told of a stream that it has not joined.
const ANNOUNCE_GAP: Duration = Duration::from_secs(1);
/// The first wait after a chunk that is not there yet; twice as long each time.
const RETRY_FIRST: Duration = Duration::from_millis(25);
const RETRY_MAX: Duration = Duration::from_millis(400);
/// How often an order goes back to the beginning because its stream is gone.
const STREAM_TRIES: u32 = 3;
/// The most streams of a peer that are joined at once: the one in use and the one before it.
const JOINED_MAX: usize = 2;

/// How many names of streams of ours are remembered: an order may still wait for a chunk of one.
const OWN_IDS: usize = 4;

/// What is to be done.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Action {
    /// Ask the KME.
    Do(Task),
    /// Tell the peer of our stream.
    Announce(StreamId),
    /// There is no key for this.
    Refuse(Tag, QkdRefusal),
}

/// A chunk that came.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) tag: Tag,
    pub(crate) place: Place,
    pub(crate) key: Secret,
    /// How long ago it was made, where the KME says so.
    pub(crate) age: Option<Duration>,
}

/// The streams with one peer.
#[derive(Debug)]
pub(crate) struct Streams {
    terms: Terms,
    own: Own,
    /// The older first.
    joined: Vec<Joined>,
    closing: Vec<(StreamId, BootTime)>,
}

/// Our stream.
#[derive(Debug, Default)]
struct Own {
    current: Option<Open>,
    /// What the last ones were called.
    ids: Vec<StreamId>,
    opening: Option<Opening>,
    waiting: Vec<Waiting>,
    /// Why none could be opened, and until when none is.
    refused: Option<(QkdRefusal, BootTime)>,
}

#[derive(Debug)]
struct Open {
    id: StreamId,
    /// What the next chunk is called.
    next: u32,
    used: bool,
    renew_at: BootTime,
    ends: BootTime,
    announced: BootTime,
    /// Bits a second, where the KME made a proposal of them.
    rate: Option<u32>,
}

/// A stream of the peer.
#[derive(Debug)]
struct Joined {
    id: StreamId,
    ready: bool,
    opening: Option<Opening>,
    waiting: Vec<(Waiting, u32)>,
}

impl Streams {
    pub(crate) fn new(terms: Terms) -> Self {
        Self {
            terms,
            own: Own::default(),
            joined: Vec::new(),
            closing: Vec::new(),
        }
    }

    /// A fresh key is wanted.
    pub(crate) fn new_key(
        &mut self,
        tag: Tag,
        deadline: BootTime,
        now: BootTime,
        out: &mut Vec<Action>,
    ) {
        let waiting = Waiting {
            tag,
            deadline,
            tries: 0,
        };
        self.want(waiting, now, out);
    }

    /// The chunk of this place is wanted: the peer named it.
    pub(crate) fn same_key(
        &mut self,
        tag: Tag,
        place: Place,
        deadline: BootTime,
        now: BootTime,
        out: &mut Vec<Action>,
    ) {
        let waiting = Waiting {
            tag,
            deadline,
            tries: 0,
        };
        self.want_same(waiting, place, now, out);
    }

    /// The peer has opened a stream. It says so again where its KME misses us.
    pub(crate) fn join(&mut self, id: StreamId, now: BootTime, out: &mut Vec<Action>) {
        if !self.joined.iter().any(|joined| joined.id == id) {
            if self.joined.len() >= JOINED_MAX {
                let oldest = self.joined.remove(0);
                self.closing.push((oldest.id, now.after(CLOSE_AFTER)));
                for (waiting, _) in oldest.waiting {
                    out.push(Action::Refuse(waiting.tag, QkdRefusal::WrongKeyId));
                }
            }
            self.joined.push(Joined {
                id,
                ready: false,
                opening: None,
                waiting: Vec::new(),
            });
        }
        let terms = &self.terms;
        let joined = self.joined.iter_mut().find(|joined| joined.id == id);
        if let Some(joined) = joined
            && joined.opening.is_none()
        {
            joined.opening = Some(Opening::first());
            out.push(Action::Do(terms.open(id, terms.wanted(), now, now)));
        }
    }

    /// What became of a task of ours; the chunk, if it is one.
    pub(crate) fn said(
        &mut self,
        task: &Task,
        said: Result<Said, QkdRefusal>,
        now: BootTime,
        out: &mut Vec<Action>,
    ) -> Option<Got> {
        match (task.tag, &task.ask) {
            (Tag::Open, _) => self.opened(&said, now, out),
            (Tag::Join(id), _) => self.joined(id, &said, now, out),
            (Tag::Order(_) | Tag::Prefetch, Ask::Stream(Call::Get { place, metadata })) => {
                let (place, metadata) = (*place, *metadata);
                return self.got(task, place, metadata, said, now, out);
            }
            (Tag::Close | Tag::Order(_) | Tag::Prefetch, _) => {}
        }
        None
    }

    /// An order is over; one that is being worked on is not known here.
    pub(crate) fn cancel(&mut self, order: OrderId) {
        let stays = |waiting: &Waiting| waiting.tag != Tag::Order(order);
        self.own.waiting.retain(stays);
        for joined in &mut self.joined {
            joined.waiting.retain(|(waiting, _)| stays(waiting));
        }
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: BootTime, out: &mut Vec<Action>) {
        for (id, _) in self.closing.extract_if(.., |(_, at)| *at <= now) {
            let task = Task {
                tag: Tag::Close,
                peer: self.terms.peer.clone(),
                ask: Ask::Stream(Call::Close { stream: id }),
                deadline: now.after(ORDER_LIMIT),
                not_before: now,
                tries: 0,
            };
            out.push(Action::Do(task));
        }
        let mut late: Vec<Waiting> = Vec::new();
        let over = |waiting: &mut Waiting| waiting.deadline <= now;
        late.extend(self.own.waiting.extract_if(.., over));
        for joined in &mut self.joined {
            let over = joined.waiting.extract_if(.., |(it, _)| it.deadline <= now);
            late.extend(over.map(|(waiting, _)| waiting));
        }
        for waiting in late {
            out.push(Action::Refuse(waiting.tag, QkdRefusal::TimedOut));
        }
        self.renew(now, out);
    }

    /// When [`Streams::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Option<BootTime> {
        let closing = self.closing.iter().map(|(_, at)| *at);
        let waiting = self.own.waiting.iter().map(|waiting| waiting.deadline);
        let same = self.joined.iter().flat_map(|joined| &joined.waiting);
        let same = same.map(|(waiting, _)| waiting.deadline);
        let renewal = self.own.current.as_ref().filter(|open| open.used);
        let renewal = renewal.map(|open| match self.own.refused {
            Some((_, until)) => open.renew_at.max(until),
            None => open.renew_at,
        });
        let renewal = renewal.filter(|_| self.own.opening.is_none());
        closing.chain(waiting).chain(same).chain(renewal).min()
    }

    /// Bits a second that our stream was agreed on.
    pub(crate) fn rate(&self) -> Option<u32> {
        self.own.current.as_ref()?.rate
    }

    fn want(&mut self, waiting: Waiting, now: BootTime, out: &mut Vec<Action>) {
        if let Some(open) = self.own.current.as_mut().filter(|open| now < open.ends) {
            open.used = true;
            let place = Place {
                stream: open.id,
                index: open.next,
            };
            // 2^32 chunks take longer than any stream stays open.
            open.next = open.next.saturating_add(1);
            out.push(Action::Do(self.terms.get(waiting, place, METADATA, now)));
            return;
        }
        self.own.current = None;
        if let Some((refusal, until)) = self.own.refused
            && now < until
            && self.own.opening.is_none()
        {
            out.push(Action::Refuse(waiting.tag, refusal));
            return;
        }
        self.own.waiting.push(waiting);
        self.open(now, out);
    }

    fn want_same(&mut self, waiting: Waiting, place: Place, now: BootTime, out: &mut Vec<Action>) {
        let known = self.joined.iter_mut().find(|it| it.id == place.stream);
        if let Some(joined) = known
            && joined.ready
        {
            out.push(Action::Do(self.terms.get(waiting, place, METADATA, now)));
            return;
        }
        self.join(place.stream, now, out);
        let joined = self.joined.iter_mut().find(|it| it.id == place.stream);
        if let Some(joined) = joined {
            joined.waiting.push((waiting, place.index));
        }
    }

    fn renew(&mut self, now: BootTime, out: &mut Vec<Action>) {
        let due = self.own.current.as_ref();
        let due = due.is_some_and(|open| open.used && open.renew_at <= now);
        if due && self.own.refused.is_none_or(|(_, until)| until <= now) {
            self.open(now, out);
        }
    }

    fn open(&mut self, now: BootTime, out: &mut Vec<Action>) {
        if self.own.opening.is_none() {
            self.own.opening = Some(Opening::first());
            let task = self
                .terms
                .open(StreamId::NEW, self.terms.wanted(), now, now);
            out.push(Action::Do(task));
        }
    }

    fn opened(&mut self, said: &Result<Said, QkdRefusal>, now: BootTime, out: &mut Vec<Action>) {
        let Some(opening) = &mut self.own.opening else {
            return;
        };
        let refusal = match opening.heard(&self.terms, StreamId::NEW, said, now) {
            Heard::Again(task) => {
                out.push(Action::Do(task));
                return;
            }
            Heard::Open { id, qos } => {
                self.own.opening = None;
                self.own.refused = None;
                let life = Duration::from_secs(qos.ttl.into());
                let open = Open {
                    id,
                    next: 0,
                    used: false,
                    // Three quarters of it.
                    renew_at: now.after(life.saturating_sub(life.div_f32(4.0))),
                    ends: now.after(life),
                    announced: now,
                    rate: (qos.max_bps < u32::MAX).then_some(qos.max_bps),
                };
                if let Some(old) = self.own.current.replace(open) {
                    self.closing.push((old.id, now.after(CLOSE_AFTER)));
                }
                if self.own.ids.len() >= OWN_IDS {
                    self.own.ids.remove(0);
                }
                self.own.ids.push(id);
                out.push(Action::Announce(id));
                for waiting in core::mem::take(&mut self.own.waiting) {
                    self.want(waiting, now, out);
                }
                return;
            }
            // A new stream with a taken name is none of ours.
            Heard::Taken => QkdRefusal::BadRequest,
            Heard::Refused(refusal) => refusal,
        };
        self.own.opening = None;
        self.own.refused = Some((refusal, now.after(OPEN_GAP)));
        for waiting in core::mem::take(&mut self.own.waiting) {
            out.push(Action::Refuse(waiting.tag, refusal));
        }
    }

    fn joined(
        &mut self,
        id: StreamId,
        said: &Result<Said, QkdRefusal>,
        now: BootTime,
        out: &mut Vec<Action>,
    ) {
        let Some(joined) = self.joined.iter_mut().find(|joined| joined.id == id) else {
            return;
        };
        let Some(opening) = &mut joined.opening else {
            return;
        };
        match opening.heard(&self.terms, id, said, now) {
            Heard::Again(task) => out.push(Action::Do(task)),
            // Taken: by ourselves, before this process was started again.
            Heard::Open { .. } | Heard::Taken => {
                joined.opening = None;
                joined.ready = true;
                for (waiting, index) in core::mem::take(&mut joined.waiting) {
                    let place = Place { stream: id, index };
                    out.push(Action::Do(self.terms.get(waiting, place, METADATA, now)));
                }
            }
            Heard::Refused(refusal) => {
                for (waiting, _) in core::mem::take(&mut joined.waiting) {
                    out.push(Action::Refuse(waiting.tag, refusal));
                }
                joined.opening = None;
                // One that is in use is not lost because a second joining failed.
                if !joined.ready {
                    self.joined.retain(|joined| joined.id != id);
                }
            }
        }
    }

    fn got(
        &mut self,
        task: &Task,
        place: Place,
        metadata: u32,
        said: Result<Said, QkdRefusal>,
        now: BootTime,
        out: &mut Vec<Action>,
    ) -> Option<Got> {
        let tag = task.tag;
        let waiting = Waiting {
            tag,
            deadline: task.deadline,
            tries: task.tries.saturating_add(1),
        };
        let status = match said {
            Ok(Said::Key(key, age)) => {
                return Some(Got {
                    tag,
                    place,
                    key,
                    age,
                });
            }
            Ok(Said::Metadata(size)) if metadata < size && size <= METADATA_MAX => {
                let task = self.terms.get(waiting, place, size, now);
                out.push(Action::Do(task));
                return None;
            }
            Ok(Said::Refused(status)) => status,
            Ok(_) => {
                out.push(Action::Refuse(tag, QkdRefusal::BadReply));
                return None;
            }
            Err(refusal) => {
                out.push(Action::Refuse(tag, refusal));
                return None;
            }
        };
        match status {
            Status::NoPeer | Status::NoKey | Status::Timeout => {
                if let Some(open) = &mut self.own.current
                    && open.id == place.stream
                    && status == Status::NoPeer
                    && now >= open.announced.after(ANNOUNCE_GAP)
                {
                    open.announced = now;
                    out.push(Action::Announce(open.id));
                }
                let wait = RETRY_FIRST.saturating_mul(2_u32.saturating_pow(task.tries));
                let begins = now.after(wait.min(RETRY_MAX));
                if begins < waiting.deadline {
                    out.push(Action::Do(self.terms.get(waiting, place, metadata, begins)));
                } else {
                    out.push(Action::Refuse(tag, status.into()));
                }
            }
            Status::NoConnection | Status::Taken => {
                self.own.current.take_if(|open| open.id == place.stream);
                if waiting.tries >= STREAM_TRIES {
                    out.push(Action::Refuse(tag, status.into()));
                } else if self.own.ids.contains(&place.stream) {
                    self.want(waiting, now, out);
                } else {
                    let joined = self.joined.iter_mut().find(|it| it.id == place.stream);
                    if let Some(joined) = joined {
                        joined.ready = false;
                    }
                    self.want_same(waiting, place, now, out);
                }
            }
        }
        None
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]
mod tests;
