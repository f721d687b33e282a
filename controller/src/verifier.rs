//! The verifier: what is asked of a box before its owner trusts it, and what it is granted then.

mod grant;
mod identity;
mod judge;

pub(crate) use grant::CERTIFICATE_LIFE;
pub use grant::GrantError;
pub use identity::{Examined, Makers};
pub use judge::{Judged, Logs};
pub(crate) use judge::{clock, failed};

use core::time::Duration;

use bartizan_evidence::reference::ReferenceValues;
use bartizan_signer::Signer;

use crate::authority::Authority;

/// Who judges, and grants what follows from it.
#[derive(Debug)]
pub struct Verifier {
    makers: Makers,
    references: Vec<ReferenceValues>,
    signer: Signer,
    ca: Authority,
    sae_ca: Option<Authority>,
    lease: Duration,
}

impl Verifier {
    /// Puts a verifier together; its leases live for `lease`.
    pub fn new(
        makers: Makers,
        references: Vec<ReferenceValues>,
        signer: Signer,
        (ca, sae_ca): (Authority, Option<Authority>),
        lease: Duration,
    ) -> Self {
        Self {
            makers,
            references,
            signer,
            ca,
            sae_ca,
            lease,
        }
    }

    /// Whose word is taken on what a box is made of.
    pub fn makers(&self) -> &Makers {
        &self.makers
    }

    /// How long its leases live.
    pub fn lease(&self) -> Duration {
        self.lease
    }
}
