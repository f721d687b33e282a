//! What an image measures, computed from its files alone.
//!
//! [`pe`] reads and hashes EFI images, [`secure_boot`] the keys, [`stub`] says what the boot stub
//! hands to the kernel, and [`prediction`] makes the values of PCRs out of them. [`verity`] computes
//! the root hash anew, and [`flash`] every byte of a disk. Nothing here runs a program or opens a
//! file.
#![forbid(unsafe_code)]

pub mod flash;
pub mod pe;
pub mod prediction;
pub mod secure_boot;
pub mod stub;
pub mod verity;
