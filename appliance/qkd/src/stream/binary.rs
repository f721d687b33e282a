//! The binary form of 004: a head of 8 bytes (version 1, 0, 1, a kind, the body's length) and a
//! body; numbers in network byte order.

use bartizan_model::report::QkdRefusal;

use super::{
    ANSWER_MAX, Call, METADATA_MAX, Qos, Said, Status, StreamId, age, key, number, status,
};

const VERSION: [u8; 3] = [1, 0, 1];
const HEAD: usize = 8;
/// Bytes of `Metadata_mimetype`, filled up with zeros.
const MIMETYPE: usize = 256;
const WANTED: &[u8] = b"application/json";

/// The bytes of a request.
pub(crate) fn request(call: &Call) -> Vec<u8> {
    let mut body = Vec::new();
    match call {
        Call::Open {
            source,
            destination,
            qos,
            stream,
        } => {
            for uri in [source, destination] {
                body.extend(uri.as_bytes());
                body.push(0);
            }
            for number in [
                qos.chunk,
                qos.max_bps,
                qos.min_bps,
                qos.jitter,
                qos.priority,
                qos.timeout,
                qos.ttl,
            ] {
                body.extend(number.to_be_bytes());
            }
            let mut mimetype = WANTED.to_vec();
            mimetype.resize(MIMETYPE, 0);
            body.extend(mimetype);
            body.extend(stream.0);
        }
        Call::Get { place, metadata } => {
            body.extend(place.stream.0);
            body.extend(place.index.to_be_bytes());
            body.extend(metadata.to_be_bytes());
        }
        Call::Close { stream } => body.extend(stream.0),
    }
    let mut bytes = VERSION.to_vec();
    bytes.push(Kind::of(call).number());
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// What was asked, which an answer's kind must fit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// `OPEN_CONNECT`
    Open,
    /// `GET_KEY`, the chunk of this index
    Get(u32),
    /// `CLOSE`
    Close,
}

impl Kind {
    pub(crate) fn of(call: &Call) -> Self {
        match call {
            Call::Open { .. } => Self::Open,
            Call::Get { place, .. } => Self::Get(place.index),
            Call::Close { .. } => Self::Close,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Open => 2,
            Self::Get(_) => 4,
            Self::Close => 8,
        }
    }
}

/// Reads what has come of an answer; `None` while it is not whole.
///
/// # Errors
///
/// Why it is refused.
pub fn read(bytes: &[u8], asked: Kind) -> Result<Option<Said>, QkdRefusal> {
    let Some((head, body)) = bytes.split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let [v0, v1, v2, kind, l0, l1, l2, l3] = *head;
    let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
    let answers = asked.number().checked_add(1) == Some(kind);
    if [v0, v1, v2] != VERSION || !answers || length > ANSWER_MAX || body.len() > length {
        return Err(QkdRefusal::BadReply);
    }
    if body.len() < length {
        return Ok(None);
    }
    said(&mut Rest(body), asked).map(Some)
}

fn said(rest: &mut Rest<'_>, asked: Kind) -> Result<Said, QkdRefusal> {
    let number = rest.number()?;
    let said = match (number, asked) {
        (number::SUCCESSFUL, Kind::Open) => opened(rest, true)?,
        // A KME may leave it at the number.
        (number::NO_PEER, Kind::Open) if rest.0.is_empty() => Said::Refused(Status::NoPeer),
        (number::NO_PEER, Kind::Open) => opened(rest, false)?,
        (number::QOS_NOT_MET, Kind::Open) => {
            let qos = rest.qos()?;
            rest.take(StreamId::NEW.0.len())?;
            Said::Offered(qos)
        }
        (number::SUCCESSFUL, Kind::Get(index)) => chunk(rest, index)?,
        (number::METADATA_SIZE, Kind::Get(_)) => Said::Metadata(rest.number()?),
        (number::SUCCESSFUL, Kind::Close) => Said::Closed,
        (number, _) => Said::Refused(status(number).ok_or(QkdRefusal::BadReply)?),
    };
    if rest.0.is_empty() {
        Ok(said)
    } else {
        Err(QkdRefusal::BadReply)
    }
}

fn opened(rest: &mut Rest<'_>, peer: bool) -> Result<Said, QkdRefusal> {
    let qos = Some(rest.qos()?);
    let stream = StreamId(rest.array()?);
    if stream == StreamId::NEW {
        return Err(QkdRefusal::BadReply);
    }
    Ok(Said::Opened { stream, qos, peer })
}

fn chunk(rest: &mut Rest<'_>, index: u32) -> Result<Said, QkdRefusal> {
    if rest.number()? != index {
        return Err(QkdRefusal::WrongKeyId);
    }
    let chunk = rest.counted()?;
    let metadata = rest.counted()?;
    if u32::try_from(metadata.len()).unwrap_or(u32::MAX) > METADATA_MAX {
        return Err(QkdRefusal::BadReply);
    }
    let secret = key(chunk.len(), |slot| {
        slot.copy_from_slice(chunk);
        Some(())
    })?;
    Ok(Said::Key(secret, age(metadata)))
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], QkdRefusal> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(QkdRefusal::BadReply)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], QkdRefusal> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| QkdRefusal::BadReply)
    }

    fn number(&mut self) -> Result<u32, QkdRefusal> {
        self.array().map(u32::from_be_bytes)
    }

    fn counted(&mut self) -> Result<&'a [u8], QkdRefusal> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        self.take(count)
    }

    fn qos(&mut self) -> Result<Qos, QkdRefusal> {
        let qos = Qos {
            chunk: self.number()?,
            max_bps: self.number()?,
            min_bps: self.number()?,
            jitter: self.number()?,
            priority: self.number()?,
            timeout: self.number()?,
            ttl: self.number()?,
        };
        self.take(MIMETYPE)?;
        Ok(qos)
    }
}
