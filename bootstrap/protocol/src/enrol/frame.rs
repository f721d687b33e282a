//! Messages on the wire: four bytes of length, the highest first, then that many bytes.

/// Bytes of the length.
const HEAD: usize = 4;

/// A stream that is none of messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// The length is above what is waited for.
    #[error("a message of {len} bytes where {cap} are the most")]
    TooLong {
        /// The length that was announced, in bytes.
        len: usize,
        /// The most bytes.
        cap: usize,
    },
    /// A message of no bytes.
    #[error("a message of no bytes")]
    Empty,
}

/// Puts its length before a message.
///
/// # Errors
///
/// [`FrameError`] if it has no bytes or too many for a length.
pub fn frame(message: &[u8]) -> Result<Vec<u8>, FrameError> {
    if message.is_empty() {
        return Err(FrameError::Empty);
    }
    let too_long = |_| FrameError::TooLong {
        len: message.len(),
        cap: usize::try_from(u32::MAX).unwrap_or(usize::MAX),
    };
    let head = u32::try_from(message.len())
        .map_err(too_long)?
        .to_be_bytes();
    Ok([head.as_slice(), message].concat())
}

/// Takes one message after the other out of a stream; it holds no more than came.
#[derive(Debug)]
pub struct Deframer {
    cap: usize,
    held: Vec<u8>,
}

impl Deframer {
    /// Takes messages of at most `cap` bytes.
    pub const fn new(cap: usize) -> Self {
        Self {
            cap,
            held: Vec::new(),
        }
    }

    /// From the next message on, takes `cap` bytes.
    pub fn expect(&mut self, cap: usize) {
        self.cap = cap;
    }

    /// Takes from `piece` what belongs to the next message, and returns it once it is whole.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if the stream is none of messages; it stays so.
    pub fn take(&mut self, piece: &mut &[u8]) -> Result<Option<Vec<u8>>, FrameError> {
        self.fill(HEAD, piece);
        let Some((head, _)) = self.held.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let len = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
        if len == 0 {
            return Err(FrameError::Empty);
        }
        if len > self.cap {
            return Err(FrameError::TooLong { len, cap: self.cap });
        }
        let whole = len.saturating_add(HEAD);
        self.fill(whole, piece);
        if self.held.len() < whole {
            return Ok(None);
        }
        let message = self.held.split_off(HEAD);
        self.held.clear();
        Ok(Some(message))
    }

    fn fill(&mut self, to: usize, piece: &mut &[u8]) {
        let missing = to.saturating_sub(self.held.len());
        let (now, later) = piece.split_at(missing.min(piece.len()));
        self.held.extend_from_slice(now);
        *piece = later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_a_stream_is_cut_its_messages_are_the_same() {
        let stream = [frame(b"one").unwrap(), frame(b"t").unwrap(), vec![0, 0]].concat();
        for step in 1..=stream.len() {
            let mut deframer = Deframer::new(3);
            let mut messages = Vec::new();
            for mut piece in stream.chunks(step) {
                while let Some(message) = deframer.take(&mut piece).unwrap() {
                    messages.push(message);
                }
            }
            assert_eq!(messages, [b"one".to_vec(), b"t".to_vec()], "{step}");
        }
    }

    #[test]
    fn an_announced_length_is_refused_before_it_is_held() {
        let mut deframer = Deframer::new(3);
        let too_long = FrameError::TooLong { len: 4, cap: 3 };
        assert_eq!(deframer.take(&mut [0, 0, 0, 4].as_slice()), Err(too_long));
        assert_eq!(deframer.take(&mut [1].as_slice()), Err(too_long));
        assert_eq!(
            Deframer::new(3).take(&mut [0; 4].as_slice()),
            Err(FrameError::Empty)
        );
        assert_eq!(frame(b""), Err(FrameError::Empty));
    }
}
