//! A disk, or a file that stands for one, which nothing else uses.

use std::fs::{File, OpenOptions, read_to_string};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use bartizan_image::flash::Target;
use bartizan_image::flash::layout::Disk;
use rustix::fs::{Advice, fadvise};

use super::in_use;
use crate::fault::Fault;

pub(super) struct Device {
    file: File,
    size: Disk,
}

/// `O_EXCL`: for a device, the kernel refuses it if it or a part of it is mounted or held.
const EXCLUSIVE: i32 = 0o200;
const EBUSY: i32 = 16;

impl Device {
    /// Opens it for writing, if it is nobody's.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let shown = path.display().to_string();
        let unreadable = |cause| Fault::Read {
            file: shown.clone(),
            cause,
        };
        let refused = |why| Fault::Disk {
            disk: shown.clone(),
            why,
        };
        let path = path.canonicalize().map_err(unreadable)?;
        let kind = path.metadata().map_err(unreadable)?.file_type();
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let sector_size = if kind.is_block_device() {
            in_use::check_device(Path::new("/"), &path).map_err(refused)?;
            options.custom_flags(EXCLUSIVE);
            let name = path.file_name().unwrap_or_default();
            let folder = Path::new("/sys/class/block").join(name);
            let size = read_to_string(folder.join("queue/logical_block_size"));
            let size = size.map_err(unreadable)?;
            size.trim()
                .parse()
                .map_err(|_| refused("its sector size is not told"))?
        } else if kind.is_file() {
            in_use::check_file(Path::new("/"), &path).map_err(refused)?;
            512
        } else {
            return Err(refused("neither a disk nor a file"));
        };
        let mut file = options.open(&path).map_err(|cause| {
            if cause.raw_os_error() == Some(EBUSY) {
                refused("in use")
            } else {
                Fault::Write {
                    file: shown.clone(),
                    cause,
                }
            }
        })?;
        let bytes = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
        let sectors = bytes
            .checked_div(u64::from(sector_size))
            .unwrap_or_default();
        Ok(Self {
            file,
            size: Disk {
                sector_size,
                sectors,
            },
        })
    }

    pub(super) const fn size(&self) -> Disk {
        self.size
    }
}

impl Target for Device {
    fn read(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        // What is clean leaves the cache, so that it is read from the medium.
        fadvise(&self.file, 0, None, Advice::DontNeed)?;
        Ok(())
    }
}
