//! What a device's record does not allow.

use super::{Serial, Unexpected};

/// What a device's record does not allow.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The event has no meaning.
    #[error(transparent)]
    Unexpected(#[from] Unexpected),
    /// Another TPM than the known one (V10).
    #[error("another TPM than the one that is known for this serial")]
    OtherTpm,
    /// An identity without an endorsement key.
    #[error("no endorsement key")]
    NoEndorsement,
    /// A floor is lower than it was.
    #[error("the {floor} floor is {found:?}, and was {known}")]
    BelowFloor {
        /// Which.
        floor: &'static str,
        /// What the TPM says.
        found: Option<u64>,
        /// What it said.
        known: u64,
    },
    /// A voucher's epoch is not above what is known.
    #[error("the epoch {epoch} of the voucher is not above {known}")]
    OldVoucher {
        /// The voucher's.
        epoch: u64,
        /// The highest that is known.
        known: u64,
    },
    /// A voucher for another device.
    #[error("the voucher is for {0}")]
    OtherSerial(Serial),
    /// A voucher that would change who the device is.
    #[error(
        "the voucher begins another ownership (epoch {0}): if that is meant, `device transfer` takes it"
    )]
    IsATransfer(u64),
    /// No end of the ownership is outstanding.
    #[error("no release or retirement is outstanding")]
    NothingOwed,
}
