//! The box's own disk, as an update writes it: the kernel's calls under [`bartizan_slots::Disk`].
//!
//! Everything that is opened by a path is opened in [`BoxDisk::open`]; after it files are reached
//! through the folder of boot entries alone, so that a process can lock itself down in between.
#![forbid(unsafe_code)]

mod direct;
mod disk;

pub use disk::{BoxDisk, DiskError};
