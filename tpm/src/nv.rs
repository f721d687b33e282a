//! NV memory: certificates that the makers left, and small numbers of ours.

use bartizan_model::config::Der;
use tss_esapi::attributes::{NvIndexAttributes, NvIndexAttributesBuilder};
use tss_esapi::constants::{CapabilityType, PropertyTag};
use tss_esapi::handles::{NvIndexHandle, NvIndexTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::{NvAuth, Provision};
use tss_esapi::structures::{CapabilityData, MaxNvBuffer, NvPublic, NvPublicBuilder};

use crate::device::{EMPTY, NONE, Tpm, TpmError, code};

/// The most bytes of an index that is read: ours and the makers' are far smaller.
const INDEX_MAX: usize = 16 * 1024;

/// The most indices that are looked at in a range.
const INDICES_MAX: u32 = 64;

/// Whose an index is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Whose {
    /// The maker's: `TPM2_Clear` does not touch it.
    Maker,
    /// The owner's.
    Owner,
}

/// Which indices of a range are defined, in order.
pub(crate) fn defined(
    tpm: &mut Tpm,
    range: &core::ops::RangeInclusive<u32>,
) -> Result<Vec<u32>, TpmError> {
    let listed = tpm.call("list NV indices", NONE, |context| {
        context.get_capability(CapabilityType::Handles, *range.start(), INDICES_MAX)
    })?;
    let (CapabilityData::Handles(handles), _more) = listed else {
        return Ok(Vec::new());
    };
    let indices = handles.as_ref().iter().map(|&handle| u32::from(handle));
    Ok(indices.filter(|index| range.contains(index)).collect())
}

/// Reads an index; `None` if it is not defined or was never written.
pub(crate) fn read(tpm: &mut Tpm, index: u32) -> Result<Option<Vec<u8>>, TpmError> {
    if defined(tpm, &(index..=index))?.is_empty() {
        return Ok(None);
    }
    with_index(tpm, index, |tpm, handle, public| {
        let auth = if public.attributes().owner_read() {
            NvAuth::Owner
        } else {
            NvAuth::NvIndex(handle)
        };
        let part = part_max(tpm)?;
        let size = public.data_size().min(INDEX_MAX);
        let mut bytes = Vec::new();
        while bytes.len() < size {
            let left = size.saturating_sub(bytes.len()).min(part);
            let offset = bytes.len();
            let read = tpm.call("read NV memory", EMPTY, |context| {
                context.nv_read(auth, handle, short(left)?, short(offset)?)
            });
            match read {
                Ok(part) if part.value().is_empty() => break,
                Ok(part) => bytes.extend(part.value()),
                Err(TpmError::Refused { code, .. }) if code & 0xffff == code::NV_UNINITIALIZED => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(bytes))
    })
}

/// Writes an index, which is defined anew if it is missing or of another size.
pub(crate) fn write(tpm: &mut Tpm, whose: Whose, index: u32, bytes: &[u8]) -> Result<(), TpmError> {
    if !defined(tpm, &(index..=index))?.is_empty() {
        let fits = with_index(tpm, index, |_tpm, _handle, public| {
            Ok(public.data_size() == bytes.len()
                && public.attributes().owner_write() == whose.is_owner())
        })?;
        if !fits {
            remove(tpm, whose, index)?;
        }
    }
    if defined(tpm, &(index..=index))?.is_empty() {
        define(tpm, whose, index, bytes.len())?;
    }
    with_index(tpm, index, |tpm, handle, _public| {
        let part = part_max(tpm)?;
        let mut offset = 0_usize;
        for bytes in bytes.chunks(part.max(1)) {
            tpm.call("write NV memory", EMPTY, |context| {
                let bytes = MaxNvBuffer::try_from(bytes)?;
                context.nv_write(whose.auth(), handle, bytes, short(offset)?)
            })?;
            offset = offset.saturating_add(bytes.len());
        }
        Ok(())
    })
}

/// Removes an index.
pub(crate) fn remove(tpm: &mut Tpm, whose: Whose, index: u32) -> Result<(), TpmError> {
    let handle = NvIndexTpmHandle::new(index).map_err(|cause| TpmError::of("find NV", cause))?;
    tpm.call("remove an NV index", EMPTY, |context| {
        let handle = context.execute_without_session(|context| {
            context.tr_from_tpm_public(TpmHandle::NvIndex(handle))
        })?;
        // This closes the library's note, too.
        context.nv_undefine_space(whose.provision(), handle.into())
    })
}

/// Takes DER after DER; ends where none follows: TPMs pad.
pub(crate) fn certificates(bytes: &[u8]) -> Vec<Der> {
    let mut certificates = Vec::new();
    let mut rest = bytes;
    while let Some((certificate, after)) = first_der(rest) {
        certificates.push(Der(certificate.to_vec()));
        rest = after;
    }
    certificates
}

/// A DER `SEQUENCE` with a length of up to two bytes, and what follows it.
fn first_der(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = match *bytes {
        [0x30, 0x82, high, low, ..] => {
            usize::from(u16::from_be_bytes([high, low])).checked_add(4)?
        }
        [0x30, 0x81, length, ..] => usize::from(length).checked_add(3)?,
        [0x30, length @ 0..=0x7f, ..] => usize::from(length).checked_add(2)?,
        _ => return None,
    };
    bytes.split_at_checked(length)
}

impl Whose {
    fn is_owner(self) -> bool {
        self == Self::Owner
    }

    const fn auth(self) -> NvAuth {
        match self {
            Self::Maker => NvAuth::Platform,
            Self::Owner => NvAuth::Owner,
        }
    }

    const fn provision(self) -> Provision {
        match self {
            Self::Maker => Provision::Platform,
            Self::Owner => Provision::Owner,
        }
    }

    fn attributes(self) -> tss_esapi::Result<NvIndexAttributes> {
        // Anybody may read; no guess at an index of ours counts against the TPM's lockout.
        let attributes = NvIndexAttributesBuilder::new()
            .with_owner_read(true)
            .with_auth_read(true)
            .with_pp_read(true)
            .with_no_da(true);
        match self {
            Self::Maker => attributes.with_pp_write(true).with_platform_create(true),
            Self::Owner => attributes.with_owner_write(true),
        }
        .build()
    }
}

fn define(tpm: &mut Tpm, whose: Whose, index: u32, size: usize) -> Result<(), TpmError> {
    tpm.call("define an NV index", EMPTY, |context| {
        let public = NvPublicBuilder::new()
            .with_nv_index(NvIndexTpmHandle::new(index)?)
            .with_index_name_algorithm(HashingAlgorithm::Sha256)
            .with_index_attributes(whose.attributes()?)
            .with_data_area_size(size)
            .build()?;
        let handle = context.nv_define_space(whose.provision(), None, public)?;
        context.tr_close(&mut handle.into())
    })
}

fn with_index<T>(
    tpm: &mut Tpm,
    index: u32,
    work: impl FnOnce(&mut Tpm, NvIndexHandle, &NvPublic) -> Result<T, TpmError>,
) -> Result<T, TpmError> {
    let handle = NvIndexTpmHandle::new(index).map_err(|cause| TpmError::of("find NV", cause))?;
    let handle = tpm.call("find an NV index", NONE, |context| {
        context.tr_from_tpm_public(TpmHandle::NvIndex(handle))
    })?;
    let done = tpm
        .call("read an NV index's public area", NONE, |context| {
            context.nv_read_public(handle.into())
        })
        .and_then(|(public, _name)| work(tpm, handle.into(), &public));
    tpm.call("forget an NV index", NONE, |context| {
        context.tr_close(&mut { handle })
    })?;
    done
}

/// How much one command reads or writes.
fn part_max(tpm: &mut Tpm) -> Result<usize, TpmError> {
    let part = tpm.call("read a property", NONE, |context| {
        context.get_tpm_property(PropertyTag::NvBufferMax)
    })?;
    let part = part.and_then(|part| usize::try_from(part).ok());
    // The smallest that a TPM may have, and the most that the library takes.
    Ok(part.unwrap_or(512).clamp(64, 1024))
}

fn short(number: usize) -> tss_esapi::Result<u16> {
    u16::try_from(number).map_err(|_| crate::device::wrong_value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_after_certificates_is_none() {
        let one = [0x30, 0x02, 1, 2];
        let long = [[0x30, 0x81, 0x80].as_slice(), &[7; 0x80]].concat();
        let longer = [[0x30, 0x82, 0x01, 0x00].as_slice(), &[7; 0x100]].concat();
        for (padding, count) in [(&[][..], 3), (&[0xff; 9], 3), (&[0; 9], 3)] {
            let bytes = [&one, long.as_slice(), &longer, padding].concat();
            let found = certificates(&bytes);
            assert_eq!(found.len(), count);
            assert_eq!(found[0].0, one);
            assert_eq!(found[1].0, long);
            assert_eq!(found[2].0, longer);
        }
        assert!(certificates(&[0x30, 0x05, 1]).is_empty());
        assert!(certificates(&[0x30]).is_empty());
    }
}
