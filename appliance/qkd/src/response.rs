//! HTTP responses (RFC 9112), as far as ETSI GS QKD 014 needs them, without I/O.
//!
//! A response is taken apart inside the buffer it was received into, because its body is a key.
//! What could be read in two ways is refused: two lengths, a length and chunks, folded headers,
//! bytes behind the end.

use core::ops::Range;

/// The most bytes of a head, and of one line between chunks.
const HEAD_MAX: usize = 8 * 1024;
/// The most headers.
const HEADERS_MAX: usize = 64;

/// The bytes are no response, or one that could be read in two ways.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an HTTP response")]
pub struct BadHttp;

/// A whole response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The status code, 200 to 999.
    pub status: u16,
    /// Where its body stands in the buffer, without chunks.
    pub body: Range<usize>,
    /// What becomes of the connection.
    pub after: After,
}

/// Whether the connection takes another request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum After {
    /// It does.
    KeepAlive,
    /// It does not.
    Close,
}

/// Whether more bytes can come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stream {
    /// They can.
    Open,
    /// The other end said that it is done; a connection that only broke is not ended.
    Ended,
}

/// A response that is coming in.
#[derive(Debug, Default)]
pub struct Response {
    head: Option<Head>,
    /// Up to here there is no end of a head.
    searched: usize,
}

#[derive(Debug)]
struct Head {
    status: u16,
    start: usize,
    framing: Framing,
    after: After,
}

#[derive(Debug)]
enum Framing {
    Length(usize),
    /// Chunks up to `read` are moved together and end at `written`.
    Chunks {
        read: usize,
        written: usize,
    },
    UntilEnd,
}

impl Response {
    /// Looks at all bytes received so far, the same ones and more at each call; `None` while the
    /// response is not whole.
    ///
    /// # Errors
    ///
    /// [`BadHttp`].
    pub fn advance(&mut self, bytes: &mut [u8], stream: Stream) -> Result<Option<Answer>, BadHttp> {
        if self.head.is_none() {
            self.head = self.find_head(bytes)?;
        }
        let answer = match &mut self.head {
            None => None,
            Some(head) => head.body(bytes, stream)?.map(|body| Answer {
                status: head.status,
                body,
                after: head.after,
            }),
        };
        match (answer, stream) {
            (None, Stream::Ended) => Err(BadHttp),
            (answer, _) => Ok(answer),
        }
    }

    fn find_head(&mut self, bytes: &[u8]) -> Result<Option<Head>, BadHttp> {
        let new = bytes.get(self.searched..).unwrap_or_default();
        let Some(end) = new.windows(4).position(|four| four == b"\r\n\r\n") else {
            if bytes.len() > HEAD_MAX {
                return Err(BadHttp);
            }
            self.searched = bytes.len().saturating_sub(3);
            return Ok(None);
        };
        let end = self.searched.saturating_add(end);
        if end > HEAD_MAX {
            return Err(BadHttp);
        }
        parse_head(bytes.get(..end).ok_or(BadHttp)?, end.saturating_add(4)).map(Some)
    }
}

impl Head {
    /// The range of the body, once it is whole.
    fn body(&mut self, bytes: &mut [u8], stream: Stream) -> Result<Option<Range<usize>>, BadHttp> {
        let (body, end) = match &mut self.framing {
            Framing::Length(length) => {
                let end = self.start.checked_add(*length).ok_or(BadHttp)?;
                if bytes.len() < end {
                    return Ok(None);
                }
                (self.start..end, end)
            }
            Framing::Chunks { read, written } => match join_chunks(bytes, read, written)? {
                None => return Ok(None),
                Some(end) => (self.start..*written, end),
            },
            Framing::UntilEnd => match stream {
                Stream::Open => return Ok(None),
                Stream::Ended => (self.start..bytes.len(), bytes.len()),
            },
        };
        if bytes.len() > end {
            return Err(BadHttp);
        }
        Ok(Some(body))
    }
}

/// Moves every whole chunk to the end of those before it; the end of the response, once it is
/// there.
fn join_chunks(
    bytes: &mut [u8],
    read: &mut usize,
    written: &mut usize,
) -> Result<Option<usize>, BadHttp> {
    loop {
        let Some((line, data)) = line(bytes, *read)? else {
            return Ok(None);
        };
        let size = chunk_size(bytes.get(line).ok_or(BadHttp)?)?;
        if size == 0 {
            return skip_trailers(bytes, data);
        }
        let end = data.checked_add(size).ok_or(BadHttp)?;
        let next = end.checked_add(2).ok_or(BadHttp)?;
        let Some(mark) = bytes.get(end..next) else {
            return Ok(None);
        };
        if mark != b"\r\n" {
            return Err(BadHttp);
        }
        bytes.copy_within(data..end, *written);
        *written = written.checked_add(size).ok_or(BadHttp)?;
        *read = next;
    }
}

/// A line between chunks and where the next begins.
fn line(bytes: &[u8], start: usize) -> Result<Option<(Range<usize>, usize)>, BadHttp> {
    let rest = bytes.get(start..).unwrap_or_default();
    match rest.windows(2).position(|two| two == b"\r\n") {
        Some(length) if length <= HEAD_MAX => {
            let end = start.checked_add(length).ok_or(BadHttp)?;
            Ok(Some((start..end, end.checked_add(2).ok_or(BadHttp)?)))
        }
        None if rest.len() <= HEAD_MAX => Ok(None),
        _ => Err(BadHttp),
    }
}

/// RFC 9112, 7.1; what follows a semicolon is an extension.
fn chunk_size(line: &[u8]) -> Result<usize, BadHttp> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let size = str::from_utf8(size)
        .map_err(|_| BadHttp)?
        .trim_matches([' ', '\t']);
    if size.is_empty() || size.len() > 8 || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(BadHttp);
    }
    usize::from_str_radix(size, 16).map_err(|_| BadHttp)
}

fn skip_trailers(bytes: &[u8], mut start: usize) -> Result<Option<usize>, BadHttp> {
    for _ in 0..HEADERS_MAX {
        let Some((line, next)) = line(bytes, start)? else {
            return Ok(None);
        };
        if line.is_empty() {
            return Ok(Some(next));
        }
        start = next;
    }
    Err(BadHttp)
}

fn parse_head(head: &[u8], start: usize) -> Result<Head, BadHttp> {
    let head = str::from_utf8(head).map_err(|_| BadHttp)?;
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let (mut after, rest) = match (
        line.strip_prefix("HTTP/1.1 "),
        line.strip_prefix("HTTP/1.0 "),
    ) {
        (Some(rest), _) => (After::KeepAlive, rest),
        (None, Some(rest)) => (After::Close, rest),
        (None, None) => return Err(BadHttp),
    };
    let code = rest.split(' ').next().unwrap_or_default();
    if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadHttp);
    }
    let status: u16 = code.parse().map_err(|_| BadHttp)?;
    if status < 200 {
        return Err(BadHttp);
    }
    let mut length = None;
    let mut chunked = false;
    for (count, line) in lines.enumerate() {
        let (name, value) = line.split_once(':').ok_or(BadHttp)?;
        if count >= HEADERS_MAX || !is_token(name) {
            return Err(BadHttp);
        }
        let value = value.trim_matches([' ', '\t']);
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                if length.is_some() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(BadHttp);
                }
                length = Some(value.parse().map_err(|_| BadHttp)?);
            }
            "transfer-encoding" => {
                if chunked || !value.eq_ignore_ascii_case("chunked") {
                    return Err(BadHttp);
                }
                chunked = true;
            }
            "content-encoding" if !value.eq_ignore_ascii_case("identity") => return Err(BadHttp),
            "connection" => {
                for option in value
                    .split(',')
                    .map(|option| option.trim_matches([' ', '\t']))
                {
                    if option.eq_ignore_ascii_case("close") {
                        after = After::Close;
                    }
                }
            }
            _ => {}
        }
    }
    let framing = match (length, chunked) {
        (Some(_), true) => return Err(BadHttp),
        _ if matches!(status, 204 | 304) => Framing::Length(0),
        (Some(length), false) => Framing::Length(length),
        (None, true) => Framing::Chunks {
            read: start,
            written: start,
        },
        (None, false) => {
            after = After::Close;
            Framing::UntilEnd
        }
    };
    Ok(Head {
        status,
        start,
        framing,
        after,
    })
}

/// RFC 9110, 5.6.2.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n\
        3;x=\"y\"\r\nabc\r\n0A \r\ndefghijklm\r\n0\r\nTrailer: t\r\n\r\n";

    /// Feeds the bytes in two parts.
    fn read(
        text: &str,
        cut: usize,
        stream: Stream,
    ) -> Result<Option<(u16, Vec<u8>, After)>, BadHttp> {
        let mut bytes = text.as_bytes().to_vec();
        let cut = cut.min(bytes.len());
        let mut response = Response::default();
        let answer = match response.advance(&mut bytes[..cut], Stream::Open)? {
            Some(answer) => Some(answer),
            None => response.advance(&mut bytes, stream)?,
        };
        Ok(answer.map(|answer| (answer.status, bytes[answer.body].to_vec(), answer.after)))
    }

    #[test]
    fn a_body_of_a_given_length_is_found() {
        let text = "HTTP/1.1 503 Service Unavailable\r\ncontent-LENGTH:  5 \r\nX: y\r\n\r\nhello";
        for cut in 0..text.len() {
            let (status, body, after) = read(text, cut, Stream::Open).unwrap().unwrap();
            assert_eq!(
                (status, &body[..], after),
                (503, &b"hello"[..], After::KeepAlive)
            );
        }
        assert_eq!(read(&text[..text.len() - 1], 0, Stream::Open), Ok(None));
        assert_eq!(
            read(&text[..text.len() - 1], 0, Stream::Ended),
            Err(BadHttp)
        );
    }

    #[test]
    fn chunks_are_joined_in_place() {
        for cut in 0..CHUNKED.len() {
            let (status, body, _) = read(CHUNKED, cut, Stream::Open).unwrap().unwrap();
            assert_eq!((status, &body[..]), (200, &b"abcdefghijklm"[..]), "{cut}");
        }
        for end in 0..CHUNKED.len() {
            assert_eq!(read(&CHUNKED[..end], 0, Stream::Open), Ok(None), "{end}");
        }
    }

    #[test]
    fn an_old_server_ends_its_answer_with_the_connection() {
        let text = "HTTP/1.0 200 OK\r\n\r\nhello";
        assert_eq!(read(text, 0, Stream::Open), Ok(None));
        let (_, body, after) = read(text, 0, Stream::Ended).unwrap().unwrap();
        assert_eq!((&body[..], after), (&b"hello"[..], After::Close));
    }

    #[test]
    fn a_connection_that_closes_is_known() {
        for header in ["Connection: close", "connection: x , CLOSE"] {
            let text = format!("HTTP/1.1 200 OK\r\n{header}\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(
                read(&text, 0, Stream::Open).unwrap().unwrap().2,
                After::Close
            );
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let long = "x".repeat(HEAD_MAX);
        for (head, body) in [
            ("HTTP/2 200 OK", ""),
            ("HTTP/1.1 20 OK", ""),
            ("HTTP/1.1 +20 OK", ""),
            ("HTTP/1.1 100 Continue", ""),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1",
                "a",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: +1", "a"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999",
                "a",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615",
                "a",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
                "0\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
                "0\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0",
                "",
            ),
            ("HTTP/1.1 200 OK\r\n folded: 1\r\nContent-Length: 0", ""),
            ("HTTP/1.1 200 OK\r\nname : 1\r\nContent-Length: 0", ""),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1", "ab"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
                "0\r\n\r\nx",
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "x\r\n\r\n"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
                "1\r\nabc0\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
                "\r\n0\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
                "FFFFFFFFF\r\n",
            ),
            (&long, ""),
        ] {
            let text = format!("{head}\r\n\r\n{body}");
            assert_eq!(read(&text, 0, Stream::Open), Err(BadHttp), "{text}");
        }
        assert_eq!(read(&long, 0, Stream::Open), Ok(None));
        assert_eq!(read(&format!("{long}x"), 0, Stream::Open), Err(BadHttp));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200) {
            let mut response = Response::default();
            let cut = cut.min(bytes.len());
            if response.advance(&mut bytes[..cut], Stream::Open) == Ok(None) {
                let _ = response.advance(&mut bytes, Stream::Ended);
            }
        }

        #[test]
        fn a_changed_byte_never_gives_a_body_beyond_the_buffer(at in 0..CHUNKED.len(), byte: u8) {
            let mut bytes = CHUNKED.as_bytes().to_vec();
            bytes[at] = byte;
            if let Ok(Some(answer)) = Response::default().advance(&mut bytes, Stream::Open) {
                prop_assert!(answer.body.end <= bytes.len() && answer.body.start <= answer.body.end);
            }
        }
    }
}
