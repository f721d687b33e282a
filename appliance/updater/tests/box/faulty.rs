//! A disk that stops working.

use bartizan_slots::Disk;
use bartizan_updater::{BoxDisk, DiskError};

/// Counts what writes, and fails where it is told.
pub(crate) struct Faulty {
    pub(crate) disk: BoxDisk,
    /// How many calls wrote.
    pub(crate) writes: usize,
    /// From which such call on it fails, and with what.
    pub(crate) fault: Option<(usize, DiskError)>,
}

impl Faulty {
    pub(crate) const fn new(disk: BoxDisk) -> Self {
        Self {
            disk,
            writes: 0,
            fault: None,
        }
    }

    fn writing(&mut self) -> Result<(), DiskError> {
        if let Some((_, error)) = self.fault.filter(|(from, _)| *from <= self.writes) {
            return Err(error);
        }
        self.writes = self.writes.saturating_add(1);
        Ok(())
    }

    /// A disk that is gone reads nothing either.
    fn reading(&self) -> Result<(), DiskError> {
        match self.fault {
            Some((from, DiskError::Gone)) if from <= self.writes => Err(DiskError::Gone),
            _ => Ok(()),
        }
    }
}

impl Disk for Faulty {
    type Error = DiskError;

    fn sector_size(&self) -> u32 {
        self.disk.sector_size()
    }

    fn sectors(&self) -> u64 {
        self.disk.sectors()
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        self.reading()?;
        self.disk.read(offset, into)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.writing()?;
        self.disk.write(offset, bytes)
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.reading()?;
        self.disk.flush()
    }

    fn names(&mut self) -> Result<Vec<String>, DiskError> {
        self.reading()?;
        self.disk.names()
    }

    fn create(&mut self, name: &str, size: u64) -> Result<(), DiskError> {
        self.writing()?;
        self.disk.create(name, size)
    }

    fn file_size(&mut self, name: &str) -> Result<u64, DiskError> {
        self.reading()?;
        self.disk.file_size(name)
    }

    fn read_file(&mut self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        self.reading()?;
        self.disk.read_file(name, offset, into)
    }

    fn write_file(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.writing()?;
        self.disk.write_file(name, offset, bytes)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.writing()?;
        self.disk.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.writing()?;
        self.disk.remove(name)
    }

    fn flush_files(&mut self) -> Result<(), DiskError> {
        self.reading()?;
        self.disk.flush_files()
    }
}
