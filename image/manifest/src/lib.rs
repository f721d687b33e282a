//! What an update says of itself, under which two signatures, and by which rules it counts.
//!
//! A [`Manifest`] names the version, the [`Part`]s with their sizes and hashes, and the rollback
//! epoch; it counts only with both signatures of the maker's release keys. [`rules`] say whether a
//! box may take it. A [`bundle`] is the manifest followed by the parts: the one file that is handed
//! over, served and flashed. No I/O, no clock: the image tool, the updater and the controller use
//! the same code.
#![forbid(unsafe_code)]

pub mod bundle;
mod decode;
mod manifest;
pub mod rules;
mod version;

pub use manifest::{
    Contents, MACHINE_MAX, MANIFEST_MAX, Manifest, ManifestError, Part, PartContents,
};
pub use version::{NUMBERS_MAX, VERSION_MAX, Version, VersionError};
