//! The unified kernel image: systemd's boot stub with what it boots as further sections of one PE file
//! (PE Format, "Section Table"), so that one signature covers all.

use crate::BuildError;

/// What the stub boots.
#[derive(Clone, Debug)]
pub(crate) struct Sections {
    pub(crate) linux: Vec<u8>,
    pub(crate) osrel: Vec<u8>,
    pub(crate) cmdline: Vec<u8>,
    pub(crate) initrd: Vec<u8>,
    pub(crate) pcrpkey: Vec<u8>,
}

impl Sections {
    /// Name and content in the order in which the stub of systemd 252 measures them.
    pub(crate) fn measured(&self) -> [(&'static str, &[u8]); 5] {
        [
            (".linux", &self.linux),
            (".osrel", &self.osrel),
            (".cmdline", &self.cmdline),
            (".initrd", &self.initrd),
            (".pcrpkey", &self.pcrpkey),
        ]
    }
}

/// Readable, initialised data.
const DATA: u32 = 0x4000_0040;

/// The bytes of a section's header.
const HEADER: usize = 40;

/// Puts the sections behind those of the stub.
pub(crate) fn assemble(
    stub: &[u8],
    sections: &Sections,
    pcrsig: &[u8],
) -> Result<Vec<u8>, BuildError> {
    let mut file = Pe::of(stub)?;
    for (name, content) in [
        (".osrel", sections.osrel.as_slice()),
        (".cmdline", &sections.cmdline),
        (".pcrpkey", &sections.pcrpkey),
        (".pcrsig", pcrsig),
        (".initrd", &sections.initrd),
        // The last, because the kernel wants more memory than it has bytes.
        (".linux", &sections.linux),
    ] {
        file.add(name, content)?;
    }
    Ok(file.bytes)
}

/// A PE32+ file that grows.
struct Pe {
    bytes: Vec<u8>,
    coff: usize,
    optional: usize,
    table: usize,
    count: usize,
}

impl Pe {
    fn of(stub: &[u8]) -> Result<Self, BuildError> {
        let bytes = stub.to_vec();
        let start = usize_of(word(&bytes, 0x3c)?)?;
        if bytes.get(start..start.saturating_add(4)) != Some(b"PE\0\0") {
            return Err(BuildError::Stub("is no PE file"));
        }
        let coff = start.saturating_add(4);
        let optional = coff.saturating_add(20);
        if half(&bytes, optional)? != 0x20b {
            return Err(BuildError::Stub("is not PE32+"));
        }
        let size = usize::from(half(&bytes, coff.saturating_add(16))?);
        let mut file = Self {
            count: usize::from(half(&bytes, coff.saturating_add(2))?),
            table: optional.saturating_add(size),
            bytes,
            coff,
            optional,
        };
        // Symbols lie behind the sections, where ours come; nobody debugs with them.
        let end = file.ends()?.0;
        file.bytes.truncate(usize_of(end)?);
        file.put(file.coff.saturating_add(8), 0)?;
        file.put(file.coff.saturating_add(12), 0)?;
        Ok(file)
    }

    fn add(&mut self, name: &str, content: &[u8]) -> Result<(), BuildError> {
        let at = self.table.saturating_add(self.count.saturating_mul(HEADER));
        let headers = usize_of(word(&self.bytes, self.optional.saturating_add(60))?)?;
        if at.saturating_add(HEADER) > headers {
            return Err(BuildError::Stub("has no room for another section"));
        }
        let alignment = word(&self.bytes, self.optional.saturating_add(32))?;
        let in_file = word(&self.bytes, self.optional.saturating_add(36))?;
        let (file_end, memory_end) = self.ends()?;
        let size = u32_of(content.len())?;
        let address = aligned(memory_end, alignment)?;
        let offset = aligned(file_end, in_file)?;
        let stored = aligned(size, in_file)?;

        let mut header = name.as_bytes().to_vec();
        header.resize(8, 0);
        for field in [size, address, stored, offset, 0, 0, 0, DATA] {
            header.extend(field.to_le_bytes());
        }
        self.bytes.resize(usize_of(offset)?, 0);
        self.bytes.extend(content);
        self.bytes
            .resize(usize_of(offset)?.saturating_add(usize_of(stored)?), 0);
        let place = self.bytes.get_mut(at..at.saturating_add(HEADER));
        place.ok_or(TOO_SHORT)?.copy_from_slice(&header);
        self.count = self.count.saturating_add(1);
        let count = u16::try_from(self.count).map_err(|_| TOO_LONG)?;
        let place = self.coff.saturating_add(2);
        let place = self.bytes.get_mut(place..place.saturating_add(2));
        place
            .ok_or(TOO_SHORT)?
            .copy_from_slice(&count.to_le_bytes());

        let data = self.optional.saturating_add(8);
        let sum = word(&self.bytes, data)?.saturating_add(stored);
        self.put(data, sum)?;
        let image = aligned(address.saturating_add(size), alignment)?;
        self.put(self.optional.saturating_add(56), image)
    }

    /// Where the sections end, in the file and in memory.
    fn ends(&self) -> Result<(u32, u32), BuildError> {
        let mut ends = (0, 0);
        for number in 0..self.count {
            let at = self.table.saturating_add(number.saturating_mul(HEADER));
            let field = |offset: usize| word(&self.bytes, at.saturating_add(offset));
            let memory = field(12)?.saturating_add(field(8)?);
            let file = field(20)?.saturating_add(field(16)?);
            ends = (file.max(ends.0), memory.max(ends.1));
        }
        Ok(ends)
    }

    fn put(&mut self, at: usize, value: u32) -> Result<(), BuildError> {
        let place = self.bytes.get_mut(at..at.saturating_add(4));
        place
            .ok_or(TOO_SHORT)?
            .copy_from_slice(&value.to_le_bytes());
        Ok(())
    }
}

const TOO_SHORT: BuildError = BuildError::Stub("is cut");
const TOO_LONG: BuildError = BuildError::Stub("would be too long");

fn word(bytes: &[u8], at: usize) -> Result<u32, BuildError> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.copied().map(u32::from_le_bytes).ok_or(TOO_SHORT)
}

fn half(bytes: &[u8], at: usize) -> Result<u16, BuildError> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.copied().map(u16::from_le_bytes).ok_or(TOO_SHORT)
}

fn aligned(value: u32, alignment: u32) -> Result<u32, BuildError> {
    value
        .checked_next_multiple_of(alignment)
        .ok_or(BuildError::Stub("has no alignment"))
}

fn usize_of(value: u32) -> Result<usize, BuildError> {
    usize::try_from(value).map_err(|_| TOO_LONG)
}

fn u32_of(value: usize) -> Result<u32, BuildError> {
    u32::try_from(value).map_err(|_| TOO_LONG)
}
