//! An answer, and the bytes it becomes under the standing orders.

use core::time::Duration;
use std::io;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::fault::{Behaviour, Instead, Wire};

/// The body of [`Wire::Oversize`].
const OVERSIZE: usize = 1024 * 1024;
/// The bytes in one chunk of [`Wire::Chunked`]: small, so that strings are cut.
const CHUNK: usize = 7;

/// A plain answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Whether the connection takes another request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum After {
    KeepAlive,
    Close,
}

impl Reply {
    pub(super) fn document(value: &Value) -> Self {
        Self::text(200, &value.to_string())
    }

    /// 014, 6.5.
    pub(super) fn error(status: u16, message: &str) -> Self {
        Self::text(
            status,
            &json!({ "message": message, "details": [] }).to_string(),
        )
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self {
            status,
            body: body.into(),
        }
    }

    /// Sends the answer as the behaviours will have it.
    ///
    /// # Errors
    ///
    /// Of the stream.
    pub(super) async fn send(
        mut self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        behaviours: &[Behaviour],
    ) -> io::Result<After> {
        let mut after = After::KeepAlive;
        let mut chunked = false;
        let mut truncated = false;
        let mut drip = None;
        for behaviour in behaviours {
            let Behaviour::Wire(wire) = behaviour else {
                continue;
            };
            match wire {
                Wire::Delay(time) => tokio::time::sleep(*time).await,
                Wire::Hang => {
                    // Until the client gives up; what it sends meanwhile is not read as requests.
                    while stream.read(&mut [0; 1024]).await? > 0 {}
                    return Ok(After::Close);
                }
                Wire::Drop => return Ok(After::Close),
                Wire::NotHttp => {
                    stream.write_all(b"\0\x01 hello \xff\xfe\r\n\r\n").await?;
                    return Ok(After::Close);
                }
                Wire::Chunked => chunked = true,
                Wire::Escaped => self.body = escaped(&self.body),
                Wire::Oversize => self.body.resize(OVERSIZE, b' '),
                Wire::Close => after = After::Close,
                Wire::Truncated => {
                    truncated = true;
                    after = After::Close;
                }
                Wire::Drip(time) => drip = Some(*time),
            }
        }
        let mut bytes = self.bytes(chunked, after);
        if truncated {
            bytes.truncate(bytes.len().saturating_sub(self.body.len() / 2));
        }
        send_bytes(stream, &bytes, drip).await?;
        Ok(after)
    }

    fn bytes(&self, chunked: bool, after: After) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            401 => "Unauthorized",
            404 => "Not Found",
            405 => "Method Not Allowed",
            _ => "Service Unavailable",
        };
        let close = match after {
            After::KeepAlive => "",
            After::Close => "Connection: close\r\n",
        };
        let framing = if chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            format!("Content-Length: {}", self.body.len())
        };
        let mut bytes = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: application/json\r\n{close}{framing}\r\n\r\n",
            self.status
        )
        .into_bytes();
        if chunked {
            for chunk in self.body.chunks(CHUNK) {
                bytes.extend(format!("{:x};word=\"x\"\r\n", chunk.len()).into_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        } else {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// Sends an answer of 004 as the behaviours will have it.
///
/// # Errors
///
/// Of the stream.
pub(super) async fn send_raw(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    mut bytes: Vec<u8>,
    behaviours: &[Behaviour],
) -> io::Result<After> {
    let mut after = After::KeepAlive;
    let mut drip = None;
    for behaviour in behaviours {
        match behaviour {
            Behaviour::Instead(Instead::Garbage) | Behaviour::Wire(Wire::NotHttp) => {
                bytes = b"\0\x01 hello \xff\xfe\r\n\r\n".to_vec();
            }
            Behaviour::Wire(Wire::Delay(time)) => tokio::time::sleep(*time).await,
            Behaviour::Wire(Wire::Hang) => {
                while stream.read(&mut [0; 1024]).await? > 0 {}
                return Ok(After::Close);
            }
            Behaviour::Wire(Wire::Drop) => return Ok(After::Close),
            Behaviour::Wire(Wire::Close) => after = After::Close,
            Behaviour::Wire(Wire::Truncated) => {
                bytes.truncate(bytes.len() / 2);
                after = After::Close;
            }
            Behaviour::Wire(Wire::Oversize) => bytes.resize(OVERSIZE, b' '),
            Behaviour::Wire(Wire::Drip(time)) => drip = Some(*time),
            Behaviour::Instead(_)
            | Behaviour::Keys(_)
            | Behaviour::Ttl(_)
            | Behaviour::Wire(Wire::Chunked | Wire::Escaped) => {}
        }
    }
    send_bytes(stream, &bytes, drip).await?;
    Ok(after)
}

async fn send_bytes(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    drip: Option<Duration>,
) -> io::Result<()> {
    match drip {
        None => stream.write_all(bytes).await?,
        Some(time) => {
            for byte in bytes {
                stream.write_all(&[*byte]).await?;
                stream.flush().await?;
                tokio::time::sleep(time).await;
            }
        }
    }
    stream.flush().await
}

/// The same document with each character of its strings as `\u00XX`.
fn escaped(document: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::new();
    let mut inside = false;
    for &byte in document {
        if byte == b'"' {
            inside = !inside;
            escaped.push(byte);
        } else if inside {
            escaped.extend(format!("\\u{byte:04x}").into_bytes());
        } else {
            escaped.push(byte);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_document_says_the_same() {
        let document = json!({"keys": [{"key_ID": "a-b", "key": "ab+/="}], "n": 1});
        let escaped = escaped(document.to_string().as_bytes());
        assert_ne!(escaped, document.to_string().as_bytes());
        assert_eq!(serde_json::from_slice::<Value>(&escaped).unwrap(), document);
    }

    #[test]
    fn chunks_join_to_the_body() {
        let bytes = Reply::text(200, "0123456789").bytes(true, After::Close);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("Connection: close\r\n"));
        assert!(
            text.ends_with("\r\n\r\n7;word=\"x\"\r\n0123456\r\n3;word=\"x\"\r\n789\r\n0\r\n\r\n")
        );
    }
}
