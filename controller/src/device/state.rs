//! The life of a device as its owner sees it.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Where a device stands with its owner.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Added by an operator; its TPM has not been seen, or a signed transfer lets another come.
    Expected,
    /// Its TPM is known and proved a clean state; leases may be granted.
    Enrolled,
    /// It failed. No lease until it is cleared, however long that takes.
    Quarantined(Class),
    /// An operator took the trust back; only a signed transfer brings it again.
    Revoked,
    /// Given away; only a signed transfer brings it again.
    Released,
    /// Ended for good, and its keys are denied.
    Retired,
}

/// What kind of failure put a device in quarantine; the graver one stays.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// It runs what it should not: a clean boot clears it.
    State,
    /// What it sent cannot be read.
    Malformed,
    /// What it sent proves nothing, or something else.
    Evidence,
    /// It is not the device that it should be.
    Identity,
}

/// What happened to a device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// It proved a clean state, in the boot that the last proof or failure came from, or one of which nothing is known.
    Passed,
    /// It proved a clean state in another boot than the one that it failed in.
    PassedAfterBoot,
    /// It failed.
    Failed(Class),
    /// An operator clears the quarantine of a device whose TPM is known.
    Approved,
    /// The same, and its TPM was never accepted.
    ApprovedUnseen,
    /// An operator takes the trust back.
    Revoked,
    /// An operator gives the device away.
    Released,
    /// An operator ends the device for good.
    Retired,
    /// Its maker signed that it is ours (again), by a voucher of a higher epoch.
    Transferred,
}

/// An event that has no meaning in this state.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{event} has no meaning for a device that is {state}")]
pub struct Unexpected {
    /// Where the device stood.
    pub state: State,
    /// What came in.
    pub event: Event,
}

impl State {
    /// Every state, in the order of life.
    pub const ALL: [Self; 9] = [
        Self::Expected,
        Self::Enrolled,
        Self::Quarantined(Class::State),
        Self::Quarantined(Class::Malformed),
        Self::Quarantined(Class::Evidence),
        Self::Quarantined(Class::Identity),
        Self::Revoked,
        Self::Released,
        Self::Retired,
    ];

    /// Takes one event; the whole life is this table. Time is no event: nothing here happens by itself.
    ///
    /// # Errors
    ///
    /// [`Unexpected`] if the event has no meaning in this state; the state stays.
    pub fn after(self, event: Event) -> Result<Self, Unexpected> {
        use Event as E;
        use State as S;

        Ok(match (self, event) {
            (S::Expected | S::Enrolled, E::Passed | E::PassedAfterBoot) => S::Enrolled,
            (S::Expected | S::Enrolled, E::Failed(class)) => S::Quarantined(class),

            (S::Quarantined(Class::State), E::PassedAfterBoot) => S::Enrolled,
            (S::Quarantined(class), E::Passed | E::PassedAfterBoot) => S::Quarantined(class),
            (S::Quarantined(class), E::Failed(next)) => S::Quarantined(class.max(next)),
            (S::Quarantined(_), E::Approved) => S::Enrolled,
            (S::Quarantined(_), E::ApprovedUnseen) => S::Expected,

            (S::Expected | S::Enrolled | S::Quarantined(_), E::Revoked) => S::Revoked,
            (S::Expected | S::Enrolled | S::Quarantined(_), E::Released) => S::Released,
            (
                S::Expected | S::Enrolled | S::Quarantined(_) | S::Revoked | S::Released,
                E::Retired,
            ) => S::Retired,
            (
                S::Expected | S::Enrolled | S::Quarantined(_) | S::Revoked | S::Released,
                E::Transferred,
            ) => S::Expected,

            (state, event) => return Err(Unexpected { state, event }),
        })
    }
}

impl Class {
    /// Every class, the lightest first.
    pub const ALL: [Self; 4] = [Self::State, Self::Malformed, Self::Evidence, Self::Identity];
}

impl Event {
    /// Every event, in the order of life.
    pub const ALL: [Self; 12] = [
        Self::Passed,
        Self::PassedAfterBoot,
        Self::Failed(Class::State),
        Self::Failed(Class::Malformed),
        Self::Failed(Class::Evidence),
        Self::Failed(Class::Identity),
        Self::Approved,
        Self::ApprovedUnseen,
        Self::Revoked,
        Self::Released,
        Self::Retired,
        Self::Transferred,
    ];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expected => f.write_str("expected"),
            Self::Enrolled => f.write_str("enrolled"),
            Self::Quarantined(class) => write!(f, "quarantined ({class})"),
            Self::Revoked => f.write_str("revoked"),
            Self::Released => f.write_str("released"),
            Self::Retired => f.write_str("retired"),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::State => "state",
            Self::Malformed => "malformed",
            Self::Evidence => "evidence",
            Self::Identity => "identity",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("a proof"),
            Self::PassedAfterBoot => f.write_str("a proof of another boot"),
            Self::Failed(class) => write!(f, "a failure ({class})"),
            Self::Approved | Self::ApprovedUnseen => f.write_str("approval"),
            Self::Revoked => f.write_str("revocation"),
            Self::Released => f.write_str("release"),
            Self::Retired => f.write_str("retirement"),
            Self::Transferred => f.write_str("a transfer"),
        }
    }
}
