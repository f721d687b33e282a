//! Bytes of netlink messages, laid down and read: host byte order, padded to 4 (linux/netlink.h).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;

/// Bytes of `struct nlattr`.
const ATTRIBUTE_HEADER: usize = 4;

/// Netlink pads messages and attributes to this.
const ALIGN: usize = 4;

/// A message does not fit into what is left of the buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a netlink message does not fit into its buffer")]
pub struct NoRoom;

/// Writes one message in place, so that a key in it has no other copy.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
    full: bool,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self {
            buffer,
            len: 0,
            full: false,
        }
    }

    /// Writes a message: its header, then what `body` writes.
    pub(crate) fn message(
        mut self,
        kind: u16,
        flags: u16,
        seq: u32,
        body: impl FnOnce(&mut Self),
    ) -> Result<usize, NoRoom> {
        self.u32(0);
        self.u16(kind);
        self.u16(flags);
        self.u32(seq);
        self.u32(0);
        body(&mut self);
        let len = u32::try_from(self.len).map_err(|_| NoRoom)?;
        self.align(ALIGN);
        if self.full {
            // What was written of it may be a key.
            self.buffer.fill(0);
            return Err(NoRoom);
        }
        self.replace(0, &len.to_ne_bytes());
        Ok(self.len)
    }

    /// Writes an attribute: its header, then what `body` writes.
    pub(crate) fn attribute(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.len;
        self.u16(0);
        self.u16(kind);
        body(self);
        match u16::try_from(self.len.saturating_sub(start)) {
            Ok(len) => self.replace(start, &len.to_ne_bytes()),
            Err(_) => self.full = true,
        }
        self.align(ALIGN);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        if let Some(room) = self.room(bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    pub(crate) fn zeros(&mut self, count: usize) {
        if let Some(room) = self.room(count) {
            room.fill(0);
        }
    }

    /// Takes the next `count` bytes, to be filled by the caller.
    pub(crate) fn room(&mut self, count: usize) -> Option<&mut [u8]> {
        let end = self.len.checked_add(count);
        let Some(end) = end.filter(|end| *end <= self.buffer.len() && !self.full) else {
            self.full = true;
            return None;
        };
        let start = core::mem::replace(&mut self.len, end);
        self.buffer.get_mut(start..end)
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_ne_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_ne_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_ne_bytes());
    }

    pub(crate) fn be16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn be32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// `xfrm_address_t`: 16 bytes, an IPv4 address in the first four.
    pub(crate) fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => {
                self.bytes(&v4.octets());
                self.zeros(12);
            }
            IpAddr::V6(v6) => self.bytes(&v6.octets()),
        }
    }

    /// Pads with zeros to a multiple of `unit`, counted from the message's start.
    pub(crate) fn align(&mut self, unit: usize) {
        let end = self.len.next_multiple_of(unit);
        self.zeros(end.saturating_sub(self.len));
    }

    /// Makes the message one that does not fit.
    pub(crate) fn give_up(&mut self) {
        self.full = true;
    }

    fn replace(&mut self, at: usize, bytes: &[u8]) {
        let end = at.saturating_add(bytes.len());
        match self.buffer.get_mut(at..end) {
            Some(place) => place.copy_from_slice(bytes),
            None => self.full = true,
        }
    }
}

/// Reads fields off the front of foreign bytes; `None` where they end too early.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn skip(&mut self, count: usize) -> Option<()> {
        self.bytes(count).map(|_| ())
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_ne_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_ne_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_ne_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_ne_bytes)
    }

    pub(crate) fn be16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn be32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// `xfrm_address_t`, whose family stands elsewhere.
    pub(crate) fn address(&mut self) -> Option<RawAddress> {
        self.array().map(RawAddress)
    }

    /// Takes the next message or attribute body of `len` bytes and the padding after it, which the
    /// last one may lack.
    fn padded(&mut self, len: usize) -> Option<&'a [u8]> {
        let body = self.bytes(len)?;
        let padding = len.next_multiple_of(ALIGN).saturating_sub(len);
        self.skip(padding.min(self.0.len()))?;
        Some(body)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }
}

/// The 16 bytes of an address whose family stands elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawAddress([u8; 16]);

impl RawAddress {
    /// The address; `None` for a family that is neither IPv4 nor IPv6.
    pub(crate) fn of_family(self, family: u16) -> Option<IpAddr> {
        match family {
            AF_INET => {
                let [a, b, c, d, ..] = self.0;
                Some(Ipv4Addr::new(a, b, c, d).into())
            }
            AF_INET6 => Some(Ipv6Addr::from(self.0).into()),
            _ => None,
        }
    }
}

/// `AF_INET`.
pub(crate) const AF_INET: u16 = 2;

/// `AF_INET6`.
pub(crate) const AF_INET6: u16 = 10;

/// The family of an address.
pub(crate) fn family(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

/// One message of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) seq: u32,
    pub(crate) body: &'a [u8],
}

/// Takes the next message off a datagram; `None` at its end or where it makes no sense.
pub(crate) fn next_frame<'a>(datagram: &mut Reader<'a>) -> Option<Frame<'a>> {
    let len = usize::try_from(datagram.u32()?).ok()?;
    let kind = datagram.u16()?;
    let flags = datagram.u16()?;
    let seq = datagram.u32()?;
    datagram.skip(4)?;
    let body = datagram.padded(len.checked_sub(HEADER)?)?;
    Some(Frame {
        kind,
        flags,
        seq,
        body,
    })
}

/// Finds the first attribute of a kind.
pub(crate) fn attribute(attributes: Reader<'_>, wanted: u16) -> Option<&[u8]> {
    let mut rest = attributes;
    loop {
        let len = usize::from(rest.u16()?);
        // The two top bits are flags (nested, network byte order).
        let kind = rest.u16()? & 0x3fff;
        let body = rest.padded(len.checked_sub(ATTRIBUTE_HEADER)?)?;
        if kind == wanted {
            return Some(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_padded_and_its_length_is_not() {
        let mut buffer = [0xff; 64];
        let len = Writer::new(&mut buffer)
            .message(0x10, 5, 7, |w| w.attribute(18, |w| w.bytes(b"abcde")))
            .unwrap();
        assert_eq!(len, 28);
        let mut reader = Reader::new(&buffer[..len]);
        let frame = next_frame(&mut reader).unwrap();
        assert!(reader.is_empty());
        assert_eq!((frame.kind, frame.flags, frame.seq), (0x10, 5, 7));
        assert_eq!(
            attribute(Reader::new(frame.body), 18),
            Some(b"abcde".as_slice())
        );
        assert_eq!(attribute(Reader::new(frame.body), 17), None);
    }

    #[test]
    fn what_does_not_fit_leaves_nothing_behind() {
        let mut buffer = [0; 24];
        let outcome = Writer::new(&mut buffer).message(1, 0, 0, |w| w.bytes(&[7; 9]));
        assert_eq!(outcome, Err(NoRoom));
        assert_eq!(buffer, [0; 24]);
    }
}
