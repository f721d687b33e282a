//! The disk's two slots, and how a new version reaches the idle one while power may fail at any
//! byte.
//!
//! A slot is a root partition and one for its hash tree, named by the halves of the root hash, and
//! an entry for the boot loader. [`update`] writes the idle slot in an order after each step of
//! which the disk boots the old or the new version; [`trial`] says when the new one has proven
//! itself. [`gpt`] and [`boot_entry`] are the forms on the disk. No I/O and no clock: the disk is
//! the caller's [`Disk`], and in tests one whose power fails.
//!
//! # What is trusted of a disk
//!
//! A sector is written or it is not; nothing more. Before a flush, what was written may have reached
//! the medium in any order, in part, or not at all. The boot loader's FAT is worse: of a name that
//! is being made or changed, the medium may hold both names, neither, or a mangled one without its
//! boot counter, and the clusters of a name that is being removed may belong to nobody or to
//! another. So an entry is put in place whole except for its first sector, which makes it one, and
//! taken away by its first sector before its name goes.
#![forbid(unsafe_code)]

pub mod boot_entry;
mod disk;
pub mod gpt;
mod slot;
pub mod trial;
pub mod update;

pub use disk::Disk;
pub use slot::{SlotError, Slots};
