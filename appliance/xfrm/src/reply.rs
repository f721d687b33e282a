//! What the kernel says: answers, parts of lists, events.
//!
//! The parser takes any bytes. What makes no sense is [`Said::Unintelligible`], never an error: a
//! kernel that says more than we know is no reason to end.

use bartizan_model::message::SaId;

use crate::numbers::{ESP, extended, flag, message};
use crate::policy::{PolicyShown, template_reqid};
use crate::sa::{SaCounters, SaShown};
use crate::selector::SELECTOR;
use crate::wire::{HEADER, Reader, attribute, next_frame};

/// One message of the kernel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The number of the request it answers; 0 for an event.
    pub seq: u32,
    /// What it says.
    pub said: Said,
}

/// What a message of the kernel says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Said {
    /// The request is carried out.
    Acknowledged,
    /// It is not.
    Refused(Refusal),
    /// What was asked for, or a part of the list.
    Shown(Shown),
    /// The list is complete.
    ListEnds,
    /// Something happened.
    Event(Event),
    /// Nothing that we know.
    Unintelligible,
}

/// What the kernel shows when asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Shown {
    /// An SA: part of a list, or the answer to GETSA or ALLOCSPI.
    Sa(Box<SaShown>),
    /// The answer to GETAE.
    Counters(SaCounters),
    /// A policy: part of a list.
    Policy(Box<PolicyShown>),
}

/// What the kernel reports unasked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// An SA has reached a lifetime; hard: it is gone.
    Expired {
        /// The SA, unless it is none of ours.
        sa: Option<SaId>,
        /// The tunnel's; 0 is none.
        reqid: u32,
        /// Hard, not soft.
        hard: bool,
    },
    /// A packet wants an SA that does not stand.
    Acquire {
        /// The policy's; 0 is none.
        reqid: u32,
    },
}

/// Why the kernel refuses a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The kernel's error number, positive.
    pub errno: i32,
    /// What the kernel says about it (extended ACK); empty if nothing.
    pub text: String,
}

/// Reads a datagram, message by message.
#[derive(Debug)]
pub struct Replies<'a>(Reader<'a>);

impl<'a> Replies<'a> {
    /// Begins with the first.
    pub fn of(datagram: &'a [u8]) -> Self {
        Self(Reader::new(datagram))
    }
}

impl Iterator for Replies<'_> {
    type Item = Reply;

    fn next(&mut self) -> Option<Reply> {
        if self.0.is_empty() {
            return None;
        }
        let Some(frame) = next_frame(&mut self.0) else {
            // Without a length there is no way to the next message.
            self.0 = Reader::new(&[]);
            return Some(Reply {
                seq: 0,
                said: Said::Unintelligible,
            });
        };
        let said = match frame.kind {
            message::ERROR => answer(frame.body, frame.flags),
            message::DONE => list_end(frame.body),
            message::NEWSA | message::UPDSA => {
                SaShown::decode(frame.body).map(|sa| Said::Shown(Shown::Sa(Box::new(sa))))
            }
            message::NEWAE => {
                SaCounters::decode(frame.body).map(|sa| Said::Shown(Shown::Counters(sa)))
            }
            message::NEWPOLICY | message::UPDPOLICY => PolicyShown::decode(frame.body)
                .map(|policy| Said::Shown(Shown::Policy(Box::new(policy)))),
            message::EXPIRE => expiry(frame.body).map(Said::Event),
            message::ACQUIRE => acquire(frame.body).map(Said::Event),
            _ => None,
        };
        Some(Reply {
            seq: frame.seq,
            said: said.unwrap_or(Said::Unintelligible),
        })
    }
}

/// The longest text of a refusal that is kept, in bytes.
const TEXT_MAX: usize = 200;

/// `struct nlmsgerr` and the attributes of an extended ACK.
fn answer(body: &[u8], flags: u16) -> Option<Said> {
    let mut reader = Reader::new(body);
    let code = reader.i32()?;
    if code == 0 {
        return Some(Said::Acknowledged);
    }
    let errno = code.checked_neg().filter(|errno| *errno > 0)?;
    // Without CAPPED the whole request stands before the attributes.
    let request = reader.u32()?;
    reader.skip(HEADER.saturating_sub(4))?;
    if flags & flag::CAPPED == 0 {
        let request = usize::try_from(request).ok()?.next_multiple_of(4);
        reader.skip(request.saturating_sub(HEADER))?;
    }
    let text = if flags & flag::ACK_TLVS == 0 {
        None
    } else {
        attribute(reader, extended::TEXT)
    };
    let text = text.unwrap_or_default();
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = text.get(..TEXT_MAX).unwrap_or(text);
    let printable = |c: char| c == ' ' || c.is_ascii_graphic();
    Some(Said::Refused(Refusal {
        errno,
        text: String::from_utf8_lossy(text)
            .chars()
            .filter(|c| printable(*c))
            .collect(),
    }))
}

/// The end of a list, which carries an error number if it broke off.
fn list_end(body: &[u8]) -> Option<Said> {
    let code = Reader::new(body).i32().unwrap_or(0);
    if code >= 0 {
        return Some(Said::ListEnds);
    }
    Some(Said::Refused(Refusal {
        errno: code.checked_neg()?,
        text: String::new(),
    }))
}

/// `struct xfrm_user_expire`.
fn expiry(body: &[u8]) -> Option<Event> {
    let mut reader = Reader::new(body);
    let sa = SaShown::decode_info(&mut reader)?;
    Some(Event::Expired {
        sa: sa.id(),
        reqid: sa.reqid,
        hard: reader.u8()? != 0,
    })
}

/// `struct xfrm_user_acquire` and its templates.
fn acquire(body: &[u8]) -> Option<Event> {
    let mut reader = Reader::new(body);
    reader.skip(20)?;
    let protocol = reader.u8()?;
    reader.skip(3 + 16 + SELECTOR + POLICY_INFO + 16)?;
    if protocol != ESP {
        return None;
    }
    Some(Event::Acquire {
        reqid: template_reqid(reader)?,
    })
}

/// Bytes of `struct xfrm_userpolicy_info`.
const POLICY_INFO: usize = 168;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    fn said(kind: u16, flags: u16, body: impl FnOnce(&mut Writer<'_>)) -> Said {
        let mut buffer = [0; 512];
        let len = Writer::new(&mut buffer)
            .message(kind, flags, 9, body)
            .unwrap();
        let mut replies = Replies::of(&buffer[..len]);
        let reply = replies.next().unwrap();
        assert_eq!(reply.seq, 9);
        assert_eq!(replies.next(), None);
        reply.said
    }

    #[test]
    fn an_extended_ack_gives_errno_and_text() {
        let refused = said(message::ERROR, flag::CAPPED | flag::ACK_TLVS, |w| {
            w.bytes(&(-22_i32).to_ne_bytes());
            w.zeros(16);
            w.attribute(2, |w| w.u32(7));
            w.attribute(extended::TEXT, |w| w.bytes(b"Invalid address family\0"));
        });
        let refusal = Refusal {
            errno: 22,
            text: "Invalid address family".into(),
        };
        assert_eq!(refused, Said::Refused(refusal));
    }

    #[test]
    fn a_request_that_is_echoed_is_skipped() {
        let refused = said(message::ERROR, flag::ACK_TLVS, |w| {
            w.bytes(&(-3_i32).to_ne_bytes());
            w.u32(16 + 8);
            w.zeros(12 + 8);
            w.attribute(extended::TEXT, |w| w.bytes(b"gone\0"));
        });
        let refusal = Refusal {
            errno: 3,
            text: "gone".into(),
        };
        assert_eq!(refused, Said::Refused(refusal));
    }

    #[test]
    fn the_text_of_a_refusal_is_short_and_printable() {
        let refused = said(message::ERROR, flag::CAPPED | flag::ACK_TLVS, |w| {
            w.bytes(&(-1_i32).to_ne_bytes());
            w.zeros(16);
            w.attribute(extended::TEXT, |w| w.bytes(&[b'\n'; 50]));
        });
        assert!(matches!(refused, Said::Refused(Refusal { text, .. }) if text.is_empty()));
    }

    #[test]
    fn a_list_that_breaks_off_is_refused() {
        let ends = said(message::DONE, 0, |w| w.u32(0));
        assert_eq!(ends, Said::ListEnds);
        let broken = said(message::DONE, 0, |w| w.bytes(&(-4_i32).to_ne_bytes()));
        assert!(matches!(broken, Said::Refused(Refusal { errno: 4, .. })));
    }

    #[test]
    fn nonsense_is_said_to_be_nonsense_once() {
        for bytes in [&[1_u8][..], &[0; 16], &[255; 64], &[17, 0, 0, 0]] {
            let said: Vec<_> = Replies::of(bytes).map(|reply| reply.said).collect();
            assert_eq!(said, [Said::Unintelligible]);
        }
    }
}
