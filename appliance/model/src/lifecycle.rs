//! The appliance's life, from the factory to the scrap heap.

use serde::{Deserialize, Serialize};

/// Where the appliance stands. Derived at each boot, never stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Lifecycle {
    /// Nobody's: the TPM holds no `LDevID`.
    Factory,
    /// Looks for the owner's controller.
    Discovering,
    /// Proves that its keys sit in this TPM, and asks for an `LDevID`.
    Enrolling,
    /// Owned; no lease of this boot yet.
    Attesting,
    /// The engine accepted a lease; no policy is in force.
    Attested,
    /// Protects traffic.
    Operational,
    /// Every key wiped; only a new clean attestation leads out.
    Quarantined,
    /// Credentials evicted from the TPM; nothing leads out.
    Decommissioned,
}

/// What happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// Booted, and the TPM holds no `LDevID`.
    BootedUnowned,
    /// Booted, and the TPM holds an `LDevID`.
    BootedOwned,
    /// Booted, and the TPM holds an `LDevID` that this boot may not use.
    BootedUnapproved,
    /// Booted, and the owner had ordered the end.
    BootedRetired,
    /// Signed data and a voucher for this serial were accepted.
    OwnerFound,
    /// The `LDevID` is stored in the TPM.
    LdevidStored,
    /// The engine accepted a lease.
    LeaseAccepted,
    /// The lease is overdue, or the verifier refused the attestation.
    LeaseLost,
    /// The first policy is in force.
    PolicyInForce,
    /// The last policy was taken out.
    PolicyWithdrawn,
    /// The owner ordered the end.
    RetireOrdered,
    /// The owner gave the box away.
    ReleaseOrdered,
}

/// An event that has no meaning in this state.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{event:?} has no meaning in the state {state:?}")]
pub struct Unexpected {
    /// Where the appliance stood.
    pub state: Lifecycle,
    /// What came in.
    pub event: Event,
}

impl Lifecycle {
    /// Every state, in the order of life.
    pub const ALL: [Self; 8] = [
        Self::Factory,
        Self::Discovering,
        Self::Enrolling,
        Self::Attesting,
        Self::Attested,
        Self::Operational,
        Self::Quarantined,
        Self::Decommissioned,
    ];

    /// Takes one event; the whole life is this table.
    ///
    /// # Errors
    ///
    /// [`Unexpected`] if the event has no meaning in this state; the state stays.
    pub fn after(self, event: Event) -> Result<Self, Unexpected> {
        use Event as E;
        use Lifecycle as L;

        Ok(match (self, event) {
            (L::Factory, E::BootedUnowned) => L::Discovering,
            (L::Factory, E::BootedOwned) => L::Attesting,
            (L::Factory, E::BootedUnapproved) => L::Quarantined,
            (L::Factory, E::BootedRetired) => L::Decommissioned,
            (L::Discovering, E::OwnerFound) => L::Enrolling,
            (L::Enrolling, E::LdevidStored) => L::Attesting,
            (L::Attesting, E::LeaseAccepted) => L::Attested,
            (L::Attested, E::LeaseAccepted) => L::Attested,
            (L::Attested, E::PolicyInForce) => L::Operational,
            (L::Operational, E::LeaseAccepted) => L::Operational,
            (L::Operational, E::PolicyWithdrawn) => L::Attested,

            (L::Attesting | L::Attested | L::Operational, E::LeaseLost) => L::Quarantined,
            (L::Quarantined, E::LeaseLost) => L::Quarantined,
            (L::Quarantined, E::LeaseAccepted) => L::Attested,

            (L::Attesting | L::Attested | L::Operational | L::Quarantined, E::RetireOrdered) => {
                L::Decommissioned
            }
            (L::Attesting | L::Attested | L::Operational | L::Quarantined, E::ReleaseOrdered) => {
                L::Factory
            }

            (state, event) => return Err(Unexpected { state, event }),
        })
    }
}

impl Event {
    /// Every event, in the order of life.
    pub const ALL: [Self; 12] = [
        Self::BootedUnowned,
        Self::BootedOwned,
        Self::BootedUnapproved,
        Self::BootedRetired,
        Self::OwnerFound,
        Self::LdevidStored,
        Self::LeaseAccepted,
        Self::LeaseLost,
        Self::PolicyInForce,
        Self::PolicyWithdrawn,
        Self::RetireOrdered,
        Self::ReleaseOrdered,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarantine_leads_only_to_attested_or_to_the_end_of_ownership() {
        for event in Event::ALL {
            if let Ok(next) = Lifecycle::Quarantined.after(event) {
                assert!(matches!(
                    next,
                    Lifecycle::Quarantined
                        | Lifecycle::Attested
                        | Lifecycle::Decommissioned
                        | Lifecycle::Factory
                ));
            }
        }
    }

    #[test]
    fn nothing_leads_out_of_decommissioned() {
        for event in Event::ALL {
            assert!(Lifecycle::Decommissioned.after(event).is_err());
        }
    }
}
