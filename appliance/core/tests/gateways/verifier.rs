//! The owner's verifier: signs leases, and remembers which, so that nobody else's word counts for
//! when one ends.

use core::time::Duration;

use bartizan_evidence::lease::{Claims, OwnerTime, Status};
use bartizan_evidence::order::Order;
use bartizan_model::identity::Farewell;
use bartizan_model::ids::{NodeId, Nonce, Thumbprint};
use bartizan_signer::Signer;

/// How long a lease lives.
pub(crate) const LEASE: Duration = Duration::from_secs(300);

/// How often one is given.
pub(crate) const CADENCE: Duration = Duration::from_secs(60);

/// The owner's clock when the world begins.
const EPOCH: u64 = 1_900_000_000;

pub(crate) struct Verifier {
    pub(crate) signer: Signer,
}

impl Verifier {
    pub(crate) fn new() -> Self {
        Self {
            signer: Signer::generate().unwrap(),
        }
    }

    pub(crate) fn claims(now: Duration, node: &NodeId, ldevid: Thumbprint, nonce: Nonce) -> Claims {
        let issued = Self::clock(now);
        Claims {
            node: node.clone(),
            ldevid,
            nonce,
            issued,
            expires: issued.after(LEASE),
            status: Status::Affirming,
        }
    }

    /// The owner's clock.
    pub(crate) fn clock(now: Duration) -> OwnerTime {
        OwnerTime(EPOCH + now.as_secs())
    }

    pub(crate) fn sign(&self, claims: &Claims) -> Vec<u8> {
        self.signer.sign(&claims.encode()).unwrap()
    }

    pub(crate) fn order(
        now: Duration,
        node: &NodeId,
        ldevid: Thumbprint,
        nonce: Nonce,
        farewell: Farewell,
    ) -> Order {
        Order {
            node: node.clone(),
            ldevid,
            nonce,
            issued: OwnerTime(EPOCH + now.as_secs()),
            farewell,
        }
    }

    pub(crate) fn sign_order(&self, order: &Order) -> Vec<u8> {
        self.signer.sign(&order.encode()).unwrap()
    }

    /// The world's time at which a lease ends by the owner's own clock.
    pub(crate) fn ends(claims: &Claims) -> Duration {
        Duration::from_secs(claims.expires.0 - EPOCH)
    }
}
