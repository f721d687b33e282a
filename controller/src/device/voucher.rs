//! A voucher that a device's maker signed for this owner.

use bartizan_bootstrap_protocol::certificate::Certificate;
use bartizan_bootstrap_protocol::cms::{self, CmsError, ContentType, MlDsa65Key, Signer};
use bartizan_bootstrap_protocol::voucher::{Bound, Voucher, VoucherError};
use bartizan_evidence::lease::OwnerTime;

use super::Serial;

/// The roots of a maker; both sign each of its vouchers.
#[derive(Clone, Debug)]
pub struct Maker {
    /// The root of the P-384 half.
    pub es384: Certificate,
    /// The key of the other half.
    pub ml_dsa_65: MlDsa65Key,
}

/// A voucher whose signatures were checked; there is no other way to make one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedVoucher {
    serial: Serial,
    epoch: u64,
    bytes: Vec<u8>,
}

/// A voucher that does not count.
#[derive(Debug, thiserror::Error)]
pub enum VoucherRefused {
    /// No maker is configured.
    #[error("no maker is known to this controller; name its roots under [[maker]]")]
    NoMaker,
    /// No maker that is known signed it; what the last of them says.
    #[error("signed by no maker that is known")]
    Signature(#[source] CmsError),
    /// It says nothing that a voucher says.
    #[error("no voucher")]
    Content(#[from] VoucherError),
    /// It is another owner's.
    #[error("the voucher is for an owner with another certificate authority")]
    OtherOwner,
    /// Its time is over.
    #[error("the voucher has expired")]
    Expired,
}

impl SignedVoucher {
    /// Checks a voucher (RFC 8366 in CMS, two signatures) for this owner.
    ///
    /// # Errors
    ///
    /// [`VoucherRefused`].
    pub fn verify(
        bytes: &[u8],
        makers: &[Maker],
        owner: &[Certificate],
        now: OwnerTime,
    ) -> Result<Self, VoucherRefused> {
        let mut refused = VoucherRefused::NoMaker;
        for maker in makers {
            let signer = Signer::Under {
                anchor: &maker.es384,
                floor: now,
            };
            match cms::open(bytes, ContentType::Voucher, signer, &maker.ml_dsa_65) {
                Ok(json) => return Self::read(bytes, &json, owner, now),
                Err(cause) => refused = VoucherRefused::Signature(cause),
            }
        }
        Err(refused)
    }

    fn read(
        bytes: &[u8],
        json: &[u8],
        owner: &[Certificate],
        now: OwnerTime,
    ) -> Result<Self, VoucherRefused> {
        let voucher = Voucher::decode(json)?;
        if !owner.contains(&voucher.pinned_domain_cert) {
            return Err(VoucherRefused::OtherOwner);
        }
        if let Bound::Expires(end) = voucher.bound
            && end < now
        {
            return Err(VoucherRefused::Expired);
        }
        Ok(Self {
            serial: voucher.serial,
            epoch: voucher.epoch.into(),
            bytes: bytes.to_vec(),
        })
    }

    /// Whose device it is about.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The ownership that it gives.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// As it was signed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
