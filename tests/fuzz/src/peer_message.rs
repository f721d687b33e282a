//! What a peer gateway says.

use bartizan_model::message::PeerMessage;

/// The wire form of the peer link.
pub(super) fn peer_message(data: &[u8]) {
    let Ok(message) = postcard::from_bytes::<PeerMessage>(data) else {
        return;
    };
    let bytes = postcard::to_allocvec(&message).expect("what was read can be written");
    assert!(bytes.len() <= data.len(), "nothing grows on its way");
    let again = postcard::from_bytes::<PeerMessage>(&bytes).expect("and read again");
    assert_eq!(again, message);
}
