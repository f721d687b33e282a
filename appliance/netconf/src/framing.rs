//! The two framings of NETCONF over a byte stream (RFC 6242, 4).
//!
//! A message beyond the cap is read past, not kept: the session answers it with `too-big`. A stream
//! that breaks the framing cannot be found into again and ends the session.

use crate::limits::HEAD;

/// How messages are told apart on the stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// `]]>]]>` after each message: base:1.0, and every hello.
    EndOfMessage,
    /// Chunks with their lengths: base:1.1.
    Chunked,
}

/// One message of the stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Frame {
    /// All of it.
    Whole(Vec<u8>),
    /// It had more bytes than the cap: its first bytes, at most [`HEAD`], for its message-id.
    TooBig(Vec<u8>),
}

/// The stream does not keep to the framing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FramingError {
    /// No chunk where one must begin, or a length that is none.
    #[error("a chunk does not begin as one")]
    Chunk,
    /// A message goes on for more than twice the cap.
    #[error("a message does not end")]
    Endless,
}

const DELIMITER: &[u8] = b"]]>]]>";

/// Takes messages out of a byte stream.
#[derive(Debug)]
pub struct Deframer {
    framing: Framing,
    cap: usize,
    body: Vec<u8>,
    /// Set once the message passed the cap; `body` then holds what the end is searched in.
    head: Option<Vec<u8>>,
    /// Bytes of the message that are here or were let go.
    seen: usize,
    state: ChunkState,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ChunkState {
    /// LF of a chunk.
    LineFeed,
    /// `#` of a chunk.
    Hash,
    /// The first digit, or the `#` of the end.
    First,
    /// More digits, or LF.
    Digits(u32),
    /// So many bytes of data.
    Data(u32),
    /// LF after `##`.
    End,
}

impl Deframer {
    /// A stream at its beginning: [`Framing::EndOfMessage`], messages of at most `cap` bytes.
    pub fn new(cap: usize) -> Self {
        Self {
            framing: Framing::EndOfMessage,
            cap,
            body: Vec::new(),
            head: None,
            seen: 0,
            state: ChunkState::LineFeed,
        }
    }

    /// Goes on with another framing and cap; between two messages only.
    pub fn switch(&mut self, framing: Framing, cap: usize) {
        *self = Self {
            framing,
            ..Self::new(cap)
        };
    }

    /// Says whether a message has begun and not ended.
    pub fn is_within_a_message(&self) -> bool {
        !self.body.is_empty() || self.head.is_some() || self.state != ChunkState::LineFeed
    }

    /// Takes bytes from `input` until a message is whole; what follows it stays in `input`.
    ///
    /// # Errors
    ///
    /// [`FramingError`]: nothing that follows can be understood.
    pub fn take(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FramingError> {
        match self.framing {
            Framing::EndOfMessage => self.take_delimited(input),
            Framing::Chunked => self.take_chunked(input),
        }
    }

    fn take_delimited(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FramingError> {
        while let Some(end) = input.iter().position(|byte| *byte == b'>') {
            let (piece, rest) = input.split_at(end.saturating_add(1));
            *input = rest;
            self.keep(piece);
            if self.body.ends_with(DELIMITER) {
                return self.finish(DELIMITER.len()).map(Some);
            }
            self.let_go(DELIMITER.len())?;
        }
        self.keep(input);
        *input = &[];
        self.let_go(DELIMITER.len())?;
        Ok(None)
    }

    fn take_chunked(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FramingError> {
        while let Some((&byte, rest)) = input.split_first() {
            if let ChunkState::Data(left) = self.state {
                let wanted = usize::try_from(left).unwrap_or(usize::MAX);
                let (piece, rest) = input.split_at(wanted.min(input.len()));
                *input = rest;
                self.keep(piece);
                self.let_go(0)?;
                let taken = u32::try_from(piece.len()).unwrap_or(u32::MAX);
                self.state = match left.saturating_sub(taken) {
                    0 => ChunkState::LineFeed,
                    left => ChunkState::Data(left),
                };
                continue;
            }
            *input = rest;
            self.state = match (self.state, byte) {
                (ChunkState::LineFeed, b'\n') => ChunkState::Hash,
                (ChunkState::Hash, b'#') => ChunkState::First,
                (ChunkState::First, b'1'..=b'9') => {
                    ChunkState::Digits(u32::from(byte.saturating_sub(b'0')))
                }
                (ChunkState::First, b'#') if self.has_chunks() => ChunkState::End,
                (ChunkState::Digits(size), b'0'..=b'9') => ChunkState::Digits(
                    size.checked_mul(10)
                        .and_then(|size| size.checked_add(u32::from(byte.saturating_sub(b'0'))))
                        .ok_or(FramingError::Chunk)?,
                ),
                (ChunkState::Digits(size), b'\n') => ChunkState::Data(size),
                (ChunkState::End, b'\n') => {
                    self.state = ChunkState::LineFeed;
                    return self.finish(0).map(Some);
                }
                _ => return Err(FramingError::Chunk),
            };
        }
        Ok(None)
    }

    fn has_chunks(&self) -> bool {
        !self.body.is_empty() || self.head.is_some()
    }

    fn keep(&mut self, piece: &[u8]) {
        self.body.extend_from_slice(piece);
        self.seen = self.seen.saturating_add(piece.len());
    }

    /// Lets go of what is kept of a message that passed the cap, but for the `tail` bytes in which
    /// its end may have begun.
    fn let_go(&mut self, tail: usize) -> Result<(), FramingError> {
        if self.seen > self.cap.saturating_mul(2).saturating_add(tail) {
            return Err(FramingError::Endless);
        }
        let kept = match &self.head {
            None => self.cap.saturating_add(tail),
            Some(_) => HEAD,
        };
        if self.body.len() <= kept {
            return Ok(());
        }
        self.remember_head();
        let over = self.body.len().saturating_sub(tail);
        self.body.drain(..over);
        self.body.shrink_to(HEAD);
        Ok(())
    }

    /// Gives the message, whose last `tail` bytes are framing.
    fn finish(&mut self, tail: usize) -> Result<Frame, FramingError> {
        let len = core::mem::take(&mut self.seen).saturating_sub(tail);
        if len > self.cap.saturating_mul(2) {
            return Err(FramingError::Endless);
        }
        if len > self.cap {
            self.remember_head();
        }
        let mut body = core::mem::take(&mut self.body);
        if let Some(head) = self.head.take() {
            return Ok(Frame::TooBig(head));
        }
        body.truncate(len);
        Ok(Frame::Whole(body))
    }

    fn remember_head(&mut self) {
        if self.head.is_none() {
            let head = self.body.iter().copied().take(HEAD.min(self.cap));
            self.head = Some(head.collect());
        }
    }
}

/// Frames one message, appending it to `out`.
pub fn frame(message: &str, framing: Framing, out: &mut Vec<u8>) {
    match framing {
        Framing::EndOfMessage => {
            out.extend_from_slice(message.as_bytes());
            out.extend_from_slice(DELIMITER);
        }
        Framing::Chunked => {
            out.extend_from_slice(format!("\n#{}\n", message.len()).as_bytes());
            out.extend_from_slice(message.as_bytes());
            out.extend_from_slice(b"\n##\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that comes out of a stream that arrives in pieces of `step` bytes.
    fn frames(deframer: &mut Deframer, stream: &[u8], step: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        for mut piece in stream.chunks(step) {
            while let Some(frame) = deframer.take(&mut piece).unwrap() {
                frames.push(frame);
            }
        }
        frames
    }

    fn chunked(cap: usize) -> Deframer {
        let mut deframer = Deframer::new(cap);
        deframer.switch(Framing::Chunked, cap);
        deframer
    }

    #[test]
    fn messages_are_found_however_the_stream_is_cut() {
        let delimited = b"<a>]]>]]</a>]]>]]>]]>]]><b/>]]>]]>";
        let expected = ["<a>]]>]]</a>", "", "<b/>"].map(|text| Frame::Whole(text.into()));
        for step in 1..=delimited.len() {
            let found = frames(&mut Deframer::new(100), delimited, step);
            assert_eq!(found, expected, "{step}");
        }
        let stream = b"\n#3\n<a>\n#4\n</a>\n##\n\n#4\n<b/>\n##\n";
        let expected = ["<a></a>", "<b/>"].map(|text| Frame::Whole(text.into()));
        for step in 1..=stream.len() {
            let mut deframer = chunked(100);
            assert_eq!(frames(&mut deframer, stream, step), expected, "{step}");
            assert!(!deframer.is_within_a_message());
        }
    }

    #[test]
    fn a_message_of_the_cap_passes_and_one_byte_more_does_not() {
        for framing in [Framing::EndOfMessage, Framing::Chunked] {
            for (len, whole) in [(50_000, true), (50_001, false), (60_000, false)] {
                for step in [1, 4096, 100_000] {
                    let mut stream = Vec::new();
                    frame(&"x".repeat(len), framing, &mut stream);
                    frame("<next/>", framing, &mut stream);
                    let mut deframer = Deframer::new(50_000);
                    deframer.switch(framing, 50_000);
                    let found = frames(&mut deframer, &stream, step);
                    let first = if whole {
                        Frame::Whole(vec![b'x'; len])
                    } else {
                        Frame::TooBig(vec![b'x'; HEAD])
                    };
                    assert_eq!(found, [first, Frame::Whole(b"<next/>".to_vec())]);
                }
            }
        }
    }

    #[test]
    fn a_message_without_end_is_not_kept() {
        for framing in [Framing::EndOfMessage, Framing::Chunked] {
            let mut deframer = Deframer::new(100_000);
            deframer.switch(framing, 100_000);
            let mut head: &[u8] = b"\n#4000000000\n";
            if framing == Framing::Chunked {
                assert_eq!(deframer.take(&mut head), Ok(None));
            }
            let mut outcome = Ok(None);
            for _ in 0..400 {
                outcome = deframer.take(&mut &[b'x'; 1000][..]);
                assert!(deframer.body.capacity() <= 220_000);
                if outcome.is_err() {
                    break;
                }
            }
            assert_eq!(outcome, Err(FramingError::Endless));
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for bad in [
            "<rpc/>",
            "\n<",
            "\n#0\n",
            "\n#01\nx",
            "\n#4294967296\n",
            "\n#99999999999\n",
            "\n#-1\n",
            "\n##\n",
            "\n#1\nxy",
            "\n#1\nx\n##x",
        ] {
            let outcome = chunked(100).take(&mut bad.as_bytes());
            assert_eq!(outcome, Err(FramingError::Chunk), "{bad:?}");
        }
    }
}
