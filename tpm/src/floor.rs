//! The floors: small numbers in NV memory that this role only raises.
//!
//! They are the owner's indices, because nobody else can make one on a box that has left its
//! factory; `TPM2_Clear` deletes them, and the controller keeps a copy for that reason.

use bartizan_model::identity::{Floor, Floors};

use crate::device::{Tpm, TpmError, code};
use crate::nv::{self, Whose};

/// Every floor.
const ALL: [Floor; 3] = [Floor::Ownership, Floor::Rollback, Floor::Time];

/// Reads them all.
pub(crate) fn read_all(tpm: &mut Tpm) -> Result<Floors, TpmError> {
    Ok(Floors {
        ownership: read(tpm, Floor::Ownership)?,
        rollback: read(tpm, Floor::Rollback)?,
        time: read(tpm, Floor::Time)?,
    })
}

/// Raises a floor; one that is as high stays as it is.
///
/// # Errors
///
/// [`TpmError::Refused`] with `TPM_RC_VALUE` if it is higher already, else what the TPM says.
pub(crate) fn raise(tpm: &mut Tpm, floor: Floor, to: u64) -> Result<(), TpmError> {
    match read(tpm, floor)? {
        Some(stands) if stands == to => Ok(()),
        Some(stands) if stands > to => Err(TpmError::Refused {
            command: "lower a floor",
            code: code::VALUE,
        }),
        _ => nv::write(tpm, Whose::Owner, index(floor), &to.to_be_bytes()),
    }
}

/// Raises a floor unless it is as high already; says where it stands then.
///
/// # Errors
///
/// What the TPM says.
pub(crate) fn raise_to(tpm: &mut Tpm, floor: Floor, to: u64) -> Result<u64, TpmError> {
    match read(tpm, floor)? {
        Some(stands) if stands >= to => Ok(stands),
        _ => raise(tpm, floor, to).map(|()| to),
    }
}

/// Makes those that are missing, at 0: from now on a missing one is a fault.
pub(crate) fn complete(tpm: &mut Tpm) -> Result<(), TpmError> {
    for floor in ALL {
        if read(tpm, floor)?.is_none() {
            nv::write(tpm, Whose::Owner, index(floor), &0_u64.to_be_bytes())?;
        }
    }
    Ok(())
}

/// Says whether all of them stand.
pub(crate) fn are_complete(tpm: &mut Tpm) -> Result<bool, TpmError> {
    for floor in ALL {
        if read(tpm, floor)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes the floors into a TPM that was just cleared.
pub(crate) fn restore(tpm: &mut Tpm, floors: Floors) -> Result<(), TpmError> {
    for (floor, stood) in [
        (Floor::Ownership, floors.ownership),
        (Floor::Rollback, floors.rollback),
        (Floor::Time, floors.time),
    ] {
        if let Some(stood) = stood {
            raise(tpm, floor, stood)?;
        }
    }
    Ok(())
}

fn read(tpm: &mut Tpm, floor: Floor) -> Result<Option<u64>, TpmError> {
    let bytes = nv::read(tpm, index(floor))?;
    // An index of another size is none of ours, so ours is missing.
    Ok(bytes.and_then(|bytes| bytes.try_into().ok().map(u64::from_be_bytes)))
}

/// In the owner's range (TCG Registry of Reserved TPM 2.0 Handles, 2.2.2).
const fn index(floor: Floor) -> u32 {
    match floor {
        Floor::Ownership => 0x0180_8001,
        Floor::Rollback => 0x0180_8002,
        Floor::Time => 0x0180_8003,
    }
}
