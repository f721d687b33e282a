//! ETSI GS QKD 004 V2.1.1: streams of key chunks, apart from their wire forms.
//!
//! Like the keys of 014, streams and chunks are derived from the link's seed: a stream's id holds a
//! counter and a tag over it and over its two applications, so the KME at the other end knows an id
//! of this link from an invented one. Whether the other end has opened a stream is known only where
//! the two KMEs share a folder (`--rendezvous`); without one it counts as open.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use super::fault::{Behaviour, Instead, KeyFault};
use super::store::Store;

pub(super) mod binary;
pub(super) mod json;

/// What an application may ask for as a chunk, in bytes.
const CHUNKS: core::ops::RangeInclusive<u32> = 8..=1024;
/// The longest time that a stream stays open, in seconds.
const TTL_MAX: u32 = 3600;
/// The longest time that a call may take, in milliseconds.
const TIMEOUT_MAX: u32 = 60_000;
/// The most streams that are open at once.
const STREAMS_MAX: usize = 4096;

/// `Key_stream_ID`; all zeros asks for a new one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct StreamId(pub(super) [u8; 16]);

/// 004, 7.3.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Status {
    Successful,
    /// Opened, and the other end has not.
    PeerNotConnected,
    InsufficientKey,
    /// `GET_KEY` before the other end has opened.
    GetBeforePeer,
    NoConnection,
    IdInUse,
    Timeout,
    /// Not opened; what the answer offers instead could be met.
    QosNotMet,
    MetadataSize,
}

impl Status {
    /// By their numbers.
    const ALL: [Self; 9] = [
        Self::Successful,
        Self::PeerNotConnected,
        Self::InsufficientKey,
        Self::GetBeforePeer,
        Self::NoConnection,
        Self::IdInUse,
        Self::Timeout,
        Self::QosNotMet,
        Self::MetadataSize,
    ];

    /// The status of this number.
    pub(super) fn numbered(number: u32) -> Option<Self> {
        let number = usize::try_from(number).ok()?;
        Self::ALL.get(number).copied()
    }

    /// As on the wire.
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Successful => 0,
            Self::PeerNotConnected => 1,
            Self::InsufficientKey => 2,
            Self::GetBeforePeer => 3,
            Self::NoConnection => 4,
            Self::IdInUse => 5,
            Self::Timeout => 6,
            Self::QosNotMet => 7,
            Self::MetadataSize => 8,
        }
    }
}

/// What an application wants of a stream (004, 7.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Qos {
    /// In bytes.
    pub(super) chunk: u32,
    /// Bits a second.
    pub(super) max_bps: u32,
    /// Bits a second.
    pub(super) min_bps: u32,
    pub(super) jitter: u32,
    pub(super) priority: u32,
    /// In milliseconds.
    pub(super) timeout: u32,
    /// In seconds.
    pub(super) ttl: u32,
    pub(super) mimetype: String,
}

/// A request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Call {
    Open {
        source: String,
        destination: String,
        qos: Qos,
        stream: StreamId,
    },
    Get {
        stream: StreamId,
        index: u32,
        /// The most bytes of metadata that the caller takes.
        metadata: u32,
    },
    Close {
        stream: StreamId,
    },
}

/// Its answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// To `Open`, where there is something to tell.
    Opened {
        status: Status,
        qos: Qos,
        stream: StreamId,
    },
    /// To `Get`.
    Chunk {
        index: u32,
        chunk: Vec<u8>,
        metadata: Vec<u8>,
    },
    /// To `Get`: the metadata need so many bytes.
    Metadata(u32),
    /// To `Close`, and wherever there is nothing else to tell.
    Status(Status),
}

#[derive(Debug)]
struct Stream {
    ends: [String; 2],
    qos: Qos,
    until: Duration,
    taken: BTreeSet<u32>,
}

/// The streams of one KME.
#[derive(Debug)]
pub(super) struct Streams {
    name: String,
    next: u64,
    open: BTreeMap<StreamId, Stream>,
    rendezvous: Option<PathBuf>,
    /// Nodes between the two KMEs, for the metadata.
    hops: u32,
    /// The chunk that was served before.
    last: Option<(u32, Vec<u8>)>,
}

impl Streams {
    /// No stream is open; ids are made from `first` on.
    pub(super) fn new(name: String, first: u64, rendezvous: Option<PathBuf>, hops: u32) -> Self {
        Self {
            name,
            next: first,
            open: BTreeMap::new(),
            rendezvous,
            hops,
            last: None,
        }
    }

    /// Answers `caller`, the SAE of the certificate where there is one, `now` after the start.
    pub(super) fn answer(
        &mut self,
        caller: Option<&str>,
        call: &Call,
        store: &mut Store,
        behaviours: &[Behaviour],
        now: Duration,
    ) -> Answer {
        for behaviour in behaviours {
            if let Behaviour::Instead(instead) = behaviour {
                if *instead == Instead::NoPost {
                    continue;
                }
                return Answer::Status(match instead {
                    Instead::Refuse => Status::InsufficientKey,
                    Instead::Code(number) => {
                        Status::numbered(*number).unwrap_or(Status::NoConnection)
                    }
                    Instead::BadRequest
                    | Instead::Unauthorized
                    | Instead::Garbage
                    | Instead::NoPost => Status::NoConnection,
                });
            }
        }
        let over: Vec<StreamId> = self
            .open
            .iter()
            .filter_map(|(id, stream)| (stream.until <= now).then_some(*id))
            .collect();
        for id in over {
            self.close(id);
        }
        match call {
            Call::Open {
                source,
                destination,
                qos,
                stream,
            } => match caller {
                // Nobody opens a stream in another's name.
                Some(caller) if application(source) != caller => {
                    Answer::Status(Status::NoConnection)
                }
                _ => {
                    let ttl = behaviours.iter().find_map(|behaviour| match behaviour {
                        Behaviour::Ttl(seconds) => Some(*seconds),
                        Behaviour::Instead(_) | Behaviour::Keys(_) | Behaviour::Wire(_) => None,
                    });
                    let longest = ttl.unwrap_or(TTL_MAX);
                    self.open([source, destination], (qos, longest), *stream, store, now)
                }
            },
            Call::Get {
                stream,
                index,
                metadata,
            } => self.get(*stream, *index, *metadata, store, behaviours, now),
            Call::Close { stream } => Answer::Status(if self.close(*stream) {
                Status::Successful
            } else {
                Status::NoConnection
            }),
        }
    }

    fn open(
        &mut self,
        ends: [&str; 2],
        (qos, longest): (&Qos, u32),
        asked: StreamId,
        store: &Store,
        now: Duration,
    ) -> Answer {
        let granted = granted(qos, longest, store);
        if granted != *qos {
            return Answer::Opened {
                status: Status::QosNotMet,
                qos: granted,
                stream: asked,
            };
        }
        let names = sorted(ends.map(application));
        let stream = if asked == StreamId([0; 16]) {
            let id = id(store, &names, self.next);
            self.next = self.next.saturating_add(1);
            id
        } else if recognised(store, &names, asked) {
            asked
        } else {
            return Answer::Status(Status::NoConnection);
        };
        if self.open.contains_key(&stream) {
            return Answer::Status(Status::IdInUse);
        }
        if self.open.len() >= STREAMS_MAX {
            return Answer::Status(Status::NoConnection);
        }
        let ttl = Duration::from_secs(qos.ttl.into());
        self.open.insert(
            stream,
            Stream {
                ends: ends.map(str::to_owned),
                qos: granted.clone(),
                until: now.saturating_add(ttl),
                taken: BTreeSet::new(),
            },
        );
        self.announce(stream);
        Answer::Opened {
            status: if self.peer_has(stream) {
                Status::Successful
            } else {
                Status::PeerNotConnected
            },
            qos: granted,
            stream,
        }
    }

    fn get(
        &mut self,
        id: StreamId,
        index: u32,
        room: u32,
        store: &mut Store,
        behaviours: &[Behaviour],
        now: Duration,
    ) -> Answer {
        let peer_has = self.peer_has(id);
        let Some(stream) = self.open.get_mut(&id) else {
            return Answer::Status(Status::NoConnection);
        };
        if !peer_has {
            return Answer::Status(Status::GetBeforePeer);
        }
        let metadata = format!(r#"{{"age":0,"hops":{}}}"#, self.hops).into_bytes();
        let size = u32::try_from(metadata.len()).unwrap_or(u32::MAX);
        if stream.qos.mimetype.is_empty() {
            // Nobody asked for any.
        } else if room < size {
            return Answer::Metadata(size);
        }
        if stream.taken.contains(&index) || !store.consume(now) {
            return Answer::Status(Status::InsufficientKey);
        }
        stream.taken.insert(index);
        let length = usize::try_from(stream.qos.chunk).unwrap_or_default();
        let mut chunk = chunk(store, id, index, length);
        let mut index = index;
        for behaviour in behaviours {
            if let Behaviour::Keys(fault) = behaviour {
                spoil(*fault, self.last.as_ref(), &mut index, &mut chunk);
            }
        }
        self.last = Some((index, chunk.clone()));
        Answer::Chunk {
            index,
            chunk,
            metadata: if stream.qos.mimetype.is_empty() {
                Vec::new()
            } else {
                metadata
            },
        }
    }

    /// Closes a stream; whether it was open.
    fn close(&mut self, id: StreamId) -> bool {
        let was_open = self.open.remove(&id).is_some();
        if was_open && let Some(mark) = self.mark(id, &self.name) {
            // Somebody tidied up before.
            drop(fs::remove_file(mark));
        }
        was_open
    }

    /// The applications of each open stream.
    pub(super) fn ends(&self) -> Vec<[String; 2]> {
        self.open
            .values()
            .map(|stream| stream.ends.clone())
            .collect()
    }

    fn announce(&self, id: StreamId) {
        if let Some(mark) = self.mark(id, &self.name) {
            // A folder that cannot be written looks like a peer that never comes, which is seen.
            drop(fs::write(mark, b""));
        }
    }

    fn peer_has(&self, id: StreamId) -> bool {
        let Some(folder) = &self.rendezvous else {
            return true;
        };
        let (own, stem) = (format!("{}.{}", text(id), self.name), text(id));
        let Ok(entries) = fs::read_dir(folder) else {
            return false;
        };
        entries
            .filter_map(Result::ok)
            .filter_map(|entry| entry.file_name().into_string().ok())
            .any(|file| file.starts_with(&stem) && file != own)
    }

    fn mark(&self, id: StreamId, name: &str) -> Option<PathBuf> {
        let folder = self.rendezvous.as_ref()?;
        Some(folder.join(format!("{}.{name}", text(id))))
    }
}

/// The id as a UUID's text.
pub(super) fn text(id: StreamId) -> String {
    super::key::text(id.0)
}

/// `qkd://APPLICATION@NODE`, or whatever else stands there.
fn application(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or(uri, |(_scheme, rest)| rest);
    rest.split_once('@').map_or(rest, |(name, _node)| name)
}

fn sorted(mut names: [&str; 2]) -> [&str; 2] {
    names.sort_unstable();
    names
}

/// What this KME can do of what is wanted.
fn granted(wanted: &Qos, longest: u32, store: &Store) -> Qos {
    let chunk = wanted.chunk.clamp(*CHUNKS.start(), *CHUNKS.end());
    let bits = u64::from(chunk).saturating_mul(8);
    let possible = store.pace().rate.saturating_mul(bits);
    let possible = u32::try_from(possible).unwrap_or(u32::MAX);
    Qos {
        chunk,
        max_bps: wanted.max_bps,
        min_bps: wanted.min_bps.min(possible),
        jitter: wanted.jitter,
        priority: wanted.priority,
        timeout: wanted.timeout.min(TIMEOUT_MAX),
        ttl: wanted.ttl.clamp(1, longest.max(1)),
        mimetype: wanted.mimetype.clone(),
    }
}

fn id(store: &Store, names: &[&str; 2], counter: u64) -> StreamId {
    let [one, other] = names.map(str::as_bytes);
    let tag = store
        .link()
        .derive(b"stream", &[one, other, &counter.to_be_bytes()]);
    let mut id = [0; 16];
    let (head, tail) = id.split_at_mut(8);
    head.copy_from_slice(&counter.to_be_bytes());
    for (byte, tag) in tail.iter_mut().zip(tag) {
        *byte = tag;
    }
    StreamId(id)
}

fn recognised(store: &Store, names: &[&str; 2], asked: StreamId) -> bool {
    let [c0, c1, c2, c3, c4, c5, c6, c7, ..] = asked.0;
    let counter = u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]);
    id(store, names, counter) == asked
}

fn chunk(store: &Store, id: StreamId, index: u32, length: usize) -> Vec<u8> {
    store.link().key(&format!("{}/{index}", text(id)), length)
}

fn spoil(fault: KeyFault, last: Option<&(u32, Vec<u8>)>, index: &mut u32, chunk: &mut Vec<u8>) {
    match (fault, last) {
        (KeyFault::Zero, _) => chunk.fill(0),
        (KeyFault::Short, _) => chunk.truncate(chunk.len() / 2),
        (KeyFault::Long | KeyFault::Two, _) => chunk.extend_from_within(..),
        (KeyFault::WrongId, _) => *index = index.wrapping_add(1),
        (KeyFault::None, _) => chunk.clear(),
        (KeyFault::RepeatedKey, Some((_, last))) => last.clone_into(chunk),
        (KeyFault::RepeatedId, Some(last)) => (*index, *chunk) = last.clone(),
        (KeyFault::RepeatedKey | KeyFault::RepeatedId, None) => {}
    }
}

#[cfg(test)]
mod tests;
