//! DNS messages (RFC 1035), as far as a stub resolver needs them, without I/O.
//!
//! Answers are not trusted: they say where to ask, and what is asked there counts by its signatures
//! alone. They are still read strictly, because anybody can send one.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The most bytes of a message over UDP that no extension was agreed for (RFC 1035, 4.2.1).
pub(crate) const MESSAGE_MAX: usize = 512;

/// The most records of an answer that are looked at.
const RECORDS_MAX: usize = 64;

/// The most pointers that one name follows (RFC 1035, 4.1.4).
const POINTERS_MAX: usize = 8;

/// The most bytes of a name.
const NAME_MAX: usize = 253;

const HEADER: usize = 12;
const INTERNET: u16 = 1;

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses (RFC 3596).
    Aaaa,
    /// Services (RFC 2782).
    Srv,
}

/// What a record says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Record {
    /// An address of the name that was asked for, or of one that it is an alias of.
    Address(IpAddr),
    /// A service: lower priorities first.
    Service {
        priority: u16,
        port: u16,
        host: String,
    },
}

/// Not an answer to the question.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an answer to the question")]
pub(crate) struct BadDns;

impl Kind {
    fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
            Self::Srv => 33,
        }
    }
}

/// Words a question; `None` for a name that cannot be asked for.
pub(crate) fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    if name.is_empty() || name.len() > NAME_MAX {
        return None;
    }
    // One question, recursion wanted.
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let len = u8::try_from(label.len()).ok()?;
        if !(1..=63).contains(&len) {
            return None;
        }
        message.push(len);
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend(kind.number().to_be_bytes());
    message.extend(INTERNET.to_be_bytes());
    Some(message)
}

/// Reads the answer to `question`, as [`question`] worded it. An answer that there is no such name
/// has no records.
pub(crate) fn answer(message: &[u8], question: &[u8], kind: Kind) -> Result<Vec<Record>, BadDns> {
    let header = message.get(..HEADER).ok_or(BadDns)?;
    let asked = question.get(HEADER..).ok_or(BadDns)?;
    let [id_high, id_low, flags, code, 0, 1, many, count, ..] = *header else {
        return Err(BadDns);
    };
    let same_id = question.starts_with(&[id_high, id_low]);
    let is_query_reply = flags & 0xf8 == 0x80;
    let truncated = flags & 0x02 != 0;
    let known_code = matches!(code & 0x0f, 0 | 3);
    if !same_id || !is_query_reply || truncated || !known_code {
        return Err(BadDns);
    }
    let body = message.get(HEADER..).ok_or(BadDns)?;
    // The question is repeated; names are compared without their case (RFC 4343).
    let (repeated, _) = body.split_at_checked(asked.len()).ok_or(BadDns)?;
    if !repeated.eq_ignore_ascii_case(asked) {
        return Err(BadDns);
    }
    let mut at = HEADER.checked_add(asked.len()).ok_or(BadDns)?;
    let mut records = Vec::new();
    let count = usize::from(u16::from_be_bytes([many, count]));
    for _ in 0..count.min(RECORDS_MAX) {
        let (record, next) = read_record(message, at, kind)?;
        records.extend(record);
        at = next;
    }
    Ok(records)
}

/// Reads the record at a place; returns where the next one begins.
fn read_record(message: &[u8], at: usize, kind: Kind) -> Result<(Option<Record>, usize), BadDns> {
    let (_name, at) = read_name(message, at)?;
    let fixed = message.get(at..).and_then(|rest| rest.first_chunk::<10>());
    let [k1, k2, c1, c2, _, _, _, _, l1, l2] = *fixed.ok_or(BadDns)?;
    let is_asked = u16::from_be_bytes([k1, k2]) == kind.number();
    let is_internet = u16::from_be_bytes([c1, c2]) == INTERNET;
    let start = at.checked_add(10).ok_or(BadDns)?;
    let len = usize::from(u16::from_be_bytes([l1, l2]));
    let end = start.checked_add(len).ok_or(BadDns)?;
    let data = message.get(start..end).ok_or(BadDns)?;
    if !is_asked || !is_internet {
        // An alias, mostly: what it stands for follows.
        return Ok((None, end));
    }
    let record = match kind {
        Kind::A => {
            let bytes = <[u8; 4]>::try_from(data).map_err(|_| BadDns)?;
            Record::Address(Ipv4Addr::from(bytes).into())
        }
        Kind::Aaaa => {
            let bytes = <[u8; 16]>::try_from(data).map_err(|_| BadDns)?;
            Record::Address(Ipv6Addr::from(bytes).into())
        }
        Kind::Srv => {
            let [p1, p2, _, _, t1, t2] = *data.first_chunk::<6>().ok_or(BadDns)?;
            let (host, after) = read_name(message, start.checked_add(6).ok_or(BadDns)?)?;
            if after != end {
                return Err(BadDns);
            }
            Record::Service {
                priority: u16::from_be_bytes([p1, p2]),
                port: u16::from_be_bytes([t1, t2]),
                host,
            }
        }
    };
    Ok((Some(record), end))
}

/// Reads the name at a place; returns where what follows it begins.
fn read_name(message: &[u8], mut at: usize) -> Result<(String, usize), BadDns> {
    let mut name = String::new();
    let mut after = None;
    let mut pointers = 0_usize;
    loop {
        let len = *message.get(at).ok_or(BadDns)?;
        let next = at.checked_add(1).ok_or(BadDns)?;
        match len {
            0 => return Ok((name, after.unwrap_or(next))),
            1..=63 => {
                let end = next.checked_add(usize::from(len)).ok_or(BadDns)?;
                let label = message.get(next..end).ok_or(BadDns)?;
                let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
                if !label.iter().all(is_part) || name.len().saturating_add(label.len()) >= NAME_MAX
                {
                    return Err(BadDns);
                }
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(core::str::from_utf8(label).map_err(|_| BadDns)?);
                at = end;
            }
            192..=255 => {
                let low = *message.get(next).ok_or(BadDns)?;
                after = after.or(next.checked_add(1));
                pointers = pointers.saturating_add(1);
                if pointers > POINTERS_MAX {
                    return Err(BadDns);
                }
                at = usize::from(u16::from_be_bytes([len & 0x3f, low]));
            }
            64..=191 => return Err(BadDns),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer with these records, each behind a pointer to the name of the question.
    fn reply(question: &[u8], code: u8, records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = question.to_vec();
        message[2] = 0x81;
        message[3] = 0x80 | code;
        message[7] = u8::try_from(records.len()).unwrap();
        for (kind, data) in records {
            message.extend([0xc0, 12]);
            message.extend(kind.to_be_bytes());
            message.extend([0, 1, 0, 0, 0, 60]);
            message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            message.extend(*data);
        }
        message
    }

    #[test]
    fn addresses_and_services_are_read_aliases_passed_over() {
        let asked = question(7, "a.example", Kind::A).unwrap();
        let message = reply(&asked, 0, &[(5, &[0xc0, 12]), (1, &[192, 0, 2, 1])]);
        let records = answer(&message, &asked, Kind::A).unwrap();
        assert_eq!(records, [Record::Address("192.0.2.1".parse().unwrap())]);

        let asked = question(7, "_sztp._tcp.example", Kind::Srv).unwrap();
        let mut service = vec![0, 1, 0, 2, 1, 0xbb];
        service.extend(b"\x05owner\xc0\x17");
        let message = reply(&asked, 0, &[(33, &service)]);
        let records = answer(&message, &asked, Kind::Srv).unwrap();
        let expected = Record::Service {
            priority: 1,
            port: 443,
            host: "owner.example".into(),
        };
        assert_eq!(records, [expected]);
    }

    #[test]
    fn no_such_name_is_an_answer_without_records() {
        let asked = question(7, "a.example", Kind::Aaaa).unwrap();
        let none = answer(&reply(&asked, 3, &[]), &asked, Kind::Aaaa);
        assert_eq!(none, Ok(vec![]));
    }

    #[test]
    fn what_answers_something_else_is_refused() {
        let asked = question(7, "a.example", Kind::A).unwrap();
        let good = reply(&asked, 0, &[(1, &[192, 0, 2, 1])]);
        let changed = |place: usize, value: u8| {
            let mut message = good.clone();
            message[place] = value;
            message
        };
        for (what, message) in [
            ("another number", changed(1, 8)),
            ("a question", changed(2, 1)),
            ("truncated", changed(2, 0x83)),
            ("a failure", changed(3, 0x82)),
            ("two questions", changed(5, 2)),
            ("another name", changed(13, b'b')),
            ("more records", changed(7, 2)),
            ("cut", good[..good.len() - 1].to_vec()),
        ] {
            assert_eq!(answer(&message, &asked, Kind::A), Err(BadDns), "{what}");
        }
        // A name that points at itself.
        let mut circle = good.clone();
        let at = u8::try_from(asked.len()).unwrap();
        circle[asked.len()] = 0xc0;
        circle[asked.len() + 1] = at;
        assert_eq!(answer(&circle, &asked, Kind::A), Err(BadDns));
    }

    #[test]
    fn a_name_that_cannot_be_asked_for_is_not() {
        for name in ["", ".", "a..b", &"a".repeat(64), &"a.".repeat(200)] {
            assert_eq!(question(1, name, Kind::A), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_bring_it_down(tail: Vec<u8>, kind in 0_u8..3) {
            let kind = [Kind::A, Kind::Aaaa, Kind::Srv][usize::from(kind)];
            let asked = question(7, "a.example", kind).unwrap();
            let mut message = reply(&asked, 0, &[]);
            message[7] = 9;
            message.extend(tail);
            let _any = answer(&message, &asked, kind);
        }
    }
}
