//! Names in a folder: the short one that is there always, and the long one before it.

use std::collections::BTreeSet;

/// The short names that a folder has so far.
#[derive(Default)]
pub(super) struct Names {
    taken: BTreeSet<[u8; 11]>,
}

impl Names {
    /// The entries of the long name, 32 bytes each, then the 11 bytes of the short name.
    pub(super) fn entries(&mut self, name: &str) -> Option<Vec<u8>> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
        let plain = !name.is_empty() && name.len() <= 255 && name.bytes().all(allowed);
        (plain && !name.ends_with('.') && !name.starts_with('.')).then_some(())?;
        let (short, whole) = self.short(name)?;
        self.taken.insert(short);
        let mut out = if whole {
            Vec::new()
        } else {
            long(name, checksum(&short))?
        };
        out.extend_from_slice(&short);
        Some(out)
    }

    /// A short name that is free, and whether it says all.
    fn short(&self, name: &str) -> Option<([u8; 11], bool)> {
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let fits = |part: &str, len: usize| {
            part.len() <= len && part.bytes().all(|byte| !b".+".contains(&byte))
        };
        let upper = |part: &str| -> Vec<u8> {
            let known = part.bytes().filter(|byte| *byte != b'.');
            let known = known.map(|byte| if byte == b'+' { b'_' } else { byte });
            known.map(|byte| byte.to_ascii_uppercase()).collect()
        };
        let (stem_upper, extension_upper) = (upper(stem), upper(extension));
        if !stem.is_empty() && fits(stem, 8) && fits(extension, 3) {
            let short = padded(&stem_upper, &extension_upper);
            if !self.taken.contains(&short) {
                return Some((short, name.bytes().all(|byte| !byte.is_ascii_lowercase())));
            }
        }
        (1..10_u8).find_map(|number| {
            let mut stem = stem_upper.clone();
            stem.truncate(6);
            stem.extend_from_slice(&[b'~', b'0'.checked_add(number)?]);
            let short = padded(&stem, &extension_upper);
            (!self.taken.contains(&short)).then_some((short, false))
        })
    }
}

fn padded(stem: &[u8], extension: &[u8]) -> [u8; 11] {
    let mut short = [b' '; 11];
    let (first, last) = short.split_at_mut(8);
    for (place, byte) in first.iter_mut().zip(stem) {
        *place = *byte;
    }
    for (place, byte) in last.iter_mut().zip(extension) {
        *place = *byte;
    }
    short
}

fn checksum(short: &[u8; 11]) -> u8 {
    short
        .iter()
        .fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// The entries of a long name: 13 characters each, the last first.
fn long(name: &str, checksum: u8) -> Option<Vec<u8>> {
    let mut units: Vec<u16> = name.encode_utf16().collect();
    if !units.len().is_multiple_of(13) {
        units.push(0);
    }
    units.resize(units.len().next_multiple_of(13), 0xffff);
    let (parts, _) = units.as_chunks::<13>();
    let mut out = Vec::new();
    let numbered: Vec<_> = (1_u8..).zip(parts).collect();
    for (number, part) in numbered.into_iter().rev() {
        let last = usize::from(number) == parts.len();
        let bytes: Vec<u8> = part.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        out.push(if last { number | 0x40 } else { number });
        out.extend_from_slice(bytes.get(..10)?);
        out.extend_from_slice(&[0x0f, 0, checksum]);
        out.extend_from_slice(bytes.get(10..22)?);
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(bytes.get(22..)?);
    }
    Some(out)
}
