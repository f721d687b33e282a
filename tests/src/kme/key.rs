//! Keys and their names, both derived from the link's seed.

use core::fmt::Write as _;

use aws_lc_rs::hmac;

/// One QKD link: what its two KMEs have in common.
///
/// A key's name is a version-8 UUID (RFC 9562, 5.8) that holds a counter, the key's length and a tag
/// over both and over the two SAEs. Only a KME with the seed can make the tag, so the KME at the
/// other end knows an issued name from an invented one without being told.
#[derive(Debug)]
pub struct Link {
    seed: hmac::Key,
}

impl Link {
    /// The link of this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            seed: hmac::Key::new(hmac::HMAC_SHA256, &seed.to_be_bytes()),
        }
    }

    /// The name of the key of `length` bytes that `master` got for `slave` under this `counter`.
    pub fn name(&self, master: &str, slave: &str, counter: u64, length: u8) -> String {
        let [c0, c1, c2, c3, c4, c5, c6, c7] = counter.to_be_bytes();
        let number = [c0, c1, c2, c3, c4, c5, c6, c7, length];
        let tag = self.derive(b"name", &[master.as_bytes(), slave.as_bytes(), &number]);
        let [t0, t1, t2, t3, t4, t5, t6, ..] = tag;
        text([
            c0,
            c1,
            c2,
            c3,
            c4,
            c5,
            0x80 | (t0 & 0x0f),
            t1,
            0x80 | (t2 & 0x3f),
            c6,
            c7,
            length,
            t3,
            t4,
            t5,
            t6,
        ])
    }

    /// The length in bytes of the key that `master` got for `slave` under this name; `None` if no
    /// KME of this link ever issued it to them.
    pub fn recognise(&self, master: &str, slave: &str, name: &str) -> Option<u8> {
        let [c0, c1, c2, c3, c4, c5, _, _, _, c6, c7, length, ..] = bytes(name)?;
        let counter = u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]);
        (self.name(master, slave, counter, length) == name).then_some(length)
    }

    /// The key of this name, `length` bytes.
    pub fn key(&self, name: &str, length: usize) -> Vec<u8> {
        let mut key = Vec::with_capacity(length);
        for block in 0_u32.. {
            if key.len() >= length {
                break;
            }
            key.extend(self.derive(b"key", &[name.as_bytes(), &block.to_be_bytes()]));
        }
        key.truncate(length);
        key
    }

    pub(super) fn derive(&self, label: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = hmac::Context::with_key(&self.seed);
        for part in core::iter::once(&label).chain(parts) {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            mac.update(&length.to_be_bytes());
            mac.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(mac.sign().as_ref());
        out
    }
}

/// 16 bytes as a UUID's text (RFC 9562, 4).
pub(super) fn text(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The bytes of a UUID's text.
pub(super) fn bytes(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != '-')
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| (high << 4) | low).collect();
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_derive_the_same_key_and_another_link_does_not() {
        let (here, there, elsewhere) = (Link::new(7), Link::new(7), Link::new(8));
        let name = here.name("sae-a", "sae-b", u64::MAX - 1, 32);
        assert_eq!(there.recognise("sae-a", "sae-b", &name), Some(32));
        assert_eq!(here.key(&name, 32), there.key(&name, 32));
        assert_ne!(here.key(&name, 32), elsewhere.key(&name, 32));
        assert_eq!(here.key(&name, 80).len(), 80);
    }

    #[test]
    fn a_name_counts_only_for_its_link_and_its_two_saes() {
        let link = Link::new(7);
        let name = link.name("sae-a", "sae-b", 1, 32);
        assert_eq!(link.recognise("sae-b", "sae-a", &name), None);
        assert_eq!(Link::new(8).recognise("sae-a", "sae-b", &name), None);
        for invented in ["", "x", "00000000-0000-8000-8000-000000000000"] {
            assert_eq!(link.recognise("sae-a", "sae-b", invented), None);
        }
        assert_eq!(link.recognise("sae-a", "sae-b", &name.to_uppercase()), None);
    }

    #[test]
    fn a_name_is_a_version_8_uuid() {
        let name = Link::new(7).name("a", "b", 0x0102_0304_0506_0708, 32);
        assert_eq!(name.len(), 36);
        assert!(name.starts_with("01020304-0506-8"), "{name}");
        assert!(matches!(&name[19..20], "8" | "9" | "a" | "b"), "{name}");
    }
}
