//! The few CBOR items that our messages are made of, in the one deterministic form (RFC 8949,
//! 4.2.1).
//!
//! Writing cannot fail. Reading is done by another implementation, and what was read is written
//! again and compared, so the two keep each other honest.

/// A growing CBOR item sequence.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// The bytes written so far.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// A number that is not negative.
    pub fn unsigned(&mut self, value: u64) -> &mut Self {
        self.head(0, value)
    }

    /// The value -1 - `below`.
    pub fn negative(&mut self, below: u64) -> &mut Self {
        self.head(1, below)
    }

    /// A number.
    pub fn int(&mut self, value: i64) -> &mut Self {
        match u64::try_from(value) {
            Ok(value) => self.unsigned(value),
            // !x is -1 - x, so it is never negative here.
            Err(_) => self.negative((!value).unsigned_abs()),
        }
    }

    /// A byte string.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(2, length(bytes)).raw(bytes)
    }

    /// A text string.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.head(3, length(text.as_bytes())).raw(text.as_bytes())
    }

    /// The head of an array; its items follow.
    pub fn array(&mut self, items: u64) -> &mut Self {
        self.head(4, items)
    }

    /// The head of a map; its pairs follow.
    pub fn map(&mut self, pairs: u64) -> &mut Self {
        self.head(5, pairs)
    }

    /// The head of a tag; what it is on follows.
    pub fn tag(&mut self, tag: u64) -> &mut Self {
        self.head(6, tag)
    }

    /// `true`.
    pub fn yes(&mut self) -> &mut Self {
        self.raw(&[0xf5])
    }

    /// `false`.
    pub fn no(&mut self) -> &mut Self {
        self.raw(&[0xf4])
    }

    fn head(&mut self, major: u8, value: u64) -> &mut Self {
        let major = major.wrapping_shl(5);
        if let Ok(value) = u8::try_from(value) {
            if value < 24 {
                self.raw(&[major | value])
            } else {
                self.raw(&[major | 0x18, value])
            }
        } else if let Ok(value) = u16::try_from(value) {
            self.raw(&[major | 0x19]).raw(&value.to_be_bytes())
        } else if let Ok(value) = u32::try_from(value) {
            self.raw(&[major | 0x1a]).raw(&value.to_be_bytes())
        } else {
            self.raw(&[major | 0x1b]).raw(&value.to_be_bytes())
        }
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Writer) -> &mut Writer) -> Vec<u8> {
        let mut writer = Writer::default();
        write(&mut writer);
        writer.into_bytes()
    }

    /// RFC 8949, appendix A.
    #[test]
    fn the_examples_of_the_standard_come_out() {
        assert_eq!(written(|w| w.unsigned(0)), [0x00]);
        assert_eq!(written(|w| w.unsigned(23)), [0x17]);
        assert_eq!(written(|w| w.unsigned(24)), [0x18, 0x18]);
        assert_eq!(written(|w| w.unsigned(100)), [0x18, 0x64]);
        assert_eq!(written(|w| w.unsigned(1000)), [0x19, 0x03, 0xe8]);
        assert_eq!(
            written(|w| w.unsigned(1_000_000)),
            [0x1a, 0x00, 0x0f, 0x42, 0x40]
        );
        assert_eq!(
            written(|w| w.unsigned(1_000_000_000_000)),
            [0x1b, 0x00, 0x00, 0x00, 0xe8, 0xd4, 0xa5, 0x10, 0x00]
        );
        assert_eq!(written(|w| w.int(-1)), [0x20]);
        assert_eq!(written(|w| w.int(-100)), [0x38, 0x63]);
        assert_eq!(written(|w| w.int(-1000)), [0x39, 0x03, 0xe7]);
        assert_eq!(written(|w| w.int(10)), [0x0a]);
        assert_eq!(written(Writer::yes), [0xf5]);
        assert_eq!(written(Writer::no), [0xf4]);
        assert_eq!(
            written(|w| w.bytes(&[1, 2, 3, 4])),
            [0x44, 0x01, 0x02, 0x03, 0x04]
        );
        assert_eq!(written(|w| w.text("IETF")), *b"\x64IETF");
        assert_eq!(
            written(|w| w.array(3).unsigned(1).unsigned(2).unsigned(3)),
            [0x83, 0x01, 0x02, 0x03]
        );
        assert_eq!(
            written(|w| w.map(2).unsigned(1).unsigned(2).unsigned(3).unsigned(4)),
            [0xa2, 0x01, 0x02, 0x03, 0x04]
        );
        assert_eq!(
            written(|w| w.tag(1).unsigned(1_363_896_240)),
            [0xc1, 0x1a, 0x51, 0x4b, 0x67, 0xb0]
        );
    }
}
