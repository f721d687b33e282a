//! How a stream is opened, and what it must be like.

use core::time::Duration;

use bartizan_model::ids::SaeId;
use bartizan_model::report::QkdRefusal;
use bartizan_model::time::BootTime;

use super::RETRY_MAX;
use crate::dispatch::{Ask, ORDER_LIMIT, Tag, Task};
use crate::stream::{Call, Place, Qos, Said, Status, StreamId};

/// Bytes of a chunk: a key.
const CHUNK: u32 = 32;
/// How long a stream is to stay open.
const TTL: Duration = Duration::from_hours(1);
/// The shortest time that a KME may make of it.
const TTL_MIN: Duration = Duration::from_secs(4);
/// How long the KME may take for a call, in milliseconds: an order waits no longer.
const CALL_LIMIT: u32 = 2000;
/// How often a stream's opening is tried before its orders are refused.
const OPEN_TRIES: u32 = 4;

/// Who the two ends are, and what a stream must bring.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Terms {
    pub(crate) peer: SaeId,
    /// `qkd://SAE@NODE` of ours.
    pub(crate) source: String,
    /// The peer's.
    pub(crate) destination: String,
    /// Bits a second.
    pub(crate) least_rate: u32,
}

/// A stream that is being opened.
#[derive(Debug)]
pub(super) struct Opening {
    tries: u32,
    /// The KME has made its proposal.
    countered: bool,
}

/// An order that waits for a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) tag: Tag,
    pub(super) deadline: BootTime,
    pub(super) tries: u32,
}

/// What an answer to an opening comes to.
pub(super) enum Heard {
    Open { id: StreamId, qos: Qos },
    Taken,
    Again(Task),
    Refused(QkdRefusal),
}

impl Opening {
    pub(super) fn first() -> Self {
        Self {
            tries: 0,
            countered: false,
        }
    }

    /// Takes an answer.
    pub(super) fn heard(
        &mut self,
        terms: &Terms,
        asked: StreamId,
        said: &Result<Said, QkdRefusal>,
        now: BootTime,
    ) -> Heard {
        self.tries = self.tries.saturating_add(1);
        let again = self.tries < OPEN_TRIES;
        match said {
            Ok(Said::Opened { stream, qos, .. }) => {
                let qos = qos.unwrap_or(terms.wanted());
                let same = asked == StreamId::NEW || asked == *stream;
                if same && terms.suffices(qos) {
                    Heard::Open { id: *stream, qos }
                } else {
                    Heard::Refused(QkdRefusal::BadReply)
                }
            }
            Ok(Said::Offered(qos)) if !self.countered && terms.suffices(*qos) => {
                self.countered = true;
                Heard::Again(terms.open(asked, *qos, now, now))
            }
            Ok(Said::Offered(_)) => Heard::Refused(QkdRefusal::BadRequest),
            // The next name may be free.
            Ok(Said::Refused(Status::Taken)) if asked == StreamId::NEW && again => {
                Heard::Again(terms.open(asked, terms.wanted(), now, now))
            }
            Ok(Said::Refused(Status::Taken)) => Heard::Taken,
            // The KMEs may not have told each other of it yet.
            Ok(Said::Refused(status))
                if again && (asked != StreamId::NEW || *status != Status::NoConnection) =>
            {
                let begins = now.after(RETRY_MAX);
                Heard::Again(terms.open(asked, terms.wanted(), begins, now))
            }
            Ok(Said::Refused(status)) => Heard::Refused((*status).into()),
            Ok(_) => Heard::Refused(QkdRefusal::BadReply),
            Err(refusal) => Heard::Refused(*refusal),
        }
    }
}

impl Terms {
    pub(super) fn wanted(&self) -> Qos {
        Qos {
            chunk: CHUNK,
            max_bps: u32::MAX,
            min_bps: self.least_rate,
            jitter: 0,
            priority: 0,
            timeout: CALL_LIMIT,
            ttl: u32::try_from(TTL.as_secs()).unwrap_or(u32::MAX),
        }
    }

    /// Whether a stream that is like this is taken.
    fn suffices(&self, qos: Qos) -> bool {
        qos.chunk == CHUNK
            && qos.min_bps >= self.least_rate
            && qos.max_bps >= self.least_rate
            && Duration::from_secs(qos.ttl.into()) >= TTL_MIN
    }

    pub(super) fn open(&self, stream: StreamId, qos: Qos, begins: BootTime, now: BootTime) -> Task {
        Task {
            tag: if stream == StreamId::NEW {
                Tag::Open
            } else {
                Tag::Join(stream)
            },
            peer: self.peer.clone(),
            ask: Ask::Stream(Call::Open {
                source: self.source.clone(),
                destination: self.destination.clone(),
                qos,
                stream,
            }),
            deadline: now.after(ORDER_LIMIT),
            not_before: begins,
            tries: 0,
        }
    }

    pub(super) fn get(
        &self,
        waiting: Waiting,
        place: Place,
        metadata: u32,
        begins: BootTime,
    ) -> Task {
        Task {
            tag: waiting.tag,
            peer: self.peer.clone(),
            ask: Ask::Stream(Call::Get { place, metadata }),
            deadline: waiting.deadline,
            not_before: begins,
            tries: waiting.tries,
        }
    }
}
