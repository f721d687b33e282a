//! The reader and the writer beneath all structures.

/// Why bytes are no such structure.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StructureError {
    /// It ends early.
    #[error("the structure ends within {0}")]
    Truncated(&'static str),
    /// Something follows it.
    #[error("{0} bytes follow the structure")]
    Trailing(usize),
    /// A length is more than the field can have.
    #[error("{field} has {len} bytes")]
    Length {
        /// Which field.
        field: &'static str,
        /// As claimed or found.
        len: usize,
    },
    /// A number that has no meaning here, or none that evidence may have.
    #[error("{field} is {value:#x}")]
    Value {
        /// Which field.
        field: &'static str,
        /// As found.
        value: u64,
    },
}

/// Takes fields off the front.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take(
        &mut self,
        len: usize,
        field: &'static str,
    ) -> Result<&'a [u8], StructureError> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(StructureError::Truncated(field))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], StructureError> {
        let (taken, rest) = self
            .0
            .split_first_chunk()
            .ok_or(StructureError::Truncated(field))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, StructureError> {
        self.array(field).map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, StructureError> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, StructureError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, StructureError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// A `TPM2B`: its size in two bytes, then that many.
    pub(crate) fn sized(
        &mut self,
        max: usize,
        field: &'static str,
    ) -> Result<&'a [u8], StructureError> {
        let len = usize::from(self.u16(field)?);
        if len > max {
            return Err(StructureError::Length { field, len });
        }
        self.take(len, field)
    }

    pub(crate) fn end(self) -> Result<(), StructureError> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(StructureError::Trailing(left)),
        }
    }
}

/// Appends a `TPM2B`. No field of a parsed or built structure is longer than its two bytes of size
/// can say.
pub(crate) fn write_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend(len.to_be_bytes());
    out.extend(bytes.iter().take(usize::from(len)));
}
