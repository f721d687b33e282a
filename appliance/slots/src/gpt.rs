//! GUID partition tables (UEFI 2.10, 5.3): two copies, each with a header and 128 entries.
//!
//! Nothing of a table is understood but what slots need; the rest is carried along as it is.

mod crc32;
mod guid;
mod table;

pub use guid::Guid;
pub use table::{ENTRIES, Image, Partition, Replica, Table, TableError, protective_mbr};
