//! What is remembered of devices and of those who steer them.

use core::fmt;

use bartizan_evidence::lease::OwnerTime;
use serde::{Deserialize, Serialize};

use super::{Bytes, Class, Clock, Serial, moment};

/// The verifier's word on one piece of evidence.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Verdict {
    /// When.
    #[serde(with = "moment")]
    pub at: OwnerTime,
    /// On what.
    pub occasion: Occasion,
    /// Which.
    pub outcome: Outcome,
    /// The boot of the evidence, if that is known.
    pub clock: Option<Clock>,
}

/// When evidence is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// To enrol.
    Enrolment,
    /// To renew a lease.
    Attestation,
}

/// Passed or failed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Outcome {
    /// A clean state is proved.
    Passed,
    /// It is not.
    Failed {
        /// What kind.
        class: Class,
        /// The rule that was broken.
        rule: String,
        /// What was wrong, precisely.
        text: String,
    },
}

/// A transfer that was accepted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Transferred {
    /// When.
    #[serde(with = "moment")]
    pub at: OwnerTime,
    /// The voucher's epoch.
    pub epoch: u64,
    /// SHA-256 of the voucher.
    pub voucher: Bytes,
}

/// Who did something, for the audit: 1 to 128 characters, none of them a control character.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Actor(String);

/// Something that an operator did.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Audited {
    /// When.
    #[serde(with = "moment")]
    pub at: OwnerTime,
    /// Who.
    pub actor: Actor,
    /// What.
    pub act: Act,
    /// To which device, if to one.
    pub serial: Option<Serial>,
}

/// What an operator may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Applied a plan.
    Apply,
    /// Added a device.
    Add,
    /// Changed what is wanted of a device.
    Place,
    /// Gave a device's voucher.
    Voucher,
    /// Cleared a quarantine.
    Approve,
    /// Cleared a quarantine and the pins.
    ApproveAnew,
    /// Took the trust back.
    Revoke,
    /// Gave a device away.
    Release,
    /// Ended a device.
    Retire,
    /// Brought a signed transfer.
    Transfer,
    /// Asked for an attestation at once.
    Attest,
}

impl Actor {
    /// The most characters.
    pub const MAX: usize = 128;

    /// A name, cut to what is kept.
    pub fn new(name: &str) -> Self {
        let name: String = line(name).chars().take(Self::MAX).collect();
        if name.is_empty() {
            Self("unknown".to_owned())
        } else {
            Self(name)
        }
    }
}

impl From<String> for Actor {
    fn from(name: String) -> Self {
        Self::new(&name)
    }
}

impl From<Actor> for String {
    fn from(actor: Actor) -> Self {
        actor.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The most characters of a text that comes from a device.
const TEXT_MAX: usize = 2048;

/// A text that may hold a device's words as one line of a bounded length.
pub(super) fn line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(TEXT_MAX).collect()
}
