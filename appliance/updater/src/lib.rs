//! Updates of the box's own disk.
//!
//! [`Installer`] takes an update from whoever brings it: nothing is written before both signatures
//! and every rule of [`bartizan_manifest::rules`] are for it, and whatever goes wrong then leaves the
//! running version as it was. [`Trial`] says when a version that was installed has proven itself.
//! [`BoxDisk`] is the kernel's calls under [`bartizan_slots::Disk`].
//!
//! Everything that is opened by a path is opened in [`BoxDisk::open`]; after it files are reached
//! through the folder of boot entries alone, so that a process can lock itself down in between.
#![forbid(unsafe_code)]

mod direct;
mod disk;
mod install;
mod report;
mod role;
mod trial;

pub use disk::{BoxDisk, DiskError};
pub use install::{InstallError, Installer, Progress};
pub use role::{Prepared, work, work_by};
pub use trial::{Outcome, Trial};
