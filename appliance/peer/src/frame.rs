//! What goes over a peer link: frames, without I/O.
//!
//! A frame is a big-endian `u16` with the length of the rest, the protocol's version, the kind, and,
//! for a message, its postcard bytes. The length is judged before the rest is waited for, so a link
//! never holds more than one frame and one read.

use bartizan_model::message::{Edge, PeerMessage};

/// The version of this protocol.
pub const VERSION: u8 = 1;

/// The most bytes of a message; it must fit the edge to the engine, where the node's name stands
/// beside it.
pub const MESSAGE_MAX: usize = Edge::EnginePeer.cap() - 128;

/// The most bytes of a whole frame.
pub const FRAME_MAX: usize = LENGTH + HEAD + MESSAGE_MAX;

/// The bytes of the length.
const LENGTH: usize = 2;
/// The bytes of version and kind.
const HEAD: usize = 2;

/// One frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Frame {
    /// The listener took this connection for the link; its first frame.
    Adopted,
    /// The sender is alive and has nothing to say.
    Heartbeat,
    /// The engine's word to the other engine.
    Message(Box<PeerMessage>),
}

const ADOPTED: u8 = 0;
const HEARTBEAT: u8 = 1;
const MESSAGE: u8 = 2;

/// The bytes are no frame: the link is closed.
#[derive(Debug, thiserror::Error)]
pub enum BadFrame {
    /// The length is beyond what a frame may have, or below what it must.
    #[error("a frame of {0} bytes")]
    Length(usize),
    /// Another protocol.
    #[error("version {0} of the protocol")]
    Version(u8),
    /// A kind that this version does not have.
    #[error("a frame of kind {0}")]
    Kind(u8),
    /// The bytes of a message are none.
    #[error("not a message")]
    Message(#[source] postcard::Error),
    /// Bytes behind the end.
    #[error("bytes behind the end of a frame")]
    Trailing,
    /// A frame that does not belong here: a second [`Frame::Adopted`], or another before it.
    #[error("a frame at the wrong time")]
    Unexpected,
}

/// A message that is longer than a frame holds.
#[derive(Debug, thiserror::Error)]
#[error("a message is longer than a frame")]
pub struct TooLong;

impl Frame {
    /// The bytes on the wire.
    ///
    /// # Errors
    ///
    /// [`TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, TooLong> {
        let (kind, body) = match self {
            Self::Adopted => (ADOPTED, Vec::new()),
            Self::Heartbeat => (HEARTBEAT, Vec::new()),
            Self::Message(message) => (
                MESSAGE,
                postcard::to_allocvec(message).map_err(|_| TooLong)?,
            ),
        };
        if body.len() > MESSAGE_MAX {
            return Err(TooLong);
        }
        let length = u16::try_from(body.len().saturating_add(HEAD)).map_err(|_| TooLong)?;
        let mut bytes = Vec::with_capacity(body.len().saturating_add(LENGTH + HEAD));
        bytes.extend(length.to_be_bytes());
        bytes.extend([VERSION, kind]);
        bytes.extend(body);
        Ok(bytes)
    }

    fn decode(frame: &[u8]) -> Result<Self, BadFrame> {
        let [version, kind, body @ ..] = frame else {
            return Err(BadFrame::Length(frame.len()));
        };
        if *version != VERSION {
            return Err(BadFrame::Version(*version));
        }
        let (frame, rest) = match *kind {
            ADOPTED => (Self::Adopted, body),
            HEARTBEAT => (Self::Heartbeat, body),
            MESSAGE => {
                let (message, rest) = postcard::take_from_bytes(body).map_err(BadFrame::Message)?;
                (Self::Message(message), rest)
            }
            kind => return Err(BadFrame::Kind(kind)),
        };
        if rest.is_empty() {
            Ok(frame)
        } else {
            Err(BadFrame::Trailing)
        }
    }
}

/// Puts frames together again from what a connection delivers.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// What of them was given out.
    taken: usize,
}

impl Decoder {
    /// Takes what was read. To be called only once [`Decoder::frame`] has said `None`.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken.min(self.bytes.len()));
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame.
    ///
    /// # Errors
    ///
    /// [`BadFrame`]; what follows cannot be read either.
    pub fn frame(&mut self) -> Result<Option<Frame>, BadFrame> {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes(*length));
        if !(HEAD..=HEAD + MESSAGE_MAX).contains(&length) {
            return Err(BadFrame::Length(length));
        }
        let Some(frame) = rest.get(..length) else {
            return Ok(None);
        };
        let frame = Frame::decode(frame)?;
        self.taken = self.taken.saturating_add(LENGTH).saturating_add(length);
        Ok(Some(frame))
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]
mod tests {
    use super::*;
    use bartizan_model::ids::{Epoch, NodeId, TunnelId};
    use bartizan_model::message::PeerToEngine;
    use proptest::prelude::*;

    fn message(epoch: u64) -> Frame {
        Frame::Message(Box::new(PeerMessage::Switched {
            tunnel: TunnelId(7),
            epoch: Epoch(epoch),
        }))
    }

    fn lease(length: usize) -> Frame {
        Frame::Message(Box::new(PeerMessage::Lease(vec![0xa5; length])))
    }

    fn decode(bytes: &[u8]) -> Result<Vec<Frame>, BadFrame> {
        let mut decoder = Decoder::default();
        decoder.feed(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.frame()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn the_wire_form_stands() {
        assert_eq!(Frame::Adopted.encode().unwrap(), [0, 2, 1, 0]);
        assert_eq!(Frame::Heartbeat.encode().unwrap(), [0, 2, 1, 1]);
        assert_eq!(
            lease(3).encode().unwrap(),
            [0, 7, 1, 2, 0, 3, 0xa5, 0xa5, 0xa5]
        );
    }

    #[test]
    fn the_longest_message_passes_and_fits_the_edge_to_the_engine() {
        // Its variant and its length take three bytes.
        let longest = lease(MESSAGE_MAX - 3);
        let bytes = longest.encode().unwrap();
        assert_eq!(bytes.len(), FRAME_MAX);
        assert_eq!(decode(&bytes).unwrap(), std::slice::from_ref(&longest));
        assert!(lease(MESSAGE_MAX - 2).encode().is_err());

        let Frame::Message(message) = longest else {
            unreachable!()
        };
        let from = NodeId::try_from("n".repeat(NodeId::MAX)).unwrap();
        let received = PeerToEngine::Received { from, message };
        assert!(postcard::to_allocvec(&received).unwrap().len() <= Edge::EnginePeer.cap());
    }

    #[test]
    fn what_is_no_frame_is_refused_as_soon_as_it_can_be() {
        for (bytes, what) in [
            (&[0, 0][..], "too short"),
            (&[0, 1], "too short"),
            (&[0xff, 0xff], "too long, known before it comes"),
            (&[0, 2, 2, 1], "another version"),
            (&[0, 2, 1, 3], "another kind"),
            (&[0, 3, 1, 1, 0], "bytes behind the end"),
            (&[0, 2, 1, 2], "no message"),
            (&[0, 3, 1, 2, 99], "another message"),
            (&[0, 6, 1, 2, 0, 1, 9, 9], "bytes behind the message"),
        ] {
            assert!(decode(bytes).is_err(), "{what}");
        }
    }

    proptest! {
        /// However a connection cuts them, the frames are the ones that were sent.
        #[test]
        fn frames_survive_any_cut(
            epochs in proptest::collection::vec(any::<u64>(), 1..8),
            cuts in proptest::collection::vec(1_usize..40, 1..60),
        ) {
            let mut frames: Vec<_> = epochs.into_iter().map(message).collect();
            frames.insert(0, Frame::Adopted);
            frames.push(lease(500));
            frames.push(Frame::Heartbeat);
            let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.encode().unwrap()).collect();
            let mut decoder = Decoder::default();
            let mut came = Vec::new();
            let mut rest = bytes.as_slice();
            for cut in cuts.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(cut.min(rest.len()));
                decoder.feed(now);
                while let Some(frame) = decoder.frame().unwrap() {
                    came.push(frame);
                }
                prop_assert!(decoder.bytes.len() <= FRAME_MAX + 40);
                rest = later;
            }
            prop_assert_eq!(came, frames);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(decode(&bytes));
        }

        /// What is decoded is encoded to no more bytes, so it fits wherever the frame did.
        #[test]
        fn a_decoded_message_is_no_longer_than_its_frame(body in proptest::collection::vec(any::<u8>(), 0..120), kind in 0_u8..10) {
            let mut bytes = vec![0, u8::try_from(body.len() + 3).unwrap(), VERSION, MESSAGE, kind];
            bytes.extend(body);
            if let Ok(frames) = decode(&bytes) {
                for frame in frames {
                    prop_assert!(frame.encode().unwrap().len() <= bytes.len());
                }
            }
        }
    }
}
