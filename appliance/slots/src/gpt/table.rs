//! One table, from and to its two copies.

use super::crc32::crc32;
use super::guid::Guid;

/// How many entries a table has.
pub const ENTRIES: usize = 128;

const ENTRY: usize = 128;
const ARRAY: usize = 16_384;
const HEADER: usize = 92;
const SIGNATURE: [u8; 8] = *b"EFI PART";
const REVISION: u32 = 0x0001_0000;

/// Which copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Replica {
    /// At the beginning of the disk; it counts if it is whole.
    Primary,
    /// At its end; it counts where the primary does not.
    Backup,
}

/// A table: what both copies say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Table {
    disk: Guid,
    sector_size: u32,
    sectors: u64,
    /// The first and the last sector that a partition may have.
    usable: (u64, u64),
    entries: Vec<[u8; ENTRY]>,
}

/// An entry that is used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Partition {
    /// What it is for.
    pub kind: Guid,
    /// Its own name: the PARTUUID.
    pub id: Guid,
    /// Its first sector.
    pub first: u64,
    /// Its last sector.
    pub last: u64,
    /// Its label: up to 36 characters of ASCII.
    pub label: String,
}

/// The bytes of one copy and where they go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Image {
    /// Byte offset of the header's sector.
    pub header_offset: u64,
    /// The header's sector.
    pub header: Vec<u8>,
    /// Byte offset of the entries.
    pub entries_offset: u64,
    /// The entries.
    pub entries: Vec<u8>,
}

/// Why there is no such table.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TableError {
    /// A sector has another size, or the disk is too small.
    #[error("the disk has a size that no partition table fits")]
    Geometry,
    /// The copy is damaged, or of a form that is not ours.
    #[error("the partition table's copy is not whole")]
    Damaged,
    /// Partitions overlap, are empty, are out of bounds, or have a label that does not fit.
    #[error("the partitions do not fit the disk")]
    Partitions,
    /// There is no such entry.
    #[error("the partition table has no such entry")]
    NoEntry,
}

impl Table {
    /// Makes a table of these partitions.
    ///
    /// # Errors
    ///
    /// [`TableError`] if they do not fit a disk of this size.
    pub fn new(
        disk: Guid,
        sector_size: u32,
        sectors: u64,
        partitions: &[Partition],
    ) -> Result<Self, TableError> {
        let mut table = Self {
            disk,
            sector_size,
            sectors,
            usable: usable(sector_size, sectors)?,
            entries: vec![[0; ENTRY]; ENTRIES],
        };
        let (first, last) = table.usable;
        let mut free = first;
        for (entry, partition) in table.entries.iter_mut().zip(partitions) {
            if partition.first < free || partition.last < partition.first || partition.last > last {
                return Err(TableError::Partitions);
            }
            free = partition.last.saturating_add(1);
            *entry = encode_entry(partition).ok_or(TableError::Partitions)?;
        }
        if partitions.len() > ENTRIES {
            return Err(TableError::Partitions);
        }
        Ok(table)
    }

    /// Byte offset of a copy's header and of its entries.
    ///
    /// # Errors
    ///
    /// [`TableError::Geometry`] if no table fits the disk.
    pub fn places(
        sector_size: u32,
        sectors: u64,
        replica: Replica,
    ) -> Result<(u64, u64), TableError> {
        let array = array_sectors(sector_size)?;
        // One sector of MBR, two headers, two arrays, and something between them.
        let least = array.saturating_mul(2).saturating_add(4);
        if sectors < least {
            return Err(TableError::Geometry);
        }
        let (header, entries) = match replica {
            Replica::Primary => (1, 2),
            Replica::Backup => {
                let header = sectors.saturating_sub(1);
                (header, header.saturating_sub(array))
            }
        };
        let bytes = |sector: u64| {
            sector
                .checked_mul(sector_size.into())
                .ok_or(TableError::Geometry)
        };
        Ok((bytes(header)?, bytes(entries)?))
    }

    /// The bytes of the entries, which [`Self::parse`] takes.
    pub const fn entries_len() -> usize {
        ARRAY
    }

    /// Reads one copy: the sector of its header, and its entries.
    ///
    /// # Errors
    ///
    /// [`TableError::Damaged`] if the copy is not whole, or is not of the one form that a disk of
    /// ours has.
    pub fn parse(
        header: &[u8],
        entries: &[u8],
        sector_size: u32,
        sectors: u64,
        replica: Replica,
    ) -> Result<Self, TableError> {
        let number = |at: usize| {
            let bytes = header.get(at..)?.first_chunk::<8>()?;
            Some(u64::from_le_bytes(*bytes))
        };
        let disk = header.get(56..).and_then(<[u8]>::first_chunk::<16>);
        let (Some(first), Some(last), Some(disk)) = (number(40), number(48), disk) else {
            return Err(TableError::Damaged);
        };
        let (entries, rest) = entries.as_chunks::<ENTRY>();
        if entries.len() != ENTRIES || !rest.is_empty() {
            return Err(TableError::Damaged);
        }
        let table = Self {
            disk: Guid(*disk).reordered(),
            sector_size,
            sectors,
            usable: (first, last),
            entries: entries.to_vec(),
        };
        // All the rest of a header follows from these.
        let expected = table.image(replica)?;
        if header.get(..HEADER) != expected.header.get(..HEADER) {
            return Err(TableError::Damaged);
        }
        table.check()?;
        Ok(table)
    }

    /// The bytes of one copy.
    ///
    /// # Errors
    ///
    /// [`TableError::Geometry`] if no table fits the disk.
    pub fn image(&self, replica: Replica) -> Result<Image, TableError> {
        let (header_offset, entries_offset) =
            Self::places(self.sector_size, self.sectors, replica)?;
        let entries = self.entries.concat();
        let mut header = self.header(replica, entries_offset, &entries)?;
        header.resize(
            usize::try_from(self.sector_size).map_err(|_| TableError::Geometry)?,
            0,
        );
        Ok(Image {
            header_offset,
            header,
            entries_offset,
            entries,
        })
    }

    /// The used entries and their numbers, counted from 1 as the kernel does.
    pub fn partitions(&self) -> impl Iterator<Item = (usize, Partition)> + '_ {
        (1..).zip(&self.entries).filter_map(|(number, entry)| {
            let partition = decode_entry(entry)?;
            (partition.kind != Guid::UNUSED).then_some((number, partition))
        })
    }

    /// Gives an entry another PARTUUID.
    ///
    /// # Errors
    ///
    /// [`TableError::NoEntry`] if the entry is not used.
    pub fn rename(&mut self, number: usize, id: Guid) -> Result<(), TableError> {
        let entry = number
            .checked_sub(1)
            .and_then(|index| self.entries.get_mut(index))
            .ok_or(TableError::NoEntry)?;
        if entry.first_chunk::<16>() == Some(&Guid::UNUSED.0) {
            return Err(TableError::NoEntry);
        }
        let stored = id.reordered();
        entry
            .get_mut(16..32)
            .ok_or(TableError::NoEntry)?
            .copy_from_slice(&stored.0);
        Ok(())
    }

    /// Bytes a sector.
    pub const fn sector_size(&self) -> u32 {
        self.sector_size
    }

    /// The first and the last sector that a partition may have.
    pub const fn usable(&self) -> (u64, u64) {
        self.usable
    }

    fn header(&self, replica: Replica, entries: u64, array: &[u8]) -> Result<Vec<u8>, TableError> {
        let (first, last) = self.usable;
        let end = self.sectors.saturating_sub(1);
        let (here, there) = match replica {
            Replica::Primary => (1, end),
            Replica::Backup => (end, 1),
        };
        let entries = entries
            .checked_div(self.sector_size.into())
            .ok_or(TableError::Geometry)?;
        let mut after_crc = Vec::with_capacity(HEADER);
        after_crc.extend_from_slice(&0_u32.to_le_bytes());
        for sector in [here, there, first, last] {
            after_crc.extend_from_slice(&sector.to_le_bytes());
        }
        after_crc.extend_from_slice(&self.disk.reordered().0);
        after_crc.extend_from_slice(&entries.to_le_bytes());
        for number in [128_u32, 128, crc32(array)] {
            after_crc.extend_from_slice(&number.to_le_bytes());
        }
        let mut header = SIGNATURE.to_vec();
        header.extend_from_slice(&REVISION.to_le_bytes());
        header.extend_from_slice(&92_u32.to_le_bytes());
        let crc = crc32(&[header.as_slice(), &[0; 4], &after_crc].concat());
        header.extend_from_slice(&crc.to_le_bytes());
        header.extend_from_slice(&after_crc);
        Ok(header)
    }

    /// Partitions lie within the disk and apart from each other.
    fn check(&self) -> Result<(), TableError> {
        let (first, last) = self.usable;
        let widest = usable(self.sector_size, self.sectors)?;
        if first < widest.0 || last > widest.1 {
            return Err(TableError::Damaged);
        }
        let mut spans: Vec<(u64, u64)> = self
            .partitions()
            .map(|(_, partition)| (partition.first, partition.last))
            .collect();
        spans.sort_unstable();
        let mut free = first;
        for (begin, end) in spans {
            if begin < free || end < begin || end > last {
                return Err(TableError::Damaged);
            }
            free = end.saturating_add(1);
        }
        Ok(())
    }
}

/// The first sector of a disk with such a table: whatever knows MBR only finds it full.
pub fn protective_mbr(sectors: u64) -> [u8; 512] {
    let mut mbr = [0; 512];
    let size = u32::try_from(sectors.saturating_sub(1)).unwrap_or(u32::MAX);
    let mut record = vec![0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0];
    record.extend_from_slice(&size.to_le_bytes());
    if let Some(place) = mbr.get_mut(446..462) {
        place.copy_from_slice(&record);
    }
    if let Some(place) = mbr.last_chunk_mut::<2>() {
        *place = [0x55, 0xaa];
    }
    mbr
}

/// The sectors between the two copies.
fn usable(sector_size: u32, sectors: u64) -> Result<(u64, u64), TableError> {
    let array = array_sectors(sector_size)?;
    Table::places(sector_size, sectors, Replica::Primary)?;
    let last = sectors.saturating_sub(array).saturating_sub(2);
    Ok((array.saturating_add(2), last))
}

fn array_sectors(sector_size: u32) -> Result<u64, TableError> {
    match sector_size {
        512 => Ok(32),
        4096 => Ok(4),
        _ => Err(TableError::Geometry),
    }
}

fn encode_entry(partition: &Partition) -> Option<[u8; ENTRY]> {
    let plain = partition.label.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain || partition.label.len() > 36 {
        return None;
    }
    let mut entry = Vec::with_capacity(ENTRY);
    entry.extend_from_slice(&partition.kind.reordered().0);
    entry.extend_from_slice(&partition.id.reordered().0);
    for number in [partition.first, partition.last, 0] {
        entry.extend_from_slice(&number.to_le_bytes());
    }
    for unit in partition.label.encode_utf16() {
        entry.extend_from_slice(&unit.to_le_bytes());
    }
    entry.resize(ENTRY, 0);
    entry.try_into().ok()
}

fn decode_entry(entry: &[u8; ENTRY]) -> Option<Partition> {
    let (guids, _) = entry.as_chunks::<16>();
    let (numbers, _) = entry.as_chunks::<8>();
    let label: Vec<u16> = entry
        .get(56..)?
        .as_chunks::<2>()
        .0
        .iter()
        .map(|unit| u16::from_le_bytes(*unit))
        .take_while(|unit| *unit != 0)
        .collect();
    Some(Partition {
        kind: Guid(*guids.first()?).reordered(),
        id: Guid(*guids.get(1)?).reordered(),
        first: u64::from_le_bytes(*numbers.get(4)?),
        last: u64::from_le_bytes(*numbers.get(5)?),
        label: String::from_utf16_lossy(&label),
    })
}
