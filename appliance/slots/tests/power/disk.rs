//! The disk that the code under test writes to: it keeps a log of all that goes to the medium.

#![expect(clippy::arithmetic_side_effects, reason = "offsets of a small disk")]

use bartizan_slots::Disk;

use crate::medium::{Arrives, Change, Medium, SECTOR, Sector};

/// One thing in the log.
#[expect(clippy::large_enum_variant, reason = "most are changes")]
#[derive(Clone, Debug)]
pub(crate) enum Logged {
    Change(Change),
    FlushDisk,
    FlushFolder,
}

#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Broken(pub(crate) &'static str);

/// What breaks, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fault {
    /// After so many calls that write, they fail.
    pub(crate) writes_left: Option<usize>,
    /// The next flush spoils this sector, and says nothing.
    pub(crate) liar: Option<usize>,
    /// Bytes of room for files.
    pub(crate) room: Option<u64>,
}

pub(crate) struct LoggedDisk {
    /// As a reader sees it who is not cut off.
    pub(crate) seen: Medium,
    pub(crate) log: Vec<Logged>,
    pub(crate) fault: Fault,
    /// Byte ranges that nothing may write to.
    pub(crate) forbidden: Vec<core::ops::Range<u64>>,
    next_file: u32,
}

impl LoggedDisk {
    pub(crate) fn new(medium: Medium) -> Self {
        let next_file = medium.names.values().max().map_or(1, |last| last + 1);
        Self {
            seen: medium,
            log: Vec::new(),
            fault: Fault::default(),
            forbidden: Vec::new(),
            next_file,
        }
    }

    fn change(&mut self, change: Change) {
        self.seen.apply(&change, Arrives::Whole);
        self.log.push(Logged::Change(change));
    }

    fn may_write(&mut self) -> Result<(), Broken> {
        match &mut self.fault.writes_left {
            Some(0) => Err(Broken("write error")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn file(&self, name: &str) -> Result<u32, Broken> {
        self.seen.names.get(name).copied().ok_or(Broken("no file"))
    }
}

/// The sectors that a write touches, each with all that it then holds.
fn sectors(
    offset: u64,
    bytes: &[u8],
    mut old: impl FnMut(usize) -> Sector,
) -> Vec<(usize, Sector)> {
    let offset = usize::try_from(offset).unwrap();
    let mut touched: Vec<(usize, Sector)> = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        let at = offset + at;
        let number = at / SECTOR;
        if touched.last().is_none_or(|(last, _)| *last != number) {
            touched.push((number, old(number)));
        }
        touched.last_mut().unwrap().1[at % SECTOR] = *byte;
    }
    touched
}

impl Disk for LoggedDisk {
    type Error = Broken;

    fn sector_size(&self) -> u32 {
        512
    }

    fn sectors(&self) -> u64 {
        u64::try_from(self.seen.sectors.len()).unwrap()
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), Broken> {
        self.seen.read(offset, into);
        Ok(())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Broken> {
        self.may_write()?;
        let end = offset + u64::try_from(bytes.len()).unwrap();
        for forbidden in &self.forbidden {
            assert!(
                end <= forbidden.start || offset >= forbidden.end,
                "{offset}"
            );
        }
        let seen = &self.seen;
        for (at, sector) in sectors(offset, bytes, |at| seen.sectors[at]) {
            self.change(Change::Sector(at, sector));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Broken> {
        if let Some(liar) = self.fault.liar.take() {
            self.seen.sectors[liar][7] ^= 1;
        }
        self.log.push(Logged::FlushDisk);
        Ok(())
    }

    fn names(&mut self) -> Result<Vec<String>, Broken> {
        Ok(self.seen.names.keys().cloned().collect())
    }

    fn create(&mut self, name: &str, size: u64) -> Result<(), Broken> {
        self.may_write()?;
        if self.seen.names.contains_key(name) {
            return Err(Broken("name taken"));
        }
        if self.fault.room.is_some_and(|room| size > room) {
            return Err(Broken("disk full"));
        }
        let file = self.next_file;
        self.next_file += 1;
        let size = usize::try_from(size).unwrap();
        self.change(Change::AddName(name.to_owned(), file));
        self.change(Change::Allocate(file, size));
        for at in 0..size.div_ceil(SECTOR) {
            self.change(Change::FileSector(file, at, [0; SECTOR]));
        }
        Ok(())
    }

    fn file_size(&mut self, name: &str) -> Result<u64, Broken> {
        let contents = self.seen.contents(self.file(name)?, false);
        Ok(u64::try_from(contents.len()).unwrap())
    }

    fn read_file(&mut self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), Broken> {
        let contents = self.seen.contents(self.file(name)?, false);
        let offset = usize::try_from(offset).unwrap();
        let found = contents.get(offset..offset + into.len());
        into.copy_from_slice(found.ok_or(Broken("short file"))?);
        Ok(())
    }

    fn write_file(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Broken> {
        self.may_write()?;
        let file = self.file(name)?;
        let contents = self.seen.contents(file, false);
        let old = |at: usize| *contents[at * SECTOR..].first_chunk::<SECTOR>().unwrap();
        for (at, sector) in sectors(offset, bytes, old) {
            self.change(Change::FileSector(file, at, sector));
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Broken> {
        self.may_write()?;
        let file = self.file(from)?;
        self.change(Change::AddName(to.to_owned(), file));
        self.change(Change::RemoveName(from.to_owned(), file));
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), Broken> {
        self.may_write()?;
        let file = self.file(name)?;
        self.change(Change::RemoveName(name.to_owned(), file));
        self.change(Change::Free(file));
        Ok(())
    }

    fn flush_files(&mut self) -> Result<(), Broken> {
        self.log.push(Logged::FlushFolder);
        Ok(())
    }
}
