//! What the caller lends: a disk and the boot loader's folder on it.

/// A disk with a partition table, and the folder of boot entries (`EFI/Linux`) on its system
/// partition, mounted.
///
/// What is read is what the medium holds, not what a cache does.
pub trait Disk {
    /// What can go wrong with it.
    type Error;

    /// Bytes a sector: 512 or 4096.
    fn sector_size(&self) -> u32;

    /// How many sectors it has.
    fn sectors(&self) -> u64;

    /// Fills `into` from a byte offset of the whole disk.
    ///
    /// # Errors
    ///
    /// If not all of it could be read.
    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes at a byte offset of the whole disk.
    ///
    /// # Errors
    ///
    /// If not all of it could be written.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Returns when all that was written with [`Self::write`] is on the medium.
    ///
    /// # Errors
    ///
    /// If that cannot be said.
    fn flush(&mut self) -> Result<(), Self::Error>;

    /// The names in the folder.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    fn names(&mut self) -> Result<Vec<String>, Self::Error>;

    /// Makes a file of `size` zero bytes whose clusters are all its own.
    ///
    /// # Errors
    ///
    /// If the name is taken, or there is no room.
    fn create(&mut self, name: &str, size: u64) -> Result<(), Self::Error>;

    /// How many bytes a file has.
    ///
    /// # Errors
    ///
    /// If that cannot be read.
    fn file_size(&mut self, name: &str) -> Result<u64, Self::Error>;

    /// Fills `into` from a byte offset of a file.
    ///
    /// # Errors
    ///
    /// If not all of it could be read.
    fn read_file(&mut self, name: &str, offset: u64, into: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes within a file's size, in place.
    ///
    /// # Errors
    ///
    /// If not all of it could be written.
    fn write_file(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Gives a file another name in the folder.
    ///
    /// # Errors
    ///
    /// If that could not be done.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), Self::Error>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// If that could not be done.
    fn remove(&mut self, name: &str) -> Result<(), Self::Error>;

    /// Returns when the folder and its files are on the medium.
    ///
    /// # Errors
    ///
    /// If that cannot be said.
    fn flush_files(&mut self) -> Result<(), Self::Error>;
}
