//! The versions on the box's own disk.

use serde::{Deserialize, Serialize};

/// The most versions that are told of beside the running one. There are two slots, so one; a disk
/// that others wrote to may show more.
pub const VERSIONS_MAX: usize = 4;

/// What the boot loader may choose from.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct VersionsReport {
    /// The version that runs.
    pub running: VersionReport,
    /// The others, at most [`VERSIONS_MAX`].
    pub others: Vec<VersionReport>,
}

/// One version.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct VersionReport {
    /// Dotted numbers.
    pub version: String,
    /// What the boot loader makes of it.
    pub standing: VersionStanding,
}

/// What the boot loader makes of a version.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum VersionStanding {
    /// It has proven itself.
    Blessed,
    /// It has not yet.
    OnTrial {
        /// How often it may still be started; with 0 the boot loader leaves it for last.
        left: u32,
    },
    /// It has no boot entry.
    Gone,
}
