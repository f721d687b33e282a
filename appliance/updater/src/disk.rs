//! The disk and its folder of boot entries, as descriptors.

use core::mem::MaybeUninit;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use bartizan_slots::Disk;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, RenameFlags, SeekFrom, fdatasync, fstat, ftruncate,
    ioctl_blksszget, open, openat, renameat_with, seek, syncfs, unlinkat,
};
use rustix::io::Errno;

use crate::direct;

/// The bytes that a new file is filled with at once.
const FILL: usize = 256 * 1024;

/// The whole disk that the box runs from, and the folder `EFI/Linux` on its system partition.
///
/// The whole disk, because the partition table lies outside of the partitions.
#[derive(Debug)]
pub struct BoxDisk {
    device: OwnedFd,
    /// The same past the page cache, for reading.
    medium: OwnedFd,
    folder: OwnedFd,
    sector_size: u32,
    sectors: u64,
}

/// Why the disk did not do it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DiskError {
    /// What is to be the disk is none.
    #[error("not a block device")]
    NotADisk,
    /// A sector has neither 512 nor 4096 bytes.
    #[error("sectors of {0} bytes are not known")]
    SectorSize(u32),
    /// No room is left.
    #[error("the disk is full")]
    Full,
    /// The device does not answer any more.
    #[error("the disk is gone")]
    Gone,
    /// A write or read did not succeed.
    #[error("the disk has an error")]
    Faulty,
    /// Less is there than was to be read.
    #[error("the disk ends too early")]
    Short,
    /// A write would make a file longer.
    #[error("a write goes past the end of a file")]
    PastEnd,
    /// Memory could not be aligned.
    #[error("memory cannot be aligned as the disk wants it")]
    Unaligned,
    /// The kernel refused for another reason.
    #[error("the kernel refuses")]
    Refused(#[source] Errno),
}

impl From<Errno> for DiskError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOSPC => Self::Full,
            Errno::NXIO | Errno::NODEV => Self::Gone,
            Errno::IO => Self::Faulty,
            other => Self::Refused(other),
        }
    }
}

impl BoxDisk {
    /// Opens a block device and a folder; both by their paths, which nothing here needs later.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if one cannot be opened, or the device is no disk.
    pub fn open(device: &Path, folder: &Path) -> Result<Self, DiskError> {
        let probed = open(device, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let kind = FileType::from_raw_mode(fstat(&probed)?.st_mode);
        if kind != FileType::BlockDevice {
            return Err(DiskError::NotADisk);
        }
        Self::with_sectors(device, folder, ioctl_blksszget(&probed)?)
    }

    /// As [`BoxDisk::open`], where the device need not be one: an image of a disk in a file.
    ///
    /// # Errors
    ///
    /// As [`BoxDisk::open`].
    pub fn with_sectors(device: &Path, folder: &Path, sector_size: u32) -> Result<Self, DiskError> {
        if sector_size != 512 && sector_size != 4096 {
            return Err(DiskError::SectorSize(sector_size));
        }
        let none = Mode::empty();
        let medium = open(
            device,
            OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC,
            none,
        )?;
        let device = open(device, OFlags::RDWR | OFlags::CLOEXEC, none)?;
        let folder = open(
            folder,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            none,
        )?;
        let size = seek(&device, SeekFrom::End(0))?;
        let sectors = size.checked_div(u64::from(sector_size)).unwrap_or_default();
        Ok(Self {
            device,
            medium,
            folder,
            sector_size,
            sectors,
        })
    }

    /// Opens a file of the folder: a link in it is not followed.
    fn file(&self, name: &str, how: OFlags) -> Result<OwnedFd, DiskError> {
        let how = how | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.folder, name, how, Mode::RUSR | Mode::WUSR)?)
    }

    fn fill(&self, name: &str, size: u64) -> Result<(), DiskError> {
        let file = self.file(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        // FAT gives a file clusters only for what is written to it.
        let zeros = vec![0; FILL];
        let mut offset = 0_u64;
        while offset < size {
            let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
            let piece = zeros.get(..left.min(FILL)).unwrap_or(&zeros);
            write_all(&file, offset, piece)?;
            offset = offset.saturating_add(length(piece));
        }
        Ok(fdatasync(&file)?)
    }
}

impl Disk for BoxDisk {
    type Error = DiskError;

    fn sector_size(&self) -> u32 {
        self.sector_size
    }

    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        direct::read(&self.medium, offset, into)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let size = self.sectors.saturating_mul(u64::from(self.sector_size));
        if offset.saturating_add(length(bytes)) > size {
            return Err(DiskError::PastEnd);
        }
        write_all(&self.device, offset, bytes)
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        Ok(fdatasync(&self.device)?)
    }

    fn names(&mut self) -> Result<Vec<String>, DiskError> {
        seek(&self.folder, SeekFrom::Start(0))?;
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut entries = RawDir::new(&self.folder, &mut space);
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name: &CStr = entry.file_name();
            if name != c"." && name != c".." {
                names.push(name.to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    fn create(&mut self, name: &str, size: u64) -> Result<(), DiskError> {
        let filled = self.fill(name, size);
        if filled.is_err_and(|error| error == DiskError::Full) {
            // What there was of room is given back if that can be; the lack of it is what is told.
            let _given_back = self
                .file(name, OFlags::WRONLY)
                .and_then(|file| Ok(ftruncate(&file, 0)?));
        }
        filled
    }

    fn file_size(&mut self, name: &str) -> Result<u64, DiskError> {
        let file = self.file(name, OFlags::RDONLY)?;
        u64::try_from(fstat(&file)?.st_size).map_err(|_| DiskError::Faulty)
    }

    fn read_file(&mut self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let file = self.file(name, OFlags::RDONLY | OFlags::DIRECT)?;
        direct::read(&file, offset, into)
    }

    fn write_file(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        if offset.saturating_add(length(bytes)) > self.file_size(name)? {
            return Err(DiskError::PastEnd);
        }
        let file = self.file(name, OFlags::WRONLY)?;
        write_all(&file, offset, bytes)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let flags = RenameFlags::NOREPLACE;
        Ok(renameat_with(&self.folder, from, &self.folder, to, flags)?)
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        Ok(unlinkat(&self.folder, name, AtFlags::empty())?)
    }

    fn flush_files(&mut self) -> Result<(), DiskError> {
        syncfs(&self.folder)?;
        // The file system is written; the device may still hold it in a cache of its own.
        self.flush()
    }
}

fn write_all(to: &OwnedFd, mut offset: u64, mut bytes: &[u8]) -> Result<(), DiskError> {
    while !bytes.is_empty() {
        let written = rustix::io::pwrite(to, bytes, offset)?;
        let rest = bytes.get(written..).unwrap_or_default();
        if written == 0 {
            return Err(DiskError::Full);
        }
        offset = offset.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        bytes = rest;
    }
    Ok(())
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
