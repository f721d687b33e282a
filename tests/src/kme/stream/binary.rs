//! The binary form: a head of 8 bytes and a body; numbers in network byte order.
//!
//! | bytes | |
//! |---|---|
//! | 3 | version: 1, 0, 1 |
//! | 1 | 2 `OPEN_CONNECT`, 4 `GET_KEY`, 8 `CLOSE`; one more for the answer |
//! | 4 | length of the body |

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{Answer, Call, Qos, Status, StreamId};

const VERSION: [u8; 3] = [1, 0, 1];
const OPEN: u8 = 2;
const GET: u8 = 4;
const CLOSE: u8 = 8;
/// Bytes of `Metadata_mimetype`, filled up with zeros.
const MIMETYPE: usize = 256;
/// The most bytes of a request's body.
const LIMIT: u32 = 16 * 1024;

/// Reads one request; `None` where the client closed the connection between two.
///
/// # Errors
///
/// Of the stream; [`io::ErrorKind::InvalidData`] for what is no request, or too long.
pub(in crate::kme) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<Call>> {
    let mut head = [0; 8];
    if stream.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut head[1..]).await?;
    let [v0, v1, v2, kind, l0, l1, l2, l3] = head;
    let length = u32::from_be_bytes([l0, l1, l2, l3]);
    if [v0, v1, v2] != VERSION || length > LIMIT {
        return Err(invalid("no head"));
    }
    let mut body = vec![0; usize::try_from(length).unwrap_or_default()];
    stream.read_exact(&mut body).await?;
    let mut rest = &body[..];
    let call = call(kind, &mut rest).ok_or_else(|| invalid("no request"))?;
    if !rest.is_empty() {
        return Err(invalid("more than a request"));
    }
    Ok(Some(call))
}

fn call(kind: u8, body: &mut &[u8]) -> Option<Call> {
    Some(match kind {
        OPEN => Call::Open {
            source: text(body)?,
            destination: text(body)?,
            qos: qos(body)?,
            stream: StreamId(array(body)?),
        },
        GET => Call::Get {
            stream: StreamId(array(body)?),
            index: number(body)?,
            metadata: number(body)?,
        },
        CLOSE => Call::Close {
            stream: StreamId(array(body)?),
        },
        _ => return None,
    })
}

fn qos(body: &mut &[u8]) -> Option<Qos> {
    Some(Qos {
        chunk: number(body)?,
        max_bps: number(body)?,
        min_bps: number(body)?,
        jitter: number(body)?,
        priority: number(body)?,
        timeout: number(body)?,
        ttl: number(body)?,
        mimetype: {
            let padded: [u8; MIMETYPE] = array(body)?;
            let end = padded.iter().position(|byte| *byte == 0)?;
            String::from_utf8(padded.get(..end)?.to_vec()).ok()?
        },
    })
}

/// A text that ends with a zero.
fn text(body: &mut &[u8]) -> Option<String> {
    let end = body.iter().position(|byte| *byte == 0)?;
    let (text, rest) = body.split_at(end);
    *body = rest.get(1..)?;
    String::from_utf8(text.to_vec()).ok()
}

fn array<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(*array)
}

fn number(body: &mut &[u8]) -> Option<u32> {
    array(body).map(u32::from_be_bytes)
}

/// The answer to `call`, as bytes.
pub(in crate::kme) fn write(call: &Call, answer: &Answer) -> Vec<u8> {
    let kind = match call {
        Call::Open { .. } => OPEN,
        Call::Get { .. } => GET,
        Call::Close { .. } => CLOSE,
    };
    let mut body = Vec::new();
    match answer {
        Answer::Opened {
            status,
            qos,
            stream,
        } => {
            body.extend(status.number().to_be_bytes());
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
            let mut padded = qos.mimetype.clone().into_bytes();
            padded.resize(MIMETYPE, 0);
            body.extend(padded);
            body.extend(stream.0);
        }
        Answer::Chunk {
            index,
            chunk,
            metadata,
        } => {
            body.extend(Status::Successful.number().to_be_bytes());
            body.extend(index.to_be_bytes());
            body.extend(length(chunk));
            body.extend(chunk);
            body.extend(length(metadata));
            body.extend(metadata);
        }
        Answer::Metadata(needed) => {
            body.extend(Status::MetadataSize.number().to_be_bytes());
            body.extend(needed.to_be_bytes());
        }
        Answer::Status(status) => body.extend(status.number().to_be_bytes()),
    }
    let mut bytes = VERSION.to_vec();
    bytes.push(kind | 1);
    bytes.extend(length(&body));
    bytes.extend(body);
    bytes
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
