//! The lease: without a live one nothing is fetched, derived or installed.
//!
//! The functions that do so take `&Lease`. One comes only out of [`Keeper::live`], and into it only
//! with both signatures of the pinned verifier over our own outstanding nonce: a neighbour that was
//! taken over can withhold a lease, never grant one.
//!
//! Time: a lease lives until t0 + (`exp` - `iat`), t0 being the boot time at which its nonce was
//! made, so before the verifier signed: it ends here no later than the verifier means. Owner time =
//! `iat` + (now - t0) runs ahead of the verifier's clock by the same span; peers' leases are judged
//! by it, so they too end no later than meant.

use core::time::Duration;

use bartizan_evidence::cose::{KeyError, VerifierKeys};
use bartizan_evidence::lease::{Claims, LeaseError, OwnerTime, Status, verify};
use bartizan_evidence::order::{self, OrderError};
use bartizan_model::config::EngineConfig;
use bartizan_model::identity::Farewell;
use bartizan_model::ids::{NodeId, Nonce, Thumbprint};
use bartizan_model::message::LeaseRefusal;
use bartizan_model::time::{BootTime, OwnerMoment};
use subtle::ConstantTimeEq;

/// The longest lease that counts: what a verifier grants a gateway that may be cut off.
pub const LEASE_LIFE_MAX: Duration = Duration::from_hours(24);

/// How long a nonce waits for its lease. The lease loses what its nonce has waited; twice the
/// verifier's cadence leaves most of it.
pub const NONCE_LIFE: Duration = Duration::from_mins(2);

/// Bytes of the engine's entropy source.
pub type Entropy<'a> = &'a mut dyn FnMut(&mut [u8]);

/// This gateway's own lease.
#[derive(Debug)]
pub struct Lease {
    bytes: Vec<u8>,
    issued: OwnerTime,
    asked: BootTime,
    end: BootTime,
}

impl Lease {
    /// The lease as signed, for a peer to check.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The moment from which it counts no more.
    pub fn end(&self) -> BootTime {
        self.end
    }

    /// The owner's clock, as this lease shows it.
    pub fn owner_moment(&self) -> OwnerMoment {
        OwnerMoment {
            seconds: self.issued.0,
            at: self.asked,
        }
    }

    /// The boot time at which the owner's clock shows `moment`; the start of time if that was
    /// before the boot.
    fn at(&self, moment: OwnerTime) -> BootTime {
        if moment >= self.issued {
            self.asked.after(moment.since(self.issued))
        } else {
            BootTime(self.asked.0.saturating_sub(self.issued.since(moment)))
        }
    }
}

/// A peer's lease, as it counts here; the greater ends later.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct PeerLease {
    end: BootTime,
}

impl PeerLease {
    /// The moment from which it counts no more.
    pub fn end(self) -> BootTime {
        self.end
    }

    /// Says whether it counts.
    pub fn is_live(self, now: BootTime) -> bool {
        now < self.end
    }
}

/// Makes the nonces, checks what comes back and keeps the lease.
#[derive(Debug)]
pub struct Keeper {
    node: NodeId,
    ldevid: Thumbprint,
    verifier: VerifierKeys,
    nonce: Nonce,
    asked: BootTime,
    lease: Option<Lease>,
}

impl Keeper {
    /// Starts without a lease and with a first nonce.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if a pinned key is none.
    pub fn new(
        config: &EngineConfig,
        now: BootTime,
        entropy: Entropy<'_>,
    ) -> Result<Self, KeyError> {
        Ok(Self {
            node: config.node.clone(),
            ldevid: config.ldevid,
            verifier: VerifierKeys::new(&config.verifier.es384, &config.verifier.ml_dsa_65)?,
            nonce: fresh_nonce(entropy),
            asked: now,
            lease: None,
        })
    }

    /// The one nonce that the next lease may carry.
    pub fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// When [`Keeper::renew_nonce`] is due.
    pub fn nonce_due(&self) -> BootTime {
        self.asked.after(NONCE_LIFE)
    }

    /// Puts a fresh nonce in the place of the outstanding one.
    pub fn renew_nonce(&mut self, now: BootTime, entropy: Entropy<'_>) {
        self.nonce = fresh_nonce(entropy);
        self.asked = now;
    }

    /// The lease, while it is live.
    pub fn live(&self, now: BootTime) -> Option<&Lease> {
        self.lease.as_ref().filter(|lease| now < lease.end)
    }

    /// The lease that was accepted last, live or not, until [`Keeper::drop_lease`].
    pub fn held(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// Forgets the lease.
    pub fn drop_lease(&mut self) {
        self.lease = None;
    }

    /// Takes the verifier's result. Its nonce is spent if both signatures are right, whatever the
    /// result says.
    ///
    /// A lease that would end before the one at hand leaves that one standing: SAs rest on it, and
    /// the verifier has a result to take a lease away with.
    ///
    /// # Errors
    ///
    /// [`LeaseRefusal`]; of these only [`LeaseRefusal::Status`] is the verifier's own word.
    pub fn accept(
        &mut self,
        bytes: Vec<u8>,
        now: BootTime,
        entropy: Entropy<'_>,
    ) -> Result<&Lease, LeaseRefusal> {
        let claims = verify(&bytes, &self.verifier).map_err(|cause| refusal(&cause))?;
        if claims.node != self.node || claims.ldevid != self.ldevid {
            return Err(LeaseRefusal::OtherDevice);
        }
        if !bool::from(claims.nonce.0.ct_eq(&self.nonce.0)) {
            return Err(LeaseRefusal::Nonce);
        }
        let asked = self.asked;
        self.renew_nonce(now, entropy);

        check_result(&claims)?;
        let end = asked.after(claims.lifetime());
        if end <= now || claims.lifetime() > LEASE_LIFE_MAX {
            return Err(LeaseRefusal::Times);
        }
        let older = self.lease.take().filter(|older| older.end > end);
        Ok(self.lease.insert(older.unwrap_or(Lease {
            bytes,
            issued: claims.issued,
            asked,
            end,
        })))
    }

    /// Takes the owner's order that ends ownership. Its nonce is spent if both signatures are right.
    ///
    /// # Errors
    ///
    /// [`LeaseRefusal`].
    pub fn obey(
        &mut self,
        bytes: &[u8],
        now: BootTime,
        entropy: Entropy<'_>,
    ) -> Result<Farewell, LeaseRefusal> {
        let order = order::verify(bytes, &self.verifier).map_err(|cause| disobeyed(&cause))?;
        if order.node != self.node || order.ldevid != self.ldevid {
            return Err(LeaseRefusal::OtherDevice);
        }
        if !bool::from(order.nonce.0.ct_eq(&self.nonce.0)) {
            return Err(LeaseRefusal::Nonce);
        }
        self.renew_nonce(now, entropy);
        Ok(order.farewell)
    }

    /// Judges the lease that a peer presents: for that node, the key that it proved on the link,
    /// and live by owner time, which only our own lease gives.
    ///
    /// # Errors
    ///
    /// [`LeaseRefusal`].
    pub fn judge(
        &self,
        bytes: &[u8],
        node: &NodeId,
        ldevid: Thumbprint,
        own: &Lease,
        now: BootTime,
    ) -> Result<PeerLease, LeaseRefusal> {
        let claims = verify(bytes, &self.verifier).map_err(|cause| refusal(&cause))?;
        if claims.node != *node || claims.ldevid != ldevid {
            return Err(LeaseRefusal::OtherDevice);
        }
        check_result(&claims)?;
        let lifetime = claims.lifetime();
        let end = own.at(claims.expires).min(now.after(lifetime));
        if end <= now || lifetime > LEASE_LIFE_MAX {
            return Err(LeaseRefusal::Times);
        }
        Ok(PeerLease { end })
    }
}

fn check_result(claims: &Claims) -> Result<(), LeaseRefusal> {
    if claims.status == Status::Affirming {
        Ok(())
    } else {
        Err(LeaseRefusal::Status)
    }
}

fn refusal(cause: &LeaseError) -> LeaseRefusal {
    match cause {
        LeaseError::TooLong
        | LeaseError::Envelope(_)
        | LeaseError::Malformed(_)
        | LeaseError::Form
        | LeaseError::Node(_)
        | LeaseError::Status => LeaseRefusal::Malformed,
        LeaseError::Signature(_) => LeaseRefusal::Signature,
        LeaseError::Times => LeaseRefusal::Times,
    }
}

fn disobeyed(cause: &OrderError) -> LeaseRefusal {
    match cause {
        OrderError::TooLong
        | OrderError::Envelope(_)
        | OrderError::Malformed(_)
        | OrderError::Form
        | OrderError::Node(_) => LeaseRefusal::Malformed,
        OrderError::Signature(_) => LeaseRefusal::Signature,
    }
}

fn fresh_nonce(entropy: Entropy<'_>) -> Nonce {
    let mut nonce = Nonce([0; 32]);
    entropy(&mut nonce.0);
    nonce
}
