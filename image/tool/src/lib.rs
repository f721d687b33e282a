//! What an image measures, computed from its files alone.
//!
//! [`pe`] reads and hashes EFI images, [`secure_boot`] the keys, [`stub`] says what the boot stub
//! hands to the kernel, and [`prediction`] makes the values of PCRs out of them. [`verity`] computes
//! the root hash anew. Nothing here runs a program or writes a file.
#![forbid(unsafe_code)]

pub mod pe;
pub mod prediction;
pub mod secure_boot;
pub mod stub;
pub mod verity;
