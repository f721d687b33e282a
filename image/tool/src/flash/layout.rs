//! What a bundle makes of a disk: the partitions of `image/repart.d`, with slot A filled.

use std::borrow::Cow;

use bartizan_evidence::quote::Digest;
use bartizan_slots::gpt::{Guid, Partition, Replica, Table, protective_mbr};

use super::fat::{self, Geometry};
use super::{Piece, Plan, Region};

/// The partitions in their order, from the definition that the box has, too; var is made by the box.
const PARTITIONS: [&str; 5] = [
    include_str!("../../../repart.d/00-esp.conf"),
    include_str!("../../../repart.d/10-root-a.conf"),
    include_str!("../../../repart.d/11-verity-a.conf"),
    include_str!("../../../repart.d/20-root-b.conf"),
    include_str!("../../../repart.d/21-verity-b.conf"),
];
const VAR: &str = include_str!("../../../repart.d/50-var.conf");
const LOADER: &[u8] = include_bytes!("../../../loader.conf");

/// Where partitions begin, and what their sizes are multiples of.
const GRAIN: u64 = 1024 * 1024;
/// More than the system partition's own tables and its small files have.
const SYSTEM_OVERHEAD: u64 = 4 * GRAIN;
/// More than the header and the keys of a LUKS volume have: without them it opens for nobody.
const WIPED: u64 = 32 * GRAIN;

/// A disk's size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Disk {
    /// Bytes a sector: 512 or 4096.
    pub sector_size: u32,
    /// How many sectors it has.
    pub sectors: u64,
}

/// What goes to a disk.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The root file system.
    pub root: &'a [u8],
    /// Its hash tree.
    pub hash_tree: &'a [u8],
    /// Their root hash, which names the slot.
    pub root_hash: Digest,
    /// The boot loader.
    pub boot_loader: &'a [u8],
    /// The kernel image.
    pub kernel_image: &'a [u8],
    /// The file name of its boot entry.
    pub entry: &'a str,
    /// PK, KEK and db as signed variables, which a box in setup mode takes.
    pub enrolled: Option<[&'a [u8]; 3]>,
}

/// Why a bundle does not go to a disk.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The definition of the partitions is not understood.
    #[error("a partition's definition in repart.d is not understood")]
    Definition,
    /// The disk has less room than the partitions need.
    #[error("the disk has {found} bytes, and the image needs {needed}")]
    TooSmall {
        /// Its bytes.
        found: u64,
        /// What is needed.
        needed: u64,
    },
    /// A partition is smaller than what goes there.
    #[error("the partition has no room for {0}")]
    NoRoom(Region),
    /// The system partition cannot be made.
    #[error("cannot make the system partition")]
    SystemPartition(#[source] fat::FatError),
    /// The partition table cannot be made.
    #[error("cannot make the partition table")]
    Table(#[source] bartizan_slots::gpt::TableError),
}

/// Whether what a version is made of has room in the partitions: the system partition holds the kernel
/// images of two versions, and the boot loader twice.
///
/// # Errors
///
/// [`LayoutError::NoRoom`] names the partition.
pub fn check_sizes(
    root: &[u8],
    hash_tree: &[u8],
    kernel_image: &[u8],
    boot_loader: &[u8],
) -> Result<(), LayoutError> {
    let [esp, root_a, tree_a, ..] = definitions()?;
    let len = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let system = len(kernel_image)
        .saturating_add(len(boot_loader))
        .saturating_mul(2)
        .saturating_add(SYSTEM_OVERHEAD);
    for (partition, needed, region) in [
        (esp, system, Region::SystemPartition),
        (root_a, len(root), Region::Root),
        (tree_a, len(hash_tree), Region::HashTree),
    ] {
        if needed > partition.size {
            return Err(LayoutError::NoRoom(region));
        }
    }
    Ok(())
}

/// Computes every byte. `random` are the names that say nothing: the disk's, the system
/// partition's, and those of the idle slot's two.
///
/// # Errors
///
/// [`LayoutError`] if the disk is too small.
pub fn plan<'a>(
    disk: Disk,
    random: [Guid; 4],
    contents: &Contents<'a>,
) -> Result<Plan<'a>, LayoutError> {
    let definitions = definitions()?;
    let [esp, root, tree, ..] = &definitions;
    let sector = u64::from(disk.sector_size);
    let end = definitions.last().map_or(GRAIN, Definition::end);
    let var = size_of(VAR).ok_or(LayoutError::Definition)?;
    let found = disk.sectors.saturating_mul(sector);
    let needed = end.saturating_add(var).saturating_add(GRAIN);
    if found < needed {
        return Err(LayoutError::TooSmall { found, needed });
    }
    for (partition, bytes, region) in [
        (root, contents.root, Region::Root),
        (tree, contents.hash_tree, Region::HashTree),
    ] {
        if !u64::try_from(bytes.len()).is_ok_and(|len| len <= partition.size) {
            return Err(LayoutError::NoRoom(region));
        }
    }
    let piece = |region, offset, bytes| Piece {
        region,
        offset,
        bytes,
    };
    let empty = vec![0; usize::try_from(GRAIN).map_err(|_| LayoutError::Definition)?];
    let wiped = vec![0; usize::try_from(WIPED).map_err(|_| LayoutError::Definition)?];
    let backup = found.saturating_sub(GRAIN);
    let no_table = vec![
        piece(Region::NoTable, 0, Cow::Owned(empty.clone())),
        piece(Region::NoTable, backup, Cow::Owned(empty)),
    ];
    let mut pieces = vec![piece(Region::Var, end, Cow::Owned(wiped))];
    for extent in system_partition(disk, esp, contents)? {
        let offset = esp.begin.saturating_add(extent.offset);
        pieces.push(piece(Region::SystemPartition, offset, extent.bytes));
    }
    let borrowed = |region, partition: &Definition, bytes| {
        piece(region, partition.begin, Cow::Borrowed(bytes))
    };
    pieces.push(borrowed(Region::Root, root, contents.root));
    pieces.push(borrowed(Region::HashTree, tree, contents.hash_tree));
    Ok(Plan {
        no_table,
        contents: pieces,
        table: table(disk, random, &definitions, contents)?,
    })
}

#[derive(Debug)]
struct Definition {
    kind: Guid,
    label: String,
    /// Byte offset on the disk.
    begin: u64,
    size: u64,
}

impl Definition {
    const fn end(&self) -> u64 {
        self.begin.saturating_add(self.size)
    }
}

fn definitions() -> Result<[Definition; 5], LayoutError> {
    let mut begin = GRAIN;
    let mut next = |text| {
        let kind = match value(text, "Type")? {
            "esp" => Guid::ESP,
            "root-x86-64" => Guid::ROOT_X86_64,
            "root-x86-64-verity" => Guid::VERITY_X86_64,
            _ => return None,
        };
        let definition = Definition {
            kind,
            label: value(text, "Label")?.to_owned(),
            begin,
            size: size_of(text)?,
        };
        begin = definition.end();
        Some(definition)
    };
    let all: Option<Vec<Definition>> = PARTITIONS.into_iter().map(&mut next).collect();
    all.and_then(|all| all.try_into().ok())
        .ok_or(LayoutError::Definition)
}

/// `SizeMinBytes`, in whole mebibytes.
fn size_of(text: &str) -> Option<u64> {
    let mebibytes: u64 = value(text, "SizeMinBytes")?
        .strip_suffix('M')?
        .parse()
        .ok()?;
    mebibytes.checked_mul(GRAIN)
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.find_map(|(found, value)| (found == key).then_some(value))
}

fn system_partition<'a>(
    disk: Disk,
    esp: &Definition,
    contents: &Contents<'a>,
) -> Result<Vec<fat::Extent<'a>>, LayoutError> {
    let sectors = |bytes: u64| {
        let sectors = bytes.checked_div(disk.sector_size.into())?;
        u32::try_from(sectors).ok()
    };
    let (Some(before), Some(count)) = (sectors(esp.begin), sectors(esp.size)) else {
        return Err(LayoutError::Definition);
    };
    let geometry = Geometry {
        sector_size: disk.sector_size,
        sectors: count,
        before,
    };
    let entry = format!("EFI/Linux/{}", contents.entry);
    let mut files: Vec<(&str, &'a [u8])> = vec![
        ("EFI/BOOT/BOOTX64.EFI", contents.boot_loader),
        ("EFI/systemd/systemd-bootx64.efi", contents.boot_loader),
        (&entry, contents.kernel_image),
        ("loader/loader.conf", LOADER),
    ];
    if let Some(variables) = contents.enrolled {
        let names = [
            "loader/keys/auto/PK.auth",
            "loader/keys/auto/KEK.auth",
            "loader/keys/auto/db.auth",
        ];
        files.extend(names.into_iter().zip(variables));
    }
    let [a, b, c, d, ..] = contents.root_hash;
    let serial = u32::from_be_bytes([a, b, c, d]);
    fat::format(geometry, serial, &files).map_err(LayoutError::SystemPartition)
}

fn table(
    disk: Disk,
    random: [Guid; 4],
    definitions: &[Definition; 5],
    contents: &Contents<'_>,
) -> Result<Vec<Piece<'static>>, LayoutError> {
    let [own, esp, idle_root, idle_tree] = random;
    let [root, tree] = Guid::of_slot(&contents.root_hash);
    let sector = |bytes: u64| {
        let sector = bytes.checked_div(disk.sector_size.into());
        sector.ok_or(LayoutError::Definition)
    };
    let mut partitions = Vec::new();
    for (definition, id) in definitions
        .iter()
        .zip([esp, root, tree, idle_root, idle_tree])
    {
        partitions.push(Partition {
            kind: definition.kind,
            id,
            first: sector(definition.begin)?,
            last: sector(definition.end())?.saturating_sub(1),
            label: definition.label.clone(),
        });
    }
    let table =
        Table::new(own, disk.sector_size, disk.sectors, &partitions).map_err(LayoutError::Table)?;
    let mut pieces = Vec::new();
    let mut add = |offset, bytes| {
        pieces.push(Piece {
            region: Region::Table,
            offset,
            bytes: Cow::Owned(bytes),
        });
    };
    for replica in [Replica::Backup, Replica::Primary] {
        let image = table.image(replica).map_err(LayoutError::Table)?;
        add(image.entries_offset, image.entries);
        add(image.header_offset, image.header);
    }
    add(0, protective_mbr(disk.sectors).to_vec());
    Ok(pieces)
}
