//! The JSON form: one object after the other over the connection, `{"command": .., "data": {..}}`,
//! answered by one object with a `status` each; a chunk is a list of numbers.

use std::io;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{Answer, Call, Qos, Status, StreamId, text};

/// The most bytes of a request.
const LIMIT: usize = 16 * 1024;

#[derive(Deserialize)]
#[serde(tag = "command", content = "data")]
enum Document {
    #[serde(rename = "OPEN_CONNECT")]
    Open {
        source: String,
        destination: String,
        qos: QosDocument,
        #[serde(default)]
        key_stream_id: Option<String>,
    },
    #[serde(rename = "GET_KEY")]
    Get {
        key_stream_id: String,
        index: u32,
        #[serde(default)]
        metadata: Option<Metadata>,
    },
    #[serde(rename = "CLOSE")]
    Close { key_stream_id: String },
}

#[derive(Deserialize)]
struct QosDocument {
    key_chunk_size: u32,
    max_bps: u32,
    min_bps: u32,
    jitter: u32,
    priority: u32,
    timeout: u32,
    ttl: u32,
    #[serde(default)]
    metadata_mimetype: String,
}

#[derive(Deserialize)]
struct Metadata {
    size: u32,
}

/// Reads one request; `None` where the client closed the connection between two. `left` holds what
/// was read beyond it, for the next call.
///
/// # Errors
///
/// Of the stream; [`io::ErrorKind::InvalidData`] for what is no request, or too long.
pub(in crate::kme) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    left: &mut Vec<u8>,
) -> io::Result<Option<Call>> {
    loop {
        let mut documents = serde_json::Deserializer::from_slice(left).into_iter::<Document>();
        match documents.next() {
            Some(Ok(document)) => {
                let end = documents.byte_offset();
                left.drain(..end);
                return call(document).map(Some).ok_or_else(invalid);
            }
            Some(Err(error)) if !error.is_eof() => return Err(invalid()),
            Some(Err(_)) | None => {}
        }
        if left.len() > LIMIT {
            return Err(invalid());
        }
        if stream.read_buf(left).await? == 0 {
            return if left.iter().all(u8::is_ascii_whitespace) {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
    }
}

fn call(document: Document) -> Option<Call> {
    Some(match document {
        Document::Open {
            source,
            destination,
            qos,
            key_stream_id,
        } => Call::Open {
            source,
            destination,
            qos: Qos {
                chunk: qos.key_chunk_size,
                max_bps: qos.max_bps,
                min_bps: qos.min_bps,
                jitter: qos.jitter,
                priority: qos.priority,
                timeout: qos.timeout,
                ttl: qos.ttl,
                mimetype: qos.metadata_mimetype,
            },
            stream: match key_stream_id.as_deref() {
                None | Some("") => StreamId([0; 16]),
                Some(id) => stream_id(id)?,
            },
        },
        Document::Get {
            key_stream_id,
            index,
            metadata,
        } => Call::Get {
            stream: stream_id(&key_stream_id)?,
            index,
            metadata: metadata.map_or(0, |metadata| metadata.size),
        },
        Document::Close { key_stream_id } => Call::Close {
            stream: stream_id(&key_stream_id)?,
        },
    })
}

fn stream_id(text: &str) -> Option<StreamId> {
    super::super::key::bytes(text).map(StreamId)
}

/// The answer, as bytes.
pub(in crate::kme) fn write(answer: &Answer) -> Vec<u8> {
    let document = match answer {
        Answer::Opened {
            status,
            qos,
            stream,
        } => json!({
            "status": status.number(),
            "key_stream_id": text(*stream),
            "qos": qos_document(qos),
        }),
        Answer::Chunk {
            index,
            chunk,
            metadata,
        } => json!({
            "status": Status::Successful.number(),
            "index": index,
            "key_buffer": chunk,
            "metadata": {
                "size": metadata.len(),
                "buffer": String::from_utf8_lossy(metadata),
            },
        }),
        Answer::Metadata(needed) => json!({
            "status": Status::MetadataSize.number(),
            "metadata": { "size": needed, "buffer": "" },
        }),
        Answer::Status(status) => json!({ "status": status.number() }),
    };
    document.to_string().into_bytes()
}

fn qos_document(qos: &Qos) -> Value {
    json!({
        "key_chunk_size": qos.chunk,
        "max_bps": qos.max_bps,
        "min_bps": qos.min_bps,
        "jitter": qos.jitter,
        "priority": qos.priority,
        "timeout": qos.timeout,
        "ttl": qos.ttl,
        "metadata_mimetype": qos.mimetype,
    })
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no request")
}
