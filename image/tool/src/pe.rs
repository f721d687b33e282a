//! EFI images: sections, and the hash that is signed and measured (Windows Authenticode Portable
//! Executable Signature Format, "Calculating the PE Image Hash"). 64-bit images only.

use bartizan_evidence::quote::Digest;
use sha2::{Digest as _, Sha256};

/// The most sections of an image.
pub const SECTIONS_MAX: usize = 64;

/// An image.
#[derive(Clone, Debug)]
pub struct Pe<'a> {
    bytes: &'a [u8],
    /// Offset of the optional header.
    optional: usize,
    headers: usize,
    certificates: usize,
    sections: Vec<Section<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct Section<'a> {
    name: &'a [u8],
    begin: usize,
    raw: &'a [u8],
    /// Bytes that are more than padding.
    used: usize,
}

/// Bytes are no such image.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a 64-bit EFI image")]
pub struct PeError;

impl<'a> Pe<'a> {
    /// Reads the headers of an image.
    ///
    /// # Errors
    ///
    /// [`PeError`] if it is none, or one that refers beyond its end.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PeError> {
        Self::read(bytes).ok_or(PeError)
    }

    fn read(bytes: &'a [u8]) -> Option<Self> {
        bytes.starts_with(b"MZ").then_some(())?;
        let coff = number(bytes, 0x3c)?;
        (bytes.get(coff..)?.first_chunk::<4>()? == b"PE\0\0").then_some(())?;
        let count = short(bytes, coff.checked_add(6)?)?;
        let optional_len = short(bytes, coff.checked_add(20)?)?;
        let optional = coff.checked_add(24)?;
        // PE32+, with a directory of certificates.
        (short(bytes, optional)? == 0x20b).then_some(())?;
        (number(bytes, optional.checked_add(108)?)? > 4).then_some(())?;
        let headers = number(bytes, optional.checked_add(60)?)?;
        let certificates = number(bytes, optional.checked_add(DIRECTORY + 4)?)?;
        (headers <= bytes.len() && count <= SECTIONS_MAX).then_some(())?;
        let table = optional.checked_add(optional_len)?;
        (table.checked_add(count.checked_mul(40)?)? <= headers).then_some(())?;
        (optional.checked_add(DIRECTORY + 8)? <= table).then_some(())?;
        let (entries, _) = bytes.get(table..)?.as_chunks::<40>();
        let sections = entries.iter().take(count).map(|entry| {
            let begin = number(entry, 20)?;
            let raw = bytes.get(begin..begin.checked_add(number(entry, 16)?)?)?;
            Some(Section {
                name: entry.get(..8)?.split(|byte| *byte == 0).next()?,
                begin,
                raw,
                used: number(entry, 8)?.min(raw.len()),
            })
        });
        Some(Self {
            bytes,
            optional,
            headers,
            certificates,
            sections: sections.collect::<Option<_>>()?,
        })
    }

    /// What a section holds, without padding.
    pub fn section(&self, name: &str) -> Option<&'a [u8]> {
        let section = self
            .sections
            .iter()
            .find(|one| one.name == name.as_bytes())?;
        section.raw.get(..section.used)
    }

    /// The certificate table: empty if the image is not signed.
    pub fn certificates(&self) -> &'a [u8] {
        let begin = self.bytes.len().saturating_sub(self.certificates);
        self.bytes.get(begin..).unwrap_or_default()
    }

    /// The hash that is signed, and that the firmware measures.
    ///
    /// # Errors
    ///
    /// [`PeError`] if parts of the image overlap.
    pub fn authenticode(&self) -> Result<Digest, PeError> {
        self.hash().ok_or(PeError)
    }

    fn hash(&self) -> Option<Digest> {
        let checksum = self.optional.checked_add(64)?;
        let directory = self.optional.checked_add(DIRECTORY)?;
        let mut hash = Sha256::new();
        hash.update(self.bytes.get(..checksum)?);
        hash.update(self.bytes.get(checksum.checked_add(4)?..directory)?);
        hash.update(self.bytes.get(directory.checked_add(8)?..self.headers)?);
        let mut sections = self.sections.clone();
        sections.retain(|section| !section.raw.is_empty());
        sections.sort_by_key(|section| section.begin);
        let mut hashed = self.headers;
        for section in sections {
            hash.update(section.raw);
            hashed = hashed.checked_add(section.raw.len())?;
        }
        let end = self.bytes.len().checked_sub(self.certificates)?;
        hash.update(self.bytes.get(hashed..end)?);
        Some(hash.finalize().into())
    }
}

/// The data directory's entry of certificates, from the optional header's beginning.
const DIRECTORY: usize = 144;

fn short(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_le_bytes(*number).into())
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*number)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One page of headers, one section, a certificate table of 8 bytes.
    fn image() -> Vec<u8> {
        let mut bytes = vec![0; 0x200 + 0x200 + 8];
        let mut put = |at: usize, value: &[u8]| {
            bytes[at..at.checked_add(value.len()).unwrap()].copy_from_slice(value);
        };
        put(0, b"MZ");
        put(0x3c, &0x40_u32.to_le_bytes());
        put(0x40, b"PE\0\0");
        put(0x46, &1_u16.to_le_bytes());
        put(0x54, &240_u16.to_le_bytes());
        put(0x58, &0x20b_u16.to_le_bytes());
        put(0x58 + 60, &0x200_u32.to_le_bytes());
        put(0x58 + 64, &[1, 2, 3, 4]);
        put(0x58 + 108, &16_u32.to_le_bytes());
        put(0x58 + 148, &8_u32.to_le_bytes());
        put(0x148, b".osrel\0\0");
        put(0x150, &5_u32.to_le_bytes());
        put(0x158, &0x200_u32.to_le_bytes());
        put(0x15c, &0x200_u32.to_le_bytes());
        put(0x200, b"hello");
        put(0x400, b"SIGNED!!");
        bytes
    }

    #[test]
    fn sections_have_what_is_used_of_them() {
        let bytes = image();
        let pe = Pe::parse(&bytes).unwrap();
        assert_eq!(pe.section(".osrel"), Some(b"hello".as_slice()));
        assert_eq!(pe.section(".linux"), None);
        assert_eq!(pe.certificates(), b"SIGNED!!");
    }

    #[test]
    fn the_hash_leaves_out_what_signing_changes_and_nothing_else() {
        let bytes = image();
        let hash = |bytes: &[u8]| Pe::parse(bytes).unwrap().authenticode().unwrap();
        let good = hash(&bytes);
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x80;
            let left_out = (0x58 + 64..0x58 + 68).contains(&at)
                || (0x58 + 144..0x58 + 148).contains(&at)
                || at >= 0x400;
            if let Ok(pe) = Pe::parse(&other)
                && let Ok(hash) = pe.authenticode()
            {
                assert_eq!(hash == good, left_out, "{at:#x}");
            }
        }
    }

    #[test]
    fn images_that_refer_beyond_their_end_are_none() {
        let bytes = image();
        for len in 0..0x400 {
            assert!(Pe::parse(&bytes[..len]).is_err(), "{len}");
        }
    }
}
