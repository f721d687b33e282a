//! What the kernel says to xfrm.

use bartizan_xfrm::{Replies, Said};

/// A datagram on the netlink socket.
pub(super) fn kernel_reply(data: &[u8]) {
    let replies: Vec<_> = Replies::of(data).collect();
    assert!(
        replies.len() <= data.len() / 16 + 1,
        "more messages than bytes hold"
    );
    for reply in replies {
        if let Said::Refused(refusal) = reply.said {
            assert!(refusal.errno > 0, "a refusal has a reason");
            assert!(refusal.text.len() <= 200, "a text for the journal is short");
            let plain = |c: char| c == ' ' || c.is_ascii_graphic();
            assert!(refusal.text.chars().all(plain), "and plain");
        }
    }
}
