//! Which slot runs and which is idle, by the partition table alone.

use bartizan_evidence::quote::Digest;

use crate::disk::Disk;
use crate::gpt::{Guid, Partition, Replica, Table, TableError};

/// What a slot is named by that does not hold what was written to it: no image has this root hash.
const BAD: Digest = *b"bartizan: this slot is not good.";

/// The two slots of a disk whose table is whole in both copies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Slots {
    table: Table,
    running: [Place; 2],
    idle: [Place; 2],
}

/// Where a partition of a slot is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    number: usize,
    /// Byte offset of its beginning.
    pub(crate) offset: u64,
    /// How many bytes it has.
    pub(crate) size: u64,
}

/// Why slots cannot be told or changed.
#[derive(Debug, thiserror::Error)]
pub enum SlotError<E> {
    /// The disk did not do it.
    #[error("cannot {0}")]
    Disk(&'static str, #[source] E),
    /// Neither copy of the table is whole.
    #[error("no copy of the partition table is whole")]
    NoTable(#[source] TableError),
    /// There are not two root partitions and two for hash trees.
    #[error("the disk has not two slots")]
    NotTwo,
    /// No slot, or each, has the root hash that runs.
    #[error("the slot that runs cannot be told from the idle one")]
    Running,
    /// The table cannot be changed.
    #[error("cannot change the partition table")]
    Table(#[source] TableError),
}

impl Slots {
    /// Reads the table, and makes both its copies whole and equal, the one that counts first.
    ///
    /// # Errors
    ///
    /// [`SlotError`] if the slot of `running`, a root hash, cannot be told from another.
    pub fn open<D: Disk>(disk: &mut D, running: &Digest) -> Result<Self, SlotError<D::Error>> {
        let table = repaired(disk)?;
        let sector = u64::from(table.sector_size());
        let of_kind = |kind: Guid| -> Vec<(usize, Partition)> {
            let partitions = table.partitions();
            partitions.filter(|(_, one)| one.kind == kind).collect()
        };
        let (roots, trees) = (of_kind(Guid::ROOT_X86_64), of_kind(Guid::VERITY_X86_64));
        let ([root_a, root_b], [tree_a, tree_b]) = (roots.as_slice(), trees.as_slice()) else {
            return Err(SlotError::NotTwo);
        };
        let names = Guid::of_slot(running);
        let runs =
            |root: &(usize, Partition), tree: &(usize, Partition)| [root.1.id, tree.1.id] == names;
        let place = |one: &(usize, Partition)| Place {
            number: one.0,
            offset: one.1.first.saturating_mul(sector),
            size: (one.1.last.saturating_sub(one.1.first).saturating_add(1)).saturating_mul(sector),
        };
        let a = [place(root_a), place(tree_a)];
        let b = [place(root_b), place(tree_b)];
        let (running, idle) = match (runs(root_a, tree_a), runs(root_b, tree_b)) {
            (true, false) => (a, b),
            (false, true) => (b, a),
            (true, true) | (false, false) => return Err(SlotError::Running),
        };
        Ok(Self {
            table,
            running,
            idle,
        })
    }

    /// The most bytes of the idle slot's root and of its hash tree.
    pub fn idle_sizes(&self) -> [u64; 2] {
        self.idle.map(|place| place.size)
    }

    /// Whether the idle slot was found to be bad since an update was last placed there.
    pub fn idle_is_bad(&self) -> bool {
        let bad = Guid::of_slot(&BAD);
        let named = |(place, id): (&Place, &Guid)| {
            let mut partitions = self.table.partitions();
            partitions.any(|(number, one)| number == place.number && one.id == *id)
        };
        self.idle.iter().zip(&bad).all(named)
    }

    /// Where the running slot's partitions are: byte offsets and sizes. Nothing writes there.
    pub fn running_places(&self) -> [(u64, u64); 2] {
        self.running.map(|place| (place.offset, place.size))
    }

    pub(crate) const fn idle(&self) -> [Place; 2] {
        self.idle
    }

    /// Gives the idle slot a name that no image has.
    ///
    /// # Errors
    ///
    /// [`SlotError`] if the disk does not do it.
    pub(crate) fn condemn_idle<D: Disk>(
        &mut self,
        disk: &mut D,
    ) -> Result<(), SlotError<D::Error>> {
        self.name_idle(disk, &BAD)
    }

    /// Names the idle slot by a root hash: in the backup first, so that one copy is whole always.
    ///
    /// # Errors
    ///
    /// [`SlotError`] if the disk does not do it.
    pub(crate) fn name_idle<D: Disk>(
        &mut self,
        disk: &mut D,
        root_hash: &Digest,
    ) -> Result<(), SlotError<D::Error>> {
        for (place, id) in self.idle.iter().zip(Guid::of_slot(root_hash)) {
            self.table
                .rename(place.number, id)
                .map_err(SlotError::Table)?;
        }
        write(disk, &self.table, Replica::Backup)?;
        write(disk, &self.table, Replica::Primary)
    }
}

/// Takes the copy that counts for the firmware and makes the other like it.
fn repaired<D: Disk>(disk: &mut D) -> Result<Table, SlotError<D::Error>> {
    let primary = read(disk, Replica::Primary)?;
    let backup = read(disk, Replica::Backup)?;
    match (primary, backup) {
        (Ok(primary), Ok(backup)) if primary == backup => Ok(primary),
        (Ok(primary), _) => {
            write(disk, &primary, Replica::Backup)?;
            Ok(primary)
        }
        (Err(_), Ok(backup)) => {
            write(disk, &backup, Replica::Primary)?;
            Ok(backup)
        }
        (Err(cause), Err(_)) => Err(SlotError::NoTable(cause)),
    }
}

fn read<D: Disk>(
    disk: &mut D,
    replica: Replica,
) -> Result<Result<Table, TableError>, SlotError<D::Error>> {
    let (sector_size, sectors) = (disk.sector_size(), disk.sectors());
    let (header_at, entries_at) = match Table::places(sector_size, sectors, replica) {
        Ok(places) => places,
        Err(cause) => return Ok(Err(cause)),
    };
    let failed = |cause| SlotError::Disk("read the partition table", cause);
    let mut header = vec![0; 512];
    disk.read(header_at, &mut header).map_err(failed)?;
    let mut entries = vec![0; Table::entries_len()];
    disk.read(entries_at, &mut entries).map_err(failed)?;
    Ok(Table::parse(
        &header,
        &entries,
        sector_size,
        sectors,
        replica,
    ))
}

/// Writes one copy, and returns when it is on the medium.
fn write<D: Disk>(
    disk: &mut D,
    table: &Table,
    replica: Replica,
) -> Result<(), SlotError<D::Error>> {
    let image = table.image(replica).map_err(SlotError::Table)?;
    let failed = |cause| SlotError::Disk("write the partition table", cause);
    disk.write(image.entries_offset, &image.entries)
        .map_err(failed)?;
    disk.write(image.header_offset, &image.header)
        .map_err(failed)?;
    disk.flush().map_err(failed)
}
