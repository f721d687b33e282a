//! ETSI GS QKD 004 V2.1.1: what is asked of a KME and what it answers, apart from the wire forms.

use core::fmt;
use core::time::Duration;

use bartizan_model::ids::KeyId;
use bartizan_model::report::QkdRefusal;
use bartizan_secret::Secret;

use crate::document::KEY_BYTES;
use crate::json::{Malformed, Reader};

pub mod binary;
pub mod json;

/// The most bytes of metadata that are asked for, and of them that are read.
pub(crate) const METADATA_MAX: u32 = 1024;

/// The most bytes of an answer: a chunk as a list of numbers with its metadata fits many times.
pub(crate) const ANSWER_MAX: usize = 16 * 1024;

/// `Key_stream_ID` (004, 7.1): what both ends of a stream name it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamId(pub [u8; 16]);

impl StreamId {
    /// The value that asks for a new one.
    pub(crate) const NEW: Self = Self([0; 16]);
}

impl fmt::Display for StreamId {
    /// As a UUID's text (RFC 9562, 4).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A chunk of a stream: what a [`KeyId`] is in 004.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) stream: StreamId,
    pub(crate) index: u32,
}

impl Place {
    /// The name that both gateways call the key by: the stream's UUID, `/`, the index.
    pub(crate) fn name(self) -> Option<KeyId> {
        KeyId::try_from(format!("{}/{}", self.stream, self.index).as_str()).ok()
    }

    /// The place of that name; only of the one form that [`Place::name`] gives.
    pub(crate) fn of(name: &KeyId) -> Option<Self> {
        let (stream, index) = name.as_str().split_once('/')?;
        let place = Self {
            stream: stream_id(stream.as_bytes())?,
            index: index.parse().ok()?,
        };
        (place.name()? == *name).then_some(place)
    }
}

/// Reads a UUID's text, hyphens or not.
pub(crate) fn stream_id(text: &[u8]) -> Option<StreamId> {
    let mut digits = text.iter().filter(|byte| **byte != b'-').map(|byte| {
        let digit = char::from(*byte).to_digit(16)?;
        u8::try_from(digit).ok()
    });
    let mut id = [0; 16];
    for byte in &mut id {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = high.checked_shl(4)? | low;
    }
    digits.next().is_none().then_some(StreamId(id))
}

/// What is wanted of a stream, or offered for it (004, 7.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Qos {
    /// Bytes of a chunk.
    pub chunk: u32,
    /// Bits a second.
    pub max_bps: u32,
    /// Bits a second.
    pub min_bps: u32,
    /// Bits a second.
    pub jitter: u32,
    /// 0 is the highest.
    pub priority: u32,
    /// Milliseconds that a call may take.
    pub timeout: u32,
    /// Seconds that the stream stays open.
    pub ttl: u32,
}

/// A request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    /// Open a stream, or join the other end's.
    Open {
        /// `qkd://SAE@NODE`.
        source: String,
        /// The same of the other end.
        destination: String,
        qos: Qos,
        /// [`StreamId::NEW`] opens a new one.
        stream: StreamId,
    },
    /// Get a chunk.
    Get {
        place: Place,
        /// The most bytes of metadata.
        metadata: u32,
    },
    /// Close a stream.
    Close { stream: StreamId },
}

/// An answer.
#[derive(Debug)]
pub enum Said {
    /// The stream is open.
    Opened {
        /// As the KME names it.
        stream: StreamId,
        /// What it will be like; not every KME says so.
        qos: Option<Qos>,
        /// Whether the other end has joined.
        peer: bool,
    },
    /// Not open; this could be.
    Offered(Qos),
    /// The chunk, and how long ago it was made, where the metadata say so.
    Key(Secret, Option<Duration>),
    /// Closed.
    Closed,
    /// The metadata need so many bytes.
    Metadata(u32),
    /// Anything else than success.
    Refused(Status),
}

/// Why not (004, 7.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// 1 or 3: the other end has not joined yet.
    NoPeer,
    /// 2: no key is left.
    NoKey,
    /// 4: no stream of this name, or no QKD link.
    NoConnection,
    /// 5: the name of the stream is taken.
    Taken,
    /// 6: it took the KME too long.
    Timeout,
}

impl From<Status> for QkdRefusal {
    fn from(status: Status) -> Self {
        match status {
            Status::NoPeer | Status::NoKey => Self::Unavailable,
            Status::NoConnection | Status::Taken => Self::BadRequest,
            Status::Timeout => Self::TimedOut,
        }
    }
}

/// A status by its number, where it stands alone; `None` for success, and for what carries more.
fn status(number: u32) -> Option<Status> {
    match number {
        1 | 3 => Some(Status::NoPeer),
        2 => Some(Status::NoKey),
        4 => Some(Status::NoConnection),
        5 => Some(Status::Taken),
        6 => Some(Status::Timeout),
        _ => None,
    }
}

/// What a KME says with status 0, 1, 7 and 8 beside the number.
mod number {
    pub(super) const SUCCESSFUL: u32 = 0;
    pub(super) const NO_PEER: u32 = 1;
    pub(super) const QOS_NOT_MET: u32 = 7;
    pub(super) const METADATA_SIZE: u32 = 8;
}

/// Moves a chunk of the right length into a slot.
fn key(length: usize, fill: impl FnOnce(&mut [u8]) -> Option<()>) -> Result<Secret, QkdRefusal> {
    if length != KEY_BYTES {
        return Err(QkdRefusal::WrongLength);
    }
    let secret = Secret::try_from_fn(KEY_BYTES, |slot| {
        fill(slot).ok_or(Refused(QkdRefusal::BadReply))
    })
    .map_err(|Refused(reason)| reason)?;
    // Not in constant time: what leaks is that a key is refused.
    if secret.expose().iter().all(|byte| *byte == 0) {
        return Err(QkdRefusal::ZeroKey);
    }
    Ok(secret)
}

/// The `age` of metadata in JSON, in milliseconds; nothing where it is not there or cannot be read.
fn age(metadata: &[u8]) -> Option<Duration> {
    // Metadata are no secret, and the reader rewrites what it reads.
    let mut bytes = metadata.to_vec();
    let mut reader = Reader::new(&mut bytes);
    let mut age = None;
    let read = reader.object(|reader, name| match reader.text(&name) {
        b"age" => match age.replace(reader.whole_number()?) {
            None => Ok(()),
            Some(_) => Err(Malformed),
        },
        _ => reader.skip(),
    });
    read.ok()?;
    age.map(Duration::from_millis)
}

struct Refused(QkdRefusal);

impl From<bartizan_secret::LockError> for Refused {
    fn from(_: bartizan_secret::LockError) -> Self {
        Self(QkdRefusal::LockedMemory)
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]
mod tests;
