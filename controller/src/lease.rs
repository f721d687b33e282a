//! The signer of unattested leases, for testbeds that have not moved to attested gateways.
//!
//! With the feature `dev-lease` and without a verifier, it grants leases that say that no attestation
//! stands behind them; every shipped gateway refuses those. Leases that count are
//! [`crate::verifier`]'s.

use core::time::Duration;
use std::path::Path;

use bartizan_model::ids::{NodeId, Nonce, Thumbprint};

/// Signs leases of one length.
#[derive(Debug)]
pub struct Granter {
    #[cfg(feature = "dev-lease")]
    signer: bartizan_dev_lease::Signer,
    #[cfg(not(feature = "dev-lease"))]
    signer: core::convert::Infallible,
    lease: Duration,
}

/// No lease can be signed.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The configuration names a signer, and this build has none.
    #[error(
        "this build signs no unattested leases: configure [verifier], and take lease.signer out"
    )]
    NotInThisBuild,
    /// The signer's keys cannot be read, or it cannot sign.
    #[cfg(feature = "dev-lease")]
    #[error("the development signer")]
    Signer(#[from] bartizan_dev_lease::SignerError),
}

#[cfg(feature = "dev-lease")]
impl Granter {
    /// Reads the keys of the development signer.
    ///
    /// # Errors
    ///
    /// [`LeaseError::Signer`].
    pub fn load(directory: &Path, lease: Duration) -> Result<Self, LeaseError> {
        let signer = bartizan_dev_lease::Signer::load(directory)?;
        Ok(Self { signer, lease })
    }

    /// Signs a lease for a gateway, from now on.
    ///
    /// # Errors
    ///
    /// [`LeaseError::Signer`].
    pub fn grant(
        &self,
        node: &NodeId,
        ldevid: Thumbprint,
        nonce: Nonce,
    ) -> Result<Vec<u8>, LeaseError> {
        use bartizan_evidence::lease::{Basis, Claims, Status};

        let issued = crate::clock::owner_time();
        Ok(self.signer.sign(&Claims {
            node: node.clone(),
            ldevid,
            nonce,
            issued,
            expires: issued.after(self.lease),
            status: Status::Affirming,
            basis: Basis::Unattested,
        })?)
    }
}

#[cfg(not(feature = "dev-lease"))]
impl Granter {
    /// Says that there is no signer.
    ///
    /// # Errors
    ///
    /// Always [`LeaseError::NotInThisBuild`].
    pub fn load(_directory: &Path, _lease: Duration) -> Result<Self, LeaseError> {
        Err(LeaseError::NotInThisBuild)
    }

    /// Never called: there is no `Granter` in this build.
    ///
    /// # Errors
    ///
    /// None.
    pub fn grant(
        &self,
        _node: &NodeId,
        _ldevid: Thumbprint,
        _nonce: Nonce,
    ) -> Result<Vec<u8>, LeaseError> {
        match self.signer {}
    }
}

impl Granter {
    /// How long its leases live.
    pub fn lease(&self) -> Duration {
        self.lease
    }
}
