//! A FAT32 file system, made at once (Microsoft, "FAT: General Overview of On-Disk Format", 1.03;
//! UEFI 2.10, 13.3). Files lie one after the other; the same files make the same bytes.

mod name;

use std::borrow::Cow;
use std::collections::BTreeMap;

use name::Names;

/// A file system's size and place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Geometry {
    /// Bytes a sector: 512 or 4096, as the disk has them.
    pub sector_size: u32,
    /// How many sectors it has.
    pub sectors: u32,
    /// How many sectors of the disk are before it.
    pub before: u32,
}

/// Bytes and where they go, from the file system's beginning.
#[derive(Clone, Debug)]
pub struct Extent<'a> {
    /// Byte offset.
    pub offset: u64,
    /// The bytes.
    pub bytes: Cow<'a, [u8]>,
}

/// Why there is no such file system.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FatError {
    /// It has a size that no FAT32 has.
    #[error("the system partition has a size that no FAT32 has")]
    Size,
    /// The files do not fit.
    #[error("the system partition has no room for its files")]
    Full,
    /// A path has other characters than letters, digits, `.`, `_`, `-` and `+`, or is there twice.
    #[error("the system partition cannot have a file of that name")]
    Name,
}

/// Makes a file system with these files, by path without a slash before it.
///
/// All that is not in the extents is free, whatever it holds.
///
/// # Errors
///
/// [`FatError`] if they do not fit.
pub fn format<'a>(
    geometry: Geometry,
    serial: u32,
    files: &[(&str, &'a [u8])],
) -> Result<Vec<Extent<'a>>, FatError> {
    let shape = Shape::of(geometry).ok_or(FatError::Size)?;
    let mut root = Folder::default();
    for (path, contents) in files {
        root.add(path, contents)?;
    }
    let mut clusters = Clusters {
        cluster: CLUSTER,
        chains: vec![0x0fff_fff8, 0x0fff_ffff],
        pieces: Vec::new(),
    };
    clusters.folder(&root, None)?;
    let used = clusters.used();
    if used > shape.clusters {
        return Err(FatError::Full);
    }
    let mut table: Vec<u8> = clusters
        .chains
        .iter()
        .flat_map(|entry| entry.to_le_bytes())
        .collect();
    table.resize(shape.table_len().ok_or(FatError::Size)?, 0);

    let boot = shape.boot_sector(serial);
    let info = shape.information(used);
    let reserved = shape.reserved_area(&boot, &info).ok_or(FatError::Size)?;
    let tables = shape.bytes(RESERVED);
    let second = tables.saturating_add(shape.bytes(shape.table_sectors));
    let mut extents = vec![extent(0, reserved), extent(tables, table.clone())];
    extents.push(extent(second, table));
    for (cluster, bytes) in clusters.pieces {
        let offset = shape.place_of(cluster);
        extents.push(Extent { offset, bytes });
    }
    Ok(extents)
}

/// Bytes a cluster.
const CLUSTER: usize = 4096;
/// Sectors before the tables: boot sector and information, twice.
const RESERVED: u32 = 32;
/// With fewer it would be FAT16, by definition.
const CLUSTERS_MIN: u32 = 65_525;
/// 1 January 1980, the first day that there is.
const DAY: [u8; 2] = [0x21, 0];
const FOLDER: u8 = 0x10;
const FILE: u8 = 0x20;

fn extent(offset: u64, bytes: Vec<u8>) -> Extent<'static> {
    let bytes = Cow::Owned(bytes);
    Extent { offset, bytes }
}

struct Shape {
    geometry: Geometry,
    per_cluster: u32,
    table_sectors: u32,
    clusters: u32,
}

impl Shape {
    fn of(geometry: Geometry) -> Option<Self> {
        let per_cluster = match geometry.sector_size {
            512 => 8,
            4096 => 1,
            _ => return None,
        };
        let space = geometry.sectors.checked_sub(RESERVED)?;
        // As if the tables took no room: a little longer than they need to be.
        let entries = space.checked_div(per_cluster)?.checked_add(2)?;
        let table_sectors = entries.checked_mul(4)?.div_ceil(geometry.sector_size);
        let data = space.checked_sub(table_sectors.checked_mul(2)?)?;
        let clusters = data.checked_div(per_cluster)?;
        (clusters >= CLUSTERS_MIN).then_some(Self {
            geometry,
            per_cluster,
            table_sectors,
            clusters,
        })
    }

    fn bytes(&self, sectors: u32) -> u64 {
        u64::from(sectors).saturating_mul(self.geometry.sector_size.into())
    }

    fn table_len(&self) -> Option<usize> {
        usize::try_from(self.bytes(self.table_sectors)).ok()
    }

    /// Where a cluster begins; the first has the number 2.
    fn place_of(&self, cluster: u32) -> u64 {
        let sectors = self.table_sectors.saturating_mul(2);
        let clusters = u64::from(cluster.saturating_sub(2));
        let inside = clusters.saturating_mul(self.bytes(self.per_cluster));
        self.bytes(RESERVED.saturating_add(sectors))
            .saturating_add(inside)
    }

    fn boot_sector(&self, serial: u32) -> Vec<u8> {
        let short = |number: u32| u16::try_from(number).unwrap_or_default().to_le_bytes();
        let mut out = vec![0xeb, 0x58, 0x90];
        out.extend_from_slice(b"BARTIZAN");
        out.extend_from_slice(&short(self.geometry.sector_size));
        out.push(u8::try_from(self.per_cluster).unwrap_or_default());
        out.extend_from_slice(&short(RESERVED));
        out.push(2); // tables
        out.extend_from_slice(&[0; 4]); // no root of fixed size, and more sectors than 16 bits count
        out.push(0xf8); // not removable
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&[63, 0, 255, 0]); // sectors a track, heads: nobody asks
        for number in [
            self.geometry.before,
            self.geometry.sectors,
            self.table_sectors,
            0, // flags and version
            2, // the root's cluster
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&[1, 0, 6, 0]); // information's sector, the copy of both
        out.extend_from_slice(&[0; 12]);
        out.extend_from_slice(&[0x80, 0, 0x29]);
        out.extend_from_slice(&serial.to_le_bytes());
        out.extend_from_slice(b"NO NAME    FAT32   ");
        out
    }

    fn information(&self, used: u32) -> Vec<u8> {
        let mut out = b"RRaA".to_vec();
        out.resize(484, 0);
        out.extend_from_slice(b"rrAa");
        out.extend_from_slice(&self.clusters.saturating_sub(used).to_le_bytes());
        out.extend_from_slice(&used.saturating_add(2).to_le_bytes());
        out
    }

    fn reserved_area(&self, boot: &[u8], info: &[u8]) -> Option<Vec<u8>> {
        let sector = usize::try_from(self.geometry.sector_size).ok()?;
        let mut area = vec![0; usize::try_from(self.bytes(RESERVED)).ok()?];
        for (number, contents) in [(0_usize, boot), (1, info), (6, boot), (7, info)] {
            let begin = number.checked_mul(sector)?;
            let place = area.get_mut(begin..begin.checked_add(512)?)?;
            place.get_mut(..contents.len())?.copy_from_slice(contents);
            *place.last_chunk_mut::<2>()? = [0x55, 0xaa];
        }
        Some(area)
    }
}

#[derive(Default)]
struct Folder<'a>(BTreeMap<String, Node<'a>>);

enum Node<'a> {
    Folder(Folder<'a>),
    File(&'a [u8]),
}

impl<'a> Folder<'a> {
    fn add(&mut self, path: &str, contents: &'a [u8]) -> Result<(), FatError> {
        let Some((name, rest)) = path.split_once('/') else {
            let node = Node::File(contents);
            let before = self.0.insert(path.to_owned(), node);
            return before.map_or(Ok(()), |_| Err(FatError::Name));
        };
        let empty = || Node::Folder(Folder::default());
        match self.0.entry(name.to_owned()).or_insert_with(empty) {
            Node::Folder(folder) => folder.add(rest, contents),
            Node::File(_) => Err(FatError::Name),
        }
    }
}

struct Clusters<'a> {
    cluster: usize,
    /// The table: for each cluster the next one of its chain.
    chains: Vec<u32>,
    /// First cluster and bytes.
    pieces: Vec<(u32, Cow<'a, [u8]>)>,
}

impl<'a> Clusters<'a> {
    fn used(&self) -> u32 {
        let used = self.chains.len().saturating_sub(2);
        u32::try_from(used).unwrap_or(u32::MAX)
    }

    /// A chain for so many bytes; 0 if there are none.
    fn allocate(&mut self, len: usize) -> Result<u32, FatError> {
        let number = |at: usize| u32::try_from(at).map_err(|_| FatError::Full);
        let (begin, count) = (self.chains.len(), len.div_ceil(self.cluster));
        let Some(last) = begin.saturating_add(count).checked_sub(1) else {
            return Err(FatError::Full);
        };
        for next in begin.saturating_add(1)..=last {
            self.chains.push(number(next)?);
        }
        if count == 0 {
            return Ok(0);
        }
        self.chains.push(0x0fff_ffff);
        number(begin)
    }

    /// Places a folder and what is in it; returns its first cluster. `above` is that of the folder
    /// it is in, which for the root is written as 0; the root itself has none.
    fn folder(&mut self, folder: &Folder<'a>, above: Option<u32>) -> Result<u32, FatError> {
        let mut names = Names::default();
        let mut entries = Vec::new();
        for (name, node) in &folder.0 {
            entries.push((names.entries(name).ok_or(FatError::Name)?, node));
        }
        let dots = if above.is_some() { 64 } else { 0 };
        let len = entries
            .iter()
            .fold(dots, |sum: usize, (name, _)| sum.saturating_add(name.len()));
        // A folder ends at an empty entry.
        let own = self.allocate(len.saturating_add(32))?;
        let mut bytes = Vec::new();
        if let Some(above) = above {
            bytes.extend_from_slice(&entry(*b".          ", FOLDER, own, 0));
            bytes.extend_from_slice(&entry(*b"..         ", FOLDER, above, 0));
        }
        for (name, node) in entries {
            let (kind, first, size) = match node {
                Node::File(contents) => {
                    let first = self.allocate(contents.len())?;
                    self.pieces.push((first, Cow::Borrowed(contents)));
                    (FILE, first, contents.len())
                }
                Node::Folder(inner) => {
                    let above = if above.is_some() { own } else { 0 };
                    (FOLDER, self.folder(inner, Some(above))?, 0)
                }
            };
            let (long, short) = name.split_at(name.len().saturating_sub(11));
            let short = short.first_chunk().ok_or(FatError::Name)?;
            let size = u32::try_from(size).map_err(|_| FatError::Full)?;
            bytes.extend_from_slice(long);
            bytes.extend_from_slice(&entry(*short, kind, first, size));
        }
        // To the end of its last cluster, whatever the medium held.
        bytes.resize(
            bytes.len().saturating_add(1).next_multiple_of(self.cluster),
            0,
        );
        self.pieces.push((own, Cow::Owned(bytes)));
        Ok(own)
    }
}

fn entry(name: [u8; 11], kind: u8, first: u32, size: u32) -> [u8; 32] {
    let [low, mid, high, top] = first.to_le_bytes();
    let mut out = [0; 32];
    let fields: [&[u8]; 9] = [
        &name,
        &[kind, 0, 0, 0, 0],
        &DAY,
        &DAY,
        &[high, top, 0, 0],
        &DAY,
        &[low, mid],
        &size.to_le_bytes(),
        &[],
    ];
    for (place, byte) in out.iter_mut().zip(fields.into_iter().flatten()) {
        *place = *byte;
    }
    out
}
