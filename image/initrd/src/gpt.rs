//! The partition table of a disk (UEFI 2.10, 5.3), read only.
//!
//! The kernel has judged the table before it made the partitions' devices; here only the unique ids are read, which the
//! kernel of Linux 6.1 does not tell.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

/// The most entries that are looked at; every tool writes 128.
const ENTRIES_MAX: u32 = 256;

/// The unique id of each used entry with the partition's number.
pub(crate) fn partitions(disk: &mut File, sector: u64) -> io::Result<Vec<(u32, u128)>> {
    let mut header = [0; 92];
    disk.seek(SeekFrom::Start(sector))?;
    disk.read_exact(&mut header)?;
    if header.get(..8) != Some(b"EFI PART") {
        return Ok(Vec::new());
    }
    let first = u64::from_le_bytes(field(&header, 72)?);
    let count = u32::from_le_bytes(field(&header, 80)?).min(ENTRIES_MAX);
    let size = u32::from_le_bytes(field(&header, 84)?);
    if !(128..=4096).contains(&size) {
        return Err(malformed());
    }
    disk.seek(SeekFrom::Start(
        first.checked_mul(sector).ok_or_else(malformed)?,
    ))?;
    let size = usize::try_from(size).map_err(|_| malformed())?;
    let mut entry = vec![0; size];
    let mut found = Vec::new();
    for number in 1..=count {
        disk.read_exact(&mut entry)?;
        let kind: [u8; 16] = field(&entry, 0)?;
        if kind != [0; 16] {
            found.push((number, id(field(&entry, 16)?)));
        }
    }
    Ok(found)
}

/// The id whose digits the tools write: on the disk the first three fields are little-endian (UEFI 2.10, appendix A).
fn id(mut guid: [u8; 16]) -> u128 {
    for field in [0..4, 4..6, 6..8] {
        if let Some(field) = guid.get_mut(field) {
            field.reverse();
        }
    }
    u128::from_be_bytes(guid)
}

fn field<const SIZE: usize>(bytes: &[u8], at: usize) -> io::Result<[u8; SIZE]> {
    let rest = bytes.get(at..).ok_or_else(malformed)?;
    rest.first_chunk().copied().ok_or_else(malformed)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no partition table")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn disk(third: Option<[u8; 16]>, entry_size: u32) -> File {
        let mut bytes = vec![0; 64 * 512];
        bytes[512..520].copy_from_slice(b"EFI PART");
        bytes[584..592].copy_from_slice(&2_u64.to_le_bytes());
        bytes[592..596].copy_from_slice(&128_u32.to_le_bytes());
        bytes[596..600].copy_from_slice(&entry_size.to_le_bytes());
        if let Some(guid) = third {
            bytes[1280] = 1;
            bytes[1296..1312].copy_from_slice(&guid);
        }
        let path = std::env::temp_dir().join(format!(
            "bartizan-gpt-{}-{entry_size}-{}",
            std::process::id(),
            third.is_some()
        ));
        let mut file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write_all(&bytes).unwrap();
        file
    }

    #[test]
    fn ids_are_read_as_the_kernel_and_the_tools_write_them() {
        let guid = core::array::from_fn(|place| u8::try_from(place).unwrap());
        let found = partitions(&mut disk(Some(guid), 128), 512).unwrap();
        assert_eq!(found, [(3, 0x0302_0100_0504_0706_0809_0a0b_0c0d_0e0f)]);
    }

    #[test]
    fn a_table_with_impossible_entries_is_refused_and_none_is_empty() {
        assert!(partitions(&mut disk(None, 64), 512).is_err());
        let found = partitions(&mut disk(Some([7; 16]), 128), 4096).unwrap();
        assert_eq!(found, []);
    }
}
