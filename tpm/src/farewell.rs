//! How ownership ends.
//!
//! *Release* evicts the owner's keys and raises the ownership floor, so that the voucher of this
//! ownership never counts again. *Retire* does the same, clears the TPM and leaves a mark by which
//! the box knows at every boot that it is done with. The mark is an index of the owner's hierarchy,
//! written after `TPM2_Clear`: it survives everything but a further `TPM2_Clear` from the firmware's
//! menu. Nothing that an operating system may write survives that; the controller's deny list does.

use bartizan_model::identity::{Farewell, Floor};
use tss_esapi::handles::AuthHandle;

use crate::device::{EMPTY, Tpm, TpmError};
use crate::floor;
use crate::keys::DeviceKeys;
use crate::ldevid::Ldevid;
use crate::nv::{self, Whose};

/// Ends ownership; an interrupted one can be repeated.
///
/// # Errors
///
/// What the TPM says.
pub(crate) fn farewell(tpm: &mut Tpm, how: Farewell) -> Result<(), TpmError> {
    // First the floor: where power fails in between, a floor that is too high is better than a
    // voucher that counts again.
    if is_owned(tpm)? {
        let stood = floor::read_all(tpm)?.ownership.unwrap_or_default();
        floor::raise(tpm, Floor::Ownership, stood.saturating_add(1))?;
        Ldevid::evict(tpm)?;
    }
    DeviceKeys::evict(tpm)?;
    match how {
        Farewell::Release => Ok(()),
        Farewell::Retire => retire(tpm),
    }
}

/// Says whether the mark of a retired box stands.
pub(crate) fn is_retired(tpm: &mut Tpm) -> Result<bool, TpmError> {
    Ok(nv::read(tpm, MARK)?.is_some())
}

/// In the owner's range, beside the floors.
const MARK: u32 = 0x0180_8004;

fn retire(tpm: &mut Tpm) -> Result<(), TpmError> {
    let floors = floor::read_all(tpm)?;
    // Before as well: a loss of power in the middle, or a TPM that refuses, leaves a retired box.
    nv::write(tpm, Whose::Owner, MARK, &[1])?;
    tpm.call("clear", EMPTY, |context| context.clear(AuthHandle::Lockout))?;
    tpm.approval = None;
    nv::write(tpm, Whose::Owner, MARK, &[1])?;
    floor::restore(tpm, floors)
}

fn is_owned(tpm: &mut Tpm) -> Result<bool, TpmError> {
    match Ldevid::open(tpm) {
        Ok(_) | Err(TpmError::ForeignKey) => Ok(true),
        Err(TpmError::NoLdevid) => Ok(false),
        Err(error) => Err(error),
    }
}
