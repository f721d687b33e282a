//! The JSON form of 004: one object a request, one object an answer, over TCP without a frame; a
//! chunk is a list of numbers.

use core::ops::Range;
use core::time::Duration;

use bartizan_model::report::QkdRefusal;

use super::{
    ANSWER_MAX, Call, METADATA_MAX, Qos, Said, Status, StreamId, age, key, number, status,
    stream_id,
};
use crate::json::{Kind, Malformed, Reader};
use crate::stream::binary::Kind as Asked;

/// The bytes of a request.
pub(crate) fn request(call: &Call) -> Vec<u8> {
    match call {
        Call::Open {
            source,
            destination,
            qos,
            stream,
        } => {
            let stream = if *stream == StreamId::NEW {
                String::new()
            } else {
                format!(r#","key_stream_id":"{stream}""#)
            };
            let Qos {
                chunk,
                max_bps,
                min_bps,
                jitter,
                priority,
                timeout,
                ttl,
            } = qos;
            format!(
                r#"{{"command":"OPEN_CONNECT","data":{{"source":"{}","destination":"{}","qos":{{"key_chunk_size":{chunk},"max_bps":{max_bps},"min_bps":{min_bps},"jitter":{jitter},"priority":{priority},"timeout":{timeout},"ttl":{ttl},"metadata_mimetype":"application/json"}}{stream}}}}}"#,
                escaped(source),
                escaped(destination),
            )
        }
        Call::Get { place, metadata } => format!(
            r#"{{"command":"GET_KEY","data":{{"key_stream_id":"{}","index":{},"metadata":{{"size":{metadata},"buffer":""}}}}}}"#,
            place.stream, place.index
        ),
        Call::Close { stream } => {
            format!(r#"{{"command":"CLOSE","data":{{"key_stream_id":"{stream}"}}}}"#)
        }
    }
    .into_bytes()
}

/// A text inside a JSON string; what a SAE's name may hold has no control character.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"")
}

/// Reads what has come of an answer; `None` while it is not whole. A whole one is rewritten in
/// place and worth nothing afterwards.
///
/// # Errors
///
/// Why it is refused.
pub fn read(bytes: &mut [u8], asked: Asked) -> Result<Option<Said>, QkdRefusal> {
    if bytes.len() > ANSWER_MAX {
        return Err(QkdRefusal::BadReply);
    }
    if !whole(bytes)? {
        return Ok(None);
    }
    let mut reader = Reader::new(bytes);
    let document = document(&mut reader).map_err(|_| QkdRefusal::BadReply)?;
    said(&reader, &document, asked).map(Some)
}

/// Whether the object that begins the bytes ends in them; an error for what begins no object.
fn whole(bytes: &[u8]) -> Result<bool, QkdRefusal> {
    let (mut depth, mut text, mut escape) = (0_u32, false, false);
    for byte in bytes {
        match (text, byte) {
            (true, _) if escape => escape = false,
            (true, b'\\') => escape = true,
            (true, b'"') => text = false,
            (true, _) | (false, b' ' | b'\t' | b'\r' | b'\n') => {}
            (false, b'{' | b'[') => depth = depth.saturating_add(1),
            (false, _) if depth == 0 => return Err(QkdRefusal::BadReply),
            (false, b'"') => text = true,
            (false, b'}' | b']') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Ok(true);
                }
            }
            (false, _) => {}
        }
    }
    Ok(false)
}

#[derive(Default)]
struct Document {
    status: Option<u64>,
    stream: Option<Range<usize>>,
    index: Option<u64>,
    /// The chunk's bytes, moved to the front of its list.
    chunk: Option<Chunk>,
    qos: Option<Qos>,
    metadata: Option<Metadata>,
}

#[derive(Default)]
struct Metadata {
    size: u64,
    age: Option<Duration>,
}

fn document(reader: &mut Reader<'_>) -> Result<Document, Malformed> {
    let mut document = Document::default();
    reader.object(|reader, name| match reader.text(&name) {
        b"status" => once(&mut document.status, reader.whole_number()?),
        b"key_stream_id" => once(&mut document.stream, reader.string()?),
        b"index" => once(&mut document.index, reader.whole_number()?),
        b"key_buffer" => once(&mut document.chunk, chunk(reader)?),
        b"qos" => once(&mut document.qos, qos(reader)?),
        b"metadata" => once(&mut document.metadata, metadata(reader)?),
        _ => reader.skip(),
    })?;
    reader.end()?;
    Ok(document)
}

/// Up to as many bytes as a slot has; how many there were in all.
struct Chunk {
    bytes: zeroize::Zeroizing<[u8; bartizan_secret::SECRET_MAX]>,
    length: usize,
}

fn chunk(reader: &mut Reader<'_>) -> Result<Chunk, Malformed> {
    let mut chunk = Chunk {
        bytes: zeroize::Zeroizing::new([0; bartizan_secret::SECRET_MAX]),
        length: 0,
    };
    reader.array(|reader| {
        let byte = u8::try_from(reader.whole_number()?).map_err(|_| Malformed)?;
        if let Some(place) = chunk.bytes.get_mut(chunk.length) {
            *place = byte;
        }
        chunk.length = chunk.length.saturating_add(1);
        Ok(())
    })?;
    Ok(chunk)
}

fn qos(reader: &mut Reader<'_>) -> Result<Qos, Malformed> {
    let mut fields = [None; 7];
    let [chunk, max_bps, min_bps, jitter, priority, timeout, ttl] = &mut fields;
    reader.object(|reader, name| {
        let field = match reader.text(&name) {
            b"key_chunk_size" => &mut *chunk,
            b"max_bps" => &mut *max_bps,
            b"min_bps" => &mut *min_bps,
            b"jitter" => &mut *jitter,
            b"priority" => &mut *priority,
            b"timeout" => &mut *timeout,
            b"ttl" => &mut *ttl,
            _ => return reader.skip(),
        };
        let number = u32::try_from(reader.whole_number()?).map_err(|_| Malformed)?;
        once(field, number)
    })?;
    Ok(Qos {
        chunk: chunk.ok_or(Malformed)?,
        max_bps: max_bps.unwrap_or_default(),
        min_bps: min_bps.unwrap_or_default(),
        jitter: jitter.unwrap_or_default(),
        priority: priority.unwrap_or_default(),
        timeout: timeout.ok_or(Malformed)?,
        ttl: ttl.ok_or(Malformed)?,
    })
}

fn metadata(reader: &mut Reader<'_>) -> Result<Metadata, Malformed> {
    let (mut size, mut text) = (None, None);
    reader.object(|reader, name| {
        let kind = reader.kind()?;
        match (reader.text(&name), kind) {
            (b"size", _) => once(&mut size, reader.whole_number()?),
            (b"buffer", Kind::String) => once(&mut text, reader.string()?),
            _ => reader.skip(),
        }
    })?;
    Ok(Metadata {
        size: size.unwrap_or_default(),
        age: text.and_then(|text| age(reader.text(&text))),
    })
}

fn said(reader: &Reader<'_>, document: &Document, asked: Asked) -> Result<Said, QkdRefusal> {
    let number = document
        .status
        .and_then(|number| u32::try_from(number).ok());
    let bad = QkdRefusal::BadReply;
    match (number.ok_or(bad)?, asked) {
        (number::SUCCESSFUL, Asked::Open) => opened(reader, document, true),
        (number::NO_PEER, Asked::Open) if document.stream.is_none() => {
            Ok(Said::Refused(Status::NoPeer))
        }
        (number::NO_PEER, Asked::Open) => opened(reader, document, false),
        (number::QOS_NOT_MET, Asked::Open) => Ok(Said::Offered(document.qos.ok_or(bad)?)),
        (number::SUCCESSFUL, Asked::Get(index)) => {
            // The field's KMEs leave the index out.
            if document.index.is_some_and(|said| said != u64::from(index)) {
                return Err(QkdRefusal::WrongKeyId);
            }
            if document
                .metadata
                .as_ref()
                .is_some_and(|it| it.size > METADATA_MAX.into())
            {
                return Err(bad);
            }
            let chunk = document.chunk.as_ref().ok_or(bad)?;
            let secret = key(chunk.length, |slot| {
                slot.copy_from_slice(chunk.bytes.get(..slot.len())?);
                Some(())
            })?;
            let age = document.metadata.as_ref().and_then(|it| it.age);
            Ok(Said::Key(secret, age))
        }
        (number::METADATA_SIZE, Asked::Get(_)) => {
            let size = document.metadata.as_ref();
            let size = size.and_then(|it| u32::try_from(it.size).ok());
            Ok(Said::Metadata(size.ok_or(bad)?))
        }
        (number::SUCCESSFUL, Asked::Close) => Ok(Said::Closed),
        (number, _) => status(number).map(Said::Refused).ok_or(bad),
    }
}

fn opened(reader: &Reader<'_>, document: &Document, peer: bool) -> Result<Said, QkdRefusal> {
    let text = document.stream.as_ref().map(|range| reader.text(range));
    let stream = text.and_then(stream_id).filter(|id| *id != StreamId::NEW);
    Ok(Said::Opened {
        stream: stream.ok_or(QkdRefusal::BadReply)?,
        qos: document.qos,
        peer,
    })
}

/// Refuses a member that comes twice: which one counts would be a guess.
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Malformed> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed),
    }
}
