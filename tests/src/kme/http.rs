//! As much of an HTTP/1.1 server (RFC 9112) as ETSI GS QKD 014 needs.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The most bytes of a head, and of a body.
const LIMIT: usize = 16 * 1024;

/// A request as it came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct HttpRequest {
    pub(super) method: String,
    pub(super) path: String,
    /// What follows `?`, still encoded.
    pub(super) query: String,
    pub(super) body: Vec<u8>,
}

/// Reads one request; `None` where the client closed the connection between two.
///
/// `left` holds what was read beyond it, for the next call.
///
/// # Errors
///
/// Of the stream; [`io::ErrorKind::InvalidData`] for what is no request, or too long.
pub(super) async fn read_request(
    stream: &mut (impl AsyncRead + Unpin),
    left: &mut Vec<u8>,
) -> io::Result<Option<HttpRequest>> {
    let head = loop {
        if let Some(end) = left.windows(4).position(|four| four == b"\r\n\r\n") {
            break left.drain(..end.saturating_add(4)).collect::<Vec<u8>>();
        }
        if left.len() > LIMIT {
            return Err(invalid("the head is too long"));
        }
        if stream.read_buf(left).await? == 0 {
            return if left.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
    };
    let (mut request, length) = parse_head(&head)?;
    while left.len() < length {
        if stream.read_buf(left).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    request.body = left.drain(..length).collect();
    Ok(Some(request))
}

/// The request and the length of its body.
fn parse_head(head: &[u8]) -> io::Result<(HttpRequest, usize)> {
    let head = str::from_utf8(head).map_err(|_| invalid("the head is not text"))?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(invalid("no request line"));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut length = 0;
    let mut host = false;
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("no header"))?;
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                length = value.trim().parse().map_err(|_| invalid("no length"))?;
            }
            "transfer-encoding" => return Err(invalid("chunked requests are not served")),
            "host" => host = true,
            _ => {}
        }
    }
    if !host {
        return Err(invalid("RFC 9112, 3.2 asks for one host"));
    }
    if length > LIMIT {
        return Err(invalid("the body is too long"));
    }
    let request = HttpRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        body: Vec::new(),
    };
    Ok((request, length))
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &mut &[u8], left: &mut Vec<u8>) -> io::Result<Option<HttpRequest>> {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(read_request(stream, left))
    }

    #[test]
    fn two_requests_in_one_read_are_two() {
        let mut left = Vec::new();
        let mut stream = &b"POST /a?b=c HTTP/1.1\r\nHost: k\r\nContent-Length: 2\r\n\r\nhiGET /d HTTP/1.1\r\nHost: k\r\n\r\n"[..];
        let first = read(&mut stream, &mut left).unwrap().unwrap();
        assert_eq!((first.path.as_str(), first.query.as_str()), ("/a", "b=c"));
        assert_eq!(first.body, b"hi");
        assert_eq!(read(&mut stream, &mut left).unwrap().unwrap().path, "/d");
        assert_eq!(read(&mut stream, &mut left).unwrap(), None);
    }

    #[test]
    fn what_is_no_request_is_an_error() {
        for mut stream in [
            &b"GET /\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: k\r\nContent-Length: 99999\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: k",
        ] {
            assert!(read(&mut stream, &mut Vec::new()).is_err());
        }
    }
}
