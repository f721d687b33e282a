//! One HTTP/1.1 exchange (RFC 9112), as far as RESTCONF needs it (RFC 8040, 3.6), without I/O.
//!
//! Every exchange has a connection of its own: the answer ends with it, or where it says that it
//! does. What could be read in two ways is refused.

/// The most bytes of a head, and of the lines between chunks together.
const HEAD_MAX: usize = 8 * 1024;

/// The most headers.
const HEADERS_MAX: usize = 64;

/// Not an answer, or one that could be read in two ways.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an HTTP response, or longer than it may be")]
pub(crate) struct BadHttp;

/// An answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Words a request; `host` with its port is for the server alone.
pub(crate) fn post(host: &str, path: &str, media_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {media_type}\r\n\
         Accept: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The most bytes of an answer whose body has at most `max`.
pub(crate) fn answer_max(max: usize) -> usize {
    max.saturating_add(HEAD_MAX).saturating_add(HEAD_MAX)
}

/// What may come behind the bytes that came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rest {
    /// Nothing: the other end said that it is done.
    Nothing,
    /// More, or the connection broke: only an answer that says how long it is can be whole.
    Unknown,
}

/// Reads a whole answer.
pub(crate) fn answer(bytes: &[u8], rest: Rest, body_max: usize) -> Result<Answer, BadHttp> {
    let follows = rest;
    let end = bytes
        .windows(4)
        .take(HEAD_MAX)
        .position(|four| four == b"\r\n\r\n")
        .ok_or(BadHttp)?;
    let (head, rest) = bytes.split_at_checked(end).ok_or(BadHttp)?;
    let rest = rest.get(4..).ok_or(BadHttp)?;
    let head = core::str::from_utf8(head).map_err(|_| BadHttp)?;
    let mut lines = head.split("\r\n");
    let status = status(lines.next().ok_or(BadHttp)?)?;
    let body = match framing(lines)? {
        Framing::Length(len) if rest.len() == len => rest.to_vec(),
        Framing::Length(_) => return Err(BadHttp),
        Framing::Chunks => join(rest)?,
        Framing::UntilEnd if follows == Rest::Nothing => rest.to_vec(),
        Framing::UntilEnd => return Err(BadHttp),
    };
    if body.len() > body_max {
        return Err(BadHttp);
    }
    Ok(Answer { status, body })
}

enum Framing {
    Length(usize),
    Chunks,
    UntilEnd,
}

/// `HTTP/1.1 200 OK`; an interim answer (1xx) is none.
fn status(line: &str) -> Result<u16, BadHttp> {
    let rest = line.strip_prefix("HTTP/1.1 ").ok_or(BadHttp)?;
    let digits = rest.get(..3).ok_or(BadHttp)?;
    let ended = matches!(rest.as_bytes().get(3), None | Some(b' '));
    let status = digits.parse().map_err(|_| BadHttp)?;
    if ended && (200..=599).contains(&status) {
        Ok(status)
    } else {
        Err(BadHttp)
    }
}

fn framing<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Framing, BadHttp> {
    let mut framing = Framing::UntilEnd;
    for (number, line) in lines.enumerate() {
        let (name, value) = line.split_once(':').ok_or(BadHttp)?;
        let is_token = |byte: u8| byte.is_ascii_graphic();
        if number >= HEADERS_MAX || name.is_empty() || !name.bytes().all(is_token) {
            return Err(BadHttp);
        }
        let value = value.trim();
        let found = if name.eq_ignore_ascii_case("content-length") {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            let len = value.parse().ok().filter(|_| digits);
            Framing::Length(len.ok_or(BadHttp)?)
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(BadHttp);
            }
            Framing::Chunks
        } else {
            continue;
        };
        if !matches!(framing, Framing::UntilEnd) {
            return Err(BadHttp);
        }
        framing = found;
    }
    Ok(framing)
}

/// Joins chunks (RFC 9112, 7.1); trailers are refused.
fn join(mut rest: &[u8]) -> Result<Vec<u8>, BadHttp> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).take(32).position(|two| two == b"\r\n");
        let (line, after) = rest.split_at_checked(end.ok_or(BadHttp)?).ok_or(BadHttp)?;
        let line = core::str::from_utf8(line).map_err(|_| BadHttp)?;
        let is_hex = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let len = usize::from_str_radix(line, 16).ok().filter(|_| is_hex);
        let len = len.ok_or(BadHttp)?;
        let after = after.get(2..).ok_or(BadHttp)?;
        let (chunk, after) = after.split_at_checked(len).ok_or(BadHttp)?;
        rest = after.strip_prefix(b"\r\n").ok_or(BadHttp)?;
        if len == 0 {
            return if rest.is_empty() {
                Ok(body)
            } else {
                Err(BadHttp)
            };
        }
        body.extend_from_slice(chunk);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_read_however_it_says_its_length() {
        for (text, status, body) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
                200,
                "abc",
            ),
            ("HTTP/1.1 204 \r\n\r\n", 204, ""),
            ("HTTP/1.1 404\r\nServer: x\r\n\r\nno", 404, "no"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
                200,
                "abc",
            ),
        ] {
            let answer = answer(text.as_bytes(), Rest::Nothing, 3).unwrap();
            assert_eq!(answer.status, status);
            assert_eq!(answer.body, body.as_bytes());
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        ] {
            assert_eq!(
                answer(text.as_bytes(), Rest::Nothing, 100),
                Err(BadHttp),
                "{text:?}"
            );
        }
        let long = b"HTTP/1.1 200 OK\r\n\r\nabcd";
        assert_eq!(answer(long, Rest::Nothing, 3), Err(BadHttp));
        let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(HEAD_MAX));
        assert_eq!(answer(head.as_bytes(), Rest::Nothing, 3), Err(BadHttp));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(65));
        assert_eq!(answer(many.as_bytes(), Rest::Nothing, 3), Err(BadHttp));
    }

    #[test]
    fn an_answer_without_a_length_ends_with_its_connection() {
        let text = b"HTTP/1.1 200 OK\r\n\r\nabc";
        assert_eq!(answer(text, Rest::Unknown, 3), Err(BadHttp));
        assert_eq!(answer(text, Rest::Nothing, 3).unwrap().body, b"abc");
    }

    proptest! {
        #[test]
        fn no_bytes_bring_it_down(bytes: Vec<u8>, tail: Vec<u8>) {
            let _any = answer(&bytes, Rest::Nothing, 100);
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _chunks = answer(&[head.as_slice(), &tail].concat(), Rest::Unknown, 100);
        }
    }
}
