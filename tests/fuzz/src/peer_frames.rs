//! What a connection with a peer gateway delivers.

use bartizan_peer::frame::{Decoder, FRAME_MAX, Frame};

/// The first byte is how many of the others come at once.
pub(super) fn peer_frames(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else {
        return;
    };
    let (whole, whole_ended) = decode(bytes, bytes.len().max(1));
    let (parts, parts_ended) = decode(bytes, usize::from(*cut).max(1));
    assert_eq!(whole, parts, "it does not matter how the bytes come");
    assert_eq!(whole_ended, parts_ended);
    for frame in whole {
        let bytes = frame.encode().expect("what was read can be written");
        assert!(bytes.len() <= FRAME_MAX);
        assert_eq!(decode(&bytes, FRAME_MAX), (vec![frame], false));
    }
}

/// The frames, and whether something that is none came after them.
fn decode(bytes: &[u8], cut: usize) -> (Vec<Frame>, bool) {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for part in bytes.chunks(cut) {
        decoder.feed(part);
        loop {
            match decoder.frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
    }
    (frames, false)
}
