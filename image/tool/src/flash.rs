//! A new box's disk: what goes where, and how it gets there.
//!
//! [`layout`] computes every byte that a bundle makes of a disk, [`fat`] those of its system
//! partition, and [`write()`] brings them to a [`Target`]. The partition table comes last, when all
//! the rest was read back: a disk that was left half written is no disk that boots. What is there
//! already is not written again, so a flash that broke off goes on where it was.

pub mod fat;
pub mod layout;

use core::fmt;
use std::borrow::Cow;
use std::io;

/// The bytes that are compared or written at once.
pub const CHUNK: usize = 1024 * 1024;

/// What is flashed: a whole disk, or a file that stands for one.
pub trait Target {
    /// Fills `into` from a byte offset.
    ///
    /// # Errors
    ///
    /// If not all of it could be read.
    fn read(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes at a byte offset.
    ///
    /// # Errors
    ///
    /// If not all of it could be written.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns when all that was written is on the medium; what is read afterwards comes from there.
    ///
    /// # Errors
    ///
    /// If that cannot be said.
    fn flush(&mut self) -> io::Result<()>;
}

/// A part of a disk, as messages name it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Region {
    /// Both copies of the partition table, as long as they are empty.
    NoTable,
    /// Boot loader and kernel image.
    SystemPartition,
    /// Slot A's root.
    Root,
    /// Slot A's hash tree.
    HashTree,
    /// The beginning of var: what it was encrypted under before.
    Var,
    /// Both copies of the partition table.
    Table,
}

/// Bytes and where they go.
#[derive(Clone, Debug)]
pub struct Piece<'a> {
    /// What they are.
    pub region: Region,
    /// Byte offset on the disk.
    pub offset: u64,
    /// The bytes.
    pub bytes: Cow<'a, [u8]>,
}

/// Everything that is written to a disk, in three steps with a flush after each.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// What takes the old partition table away: no old table ever stands over new contents.
    pub no_table: Vec<Piece<'a>>,
    /// All but the partition table, in the order in which it is written.
    pub contents: Vec<Piece<'a>>,
    /// The partition table, the backup copy first.
    pub table: Vec<Piece<'a>>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// So many bytes of the plan are written, or were there already.
    Written(u64),
    /// So many bytes of the plan were read back.
    ReadBack(u64),
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Flashed {
    /// Bytes that were written.
    pub written: u64,
    /// Bytes that were there already.
    pub kept: u64,
}

/// Why a disk was not flashed. It boots nothing as long as this is not mended.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// The disk did not read.
    #[error("cannot read {region} at byte {offset}: {}", advice(.cause))]
    Read {
        /// What.
        region: Region,
        /// Where.
        offset: u64,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The disk did not write.
    #[error("cannot write {region} at byte {offset}: {}", advice(.cause))]
    Write {
        /// What.
        region: Region,
        /// Where.
        offset: u64,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The disk did not keep what was written.
    #[error("cannot bring what was written to the medium: {}", advice(.0))]
    Flush(#[source] io::Error),
    /// The medium holds something else.
    #[error("the medium does not hold {region} as it was written, at byte {offset}")]
    ReadBack {
        /// What.
        region: Region,
        /// Where.
        offset: u64,
    },
}

/// Writes a plan, and reads all of it back.
///
/// # Errors
///
/// [`FlashError`] at the first byte that the target does not take or does not keep.
pub fn write(
    plan: &Plan<'_>,
    target: &mut dyn Target,
    progress: &mut dyn FnMut(Progress),
) -> Result<Flashed, FlashError> {
    let mut flashed = Flashed::default();
    let (mut written, mut read_back) = (0, 0);
    for step in [&plan.no_table, &plan.contents, &plan.table] {
        for (region, offset, bytes) in chunks(step) {
            if put(region, offset, bytes, target)? {
                flashed.written = flashed.written.saturating_add(length(bytes));
            } else {
                flashed.kept = flashed.kept.saturating_add(length(bytes));
            }
            written = length(bytes).saturating_add(written);
            progress(Progress::Written(written));
        }
        target.flush().map_err(FlashError::Flush)?;
        for (region, offset, bytes) in chunks(step) {
            if !holds(region, offset, bytes, target)? {
                return Err(FlashError::ReadBack { region, offset });
            }
            read_back = length(bytes).saturating_add(read_back);
            progress(Progress::ReadBack(read_back));
        }
    }
    Ok(flashed)
}

impl Plan<'_> {
    /// How many bytes are written, and read back.
    pub fn len(&self) -> u64 {
        let contents = self.no_table.iter().chain(&self.contents);
        let pieces = contents.chain(&self.table);
        pieces.fold(0, |sum, piece| sum.saturating_add(length(&piece.bytes)))
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn chunks<'a>(pieces: &'a [Piece<'a>]) -> impl Iterator<Item = (Region, u64, &'a [u8])> {
    pieces.iter().flat_map(|piece| {
        let offsets = (piece.offset..).step_by(CHUNK);
        let chunks = offsets.zip(piece.bytes.chunks(CHUNK));
        chunks.map(|(offset, bytes)| (piece.region, offset, bytes))
    })
}

/// Writes what is not there already; says whether it wrote.
fn put(
    region: Region,
    offset: u64,
    bytes: &[u8],
    target: &mut dyn Target,
) -> Result<bool, FlashError> {
    // A sector that does not read may still be written.
    if holds(region, offset, bytes, target).unwrap_or(false) {
        return Ok(false);
    }
    let failed = |cause| FlashError::Write {
        region,
        offset,
        cause,
    };
    target.write(offset, bytes).map_err(failed)?;
    Ok(true)
}

fn holds(
    region: Region,
    offset: u64,
    bytes: &[u8],
    target: &mut dyn Target,
) -> Result<bool, FlashError> {
    let mut found = vec![0; bytes.len()];
    let failed = |cause| FlashError::Read {
        region,
        offset,
        cause,
    };
    target.read(offset, &mut found).map_err(failed)?;
    Ok(found == bytes)
}

/// What whoever holds the disk in his hand can make of an error.
fn advice(cause: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    let full = [
        Kind::StorageFull,
        Kind::QuotaExceeded,
        Kind::FileTooLarge,
        Kind::WriteZero,
        Kind::UnexpectedEof,
    ];
    if full.contains(&cause.kind()) {
        "it has no more room"
    } else if matches!(cause.raw_os_error(), Some(ENXIO | ENODEV)) {
        "the disk is gone"
    } else {
        "the disk is failing, or is gone"
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

const ENXIO: i32 = 6;
const ENODEV: i32 = 19;

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NoTable => "the place of the partition table",
            Self::SystemPartition => "the system partition",
            Self::Root => "the root",
            Self::HashTree => "the hash tree",
            Self::Var => "the beginning of var",
            Self::Table => "the partition table",
        })
    }
}
