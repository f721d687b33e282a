//! Reading of messages, with a cap on everything that has a length.

use bartizan_evidence::cbor::Writer;
use bartizan_model::config::Der;
use minicbor::decode::{self, Decoder};

use super::{EnrolError, VERSION};

/// The most certificates of a chain.
pub(super) const CHAIN_MAX: usize = 8;

/// The most bytes of a certificate.
const CERTIFICATE_MAX: usize = 8 * 1024;

pub(super) type Result<T> = core::result::Result<T, decode::Error>;

/// Checks the form of a message and reads it: the version and the kind first, then what `read`
/// takes, and nothing behind.
pub(super) fn message<T>(
    bytes: &[u8],
    cap: usize,
    kind: u64,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T>,
    write: impl FnOnce(&T, &mut Writer),
) -> core::result::Result<T, EnrolError> {
    if bytes.len() > cap {
        return Err(EnrolError::TooLong);
    }
    let mut reader = Reader(Decoder::new(bytes));
    let value = reader
        .head(kind)
        .and_then(|()| read(&mut reader))
        .map_err(EnrolError::Malformed)?;
    if encode(kind, |writer| write(&value, writer)) != bytes {
        return Err(EnrolError::Form);
    }
    Ok(value)
}

/// Writes a message.
pub(super) fn encode(kind: u64, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(3).unsigned(VERSION).unsigned(kind);
    write(&mut writer);
    writer.into_bytes()
}

/// Whether the items are the right ones; their form is compared afterwards.
pub(super) struct Reader<'a>(Decoder<'a>);

impl<'a> Reader<'a> {
    fn head(&mut self, kind: u64) -> Result<()> {
        self.array(3)?;
        if self.unsigned()? != VERSION {
            return Err(decode::Error::message("another version"));
        }
        if self.unsigned()? != kind {
            return Err(decode::Error::message("another message"));
        }
        Ok(())
    }

    /// An array of exactly so many items.
    pub(super) fn array(&mut self, items: u64) -> Result<()> {
        if self.0.array()? != Some(items) {
            return Err(decode::Error::message("an array of another length"));
        }
        Ok(())
    }

    /// An array of at most so many items.
    pub(super) fn list<T>(
        &mut self,
        most: usize,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let items = self
            .0
            .array()?
            .and_then(|items| usize::try_from(items).ok());
        match items {
            Some(items) if items <= most => (0..items).map(|_| item(self)).collect(),
            _ => Err(decode::Error::message("an array is too long")),
        }
    }

    /// An array of no item or one.
    pub(super) fn optional<T>(
        &mut self,
        item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        Ok(self.list(1, item)?.pop())
    }

    pub(super) fn unsigned(&mut self) -> Result<u64> {
        self.0.u64()
    }

    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Result<T> {
        T::try_from(self.0.u64()?).map_err(|_| decode::Error::message("a number is too great"))
    }

    /// One of the identifiers that are known.
    pub(super) fn one_of<T: Copy>(&mut self, known: &[(u64, T)]) -> Result<T> {
        let number = self.0.u64()?;
        let found = known.iter().find(|(id, _)| *id == number);
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| decode::Error::message("an unknown identifier"))
    }

    pub(super) fn bytes(&mut self, most: usize) -> Result<&'a [u8]> {
        let bytes = self.0.bytes()?;
        if bytes.len() > most {
            return Err(decode::Error::message("a byte string is too long"));
        }
        Ok(bytes)
    }

    pub(super) fn exactly<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = <[u8; N]>::try_from(self.0.bytes()?);
        bytes.map_err(|_| decode::Error::message("a byte string of another length"))
    }

    pub(super) fn text(&mut self, most: usize) -> Result<&'a str> {
        let text = self.0.str()?;
        if text.len() > most {
            return Err(decode::Error::message("a text is too long"));
        }
        Ok(text)
    }

    pub(super) fn chain(&mut self) -> Result<Vec<Der>> {
        self.list(CHAIN_MAX, Self::certificate)
    }

    pub(super) fn certificate(&mut self) -> Result<Der> {
        Ok(Der(self.bytes(CERTIFICATE_MAX)?.to_vec()))
    }
}

/// A number of items, as CBOR counts them.
pub(super) fn count<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

pub(super) fn write_chain(writer: &mut Writer, chain: &[Der]) {
    writer.array(count(chain));
    for Der(certificate) in chain {
        writer.bytes(certificate);
    }
}
