//! Quotes: what stands in the PCRs, signed by the attestation key.

use bartizan_evidence::binding::{self, FLOORS_LEN};
use bartizan_evidence::structures::Hash;
use bartizan_model::identity::{Floors, PcrSelection, Quoted};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{AttestInfo, Data, PcrSelectionList, PcrSlot, SignatureScheme};
use tss_esapi::traits::Marshall as _;

use crate::administrator::with_device_key;
use crate::device::{NONE, Tpm, TpmError, code, wrong_value};
use crate::floor;
use crate::keys::DeviceKeys;
use crate::template::{DeviceKey, Strength};

/// PCRs and their values, in order.
type Values = Vec<(u8, [u8; 32])>;

/// Bytes of `qualifyingData` that are taken.
const QUALIFYING: core::ops::RangeInclusive<usize> = 16..=64;

/// How often one reading of the PCRs is begun again because one changed in the middle.
const TRIES: usize = 4;

/// Quotes PCRs of the SHA-256 bank, with exactly one `TPM2_Quote`.
///
/// The values are read before the quote, and once more after it if they are not the quoted ones.
///
/// # Errors
///
/// [`TpmError::Refused`] with `TPM_RC_SIZE` for data of another length than 16 to 64 bytes, and for
/// 33 bytes, by which a quote speaks of the floors; with `TPM_RC_VALUE` for no PCR or one that does
/// not exist, with `TPM_RC_PCR_CHANGED` if a PCR changes all the time, else what the TPM says.
pub(crate) fn quote(
    tpm: &mut Tpm,
    keys: &DeviceKeys,
    qualifying: &[u8],
    pcrs: PcrSelection,
) -> Result<Quoted, TpmError> {
    if !QUALIFYING.contains(&qualifying.len()) || qualifying.len() == FLOORS_LEN {
        return Err(refused(code::SIZE));
    }
    quote_over(tpm, keys, qualifying, pcrs)
}

/// Quotes as [`quote`] does, bound to `binding` and to the floors that it reads.
///
/// # Errors
///
/// As [`quote`].
pub(crate) fn quote_with_floors(
    tpm: &mut Tpm,
    keys: &DeviceKeys,
    binding: &[u8; 32],
    pcrs: PcrSelection,
) -> Result<(Quoted, Floors), TpmError> {
    let floors = floor::read_all(tpm)?;
    let qualifying = binding::floors(binding, &floors);
    Ok((quote_over(tpm, keys, &qualifying, pcrs)?, floors))
}

const fn refused(code: u32) -> TpmError {
    TpmError::Refused {
        command: "quote",
        code,
    }
}

fn quote_over(
    tpm: &mut Tpm,
    keys: &DeviceKeys,
    qualifying: &[u8],
    pcrs: PcrSelection,
) -> Result<Quoted, TpmError> {
    let numbers = numbers(pcrs).ok_or(refused(code::VALUE))?;
    let before = read(tpm, &numbers)?;
    let (strength, key) = (keys.strength, DeviceKey::Attestation);
    let (digest, attest, signature) = with_device_key(tpm, strength, key, None, |tpm, session| {
        tpm.call("quote", (Some(session), None, None), |context| {
            let (attest, signature) = context.quote(
                keys.attestation.key,
                Data::try_from(qualifying)?,
                SignatureScheme::Null,
                selection(&numbers)?,
            )?;
            let AttestInfo::Quote { info } = attest.attested() else {
                return Err(wrong_value());
            };
            let digest = info.pcr_digest().value().to_vec();
            Ok((digest, attest.marshall()?, signature.marshall()?))
        })
    })?;
    let values = if digest_of(&before, keys.strength) == digest {
        before
    } else {
        let after = read(tpm, &numbers)?;
        if digest_of(&after, keys.strength) != digest {
            return Err(refused(code::PCR_CHANGED));
        }
        after
    };
    Ok(Quoted {
        attest,
        signature,
        pcrs: values,
    })
}

/// The numbers of the PCRs; `None` if there is none, or one that does not exist.
fn numbers(pcrs: PcrSelection) -> Option<Vec<u8>> {
    let numbers: Vec<u8> = (0..24)
        .filter(|number| pcrs.0.checked_shr(u32::from(*number)).unwrap_or(0) & 1 == 1)
        .collect();
    (!numbers.is_empty() && pcrs.0 < 1 << 24).then_some(numbers)
}

fn selection(numbers: &[u8]) -> tss_esapi::Result<PcrSelectionList> {
    let slots = numbers
        .iter()
        .map(|number| PcrSlot::try_from(1_u32.checked_shl((*number).into()).unwrap_or(0)))
        .collect::<tss_esapi::Result<Vec<_>>>()?;
    PcrSelectionList::builder()
        .with_selection(HashingAlgorithm::Sha256, &slots)
        .build()
}

/// Reads the values, of one moment: a command gives eight.
fn read(tpm: &mut Tpm, numbers: &[u8]) -> Result<Values, TpmError> {
    for _try in 0..TRIES {
        if let Some(values) = try_read(tpm, numbers)? {
            return Ok(values);
        }
    }
    Err(TpmError::Refused {
        command: "read PCRs",
        code: code::PCR_CHANGED,
    })
}

/// `None` if a PCR changed in the middle.
fn try_read(tpm: &mut Tpm, numbers: &[u8]) -> Result<Option<Values>, TpmError> {
    let mut values = Vec::new();
    let mut counter = None;
    for part in numbers.chunks(8) {
        let (now, digests) = tpm.call("read PCRs", NONE, |context| {
            let (now, read, digests) = context.pcr_read(selection(part)?)?;
            // A PCR that has no bank is left out.
            if read != selection(part)? {
                return Err(wrong_value());
            }
            Ok((now, digests))
        })?;
        if counter.is_some_and(|before| before != now) {
            return Ok(None);
        }
        counter = Some(now);
        for (number, digest) in part.iter().zip(digests.value()) {
            let value = digest.value().try_into().map_err(|_| TpmError::Lost {
                command: "read PCRs",
                cause: wrong_value(),
            })?;
            values.push((*number, value));
        }
    }
    Ok(Some(values))
}

/// `pcrDigest` as the attestation key's algorithm makes it (Part 3, 18.4).
fn digest_of(values: &Values, strength: Strength) -> Vec<u8> {
    let hash = match strength {
        Strength::P384 => Hash::Sha384,
        Strength::P256 => Hash::Sha256,
    };
    let values: Vec<&[u8]> = values.iter().map(|(_pcr, value)| &value[..]).collect();
    hash.digest(&values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pcrs_that_exist_are_selected() {
        assert_eq!(numbers(PcrSelection(0)), None);
        assert_eq!(numbers(PcrSelection(1 << 24)), None);
        assert_eq!(numbers(PcrSelection(1 << 24 | 1)), None);
        assert_eq!(numbers(PcrSelection(u32::MAX)), None);
        assert_eq!(
            numbers(PcrSelection(0b1000_1000_0001)),
            Some(vec![0, 7, 11])
        );
        let all = numbers(PcrSelection((1 << 24) - 1)).unwrap();
        assert_eq!(all, (0..24).collect::<Vec<u8>>());
    }
}
