//! Why evidence is refused: the rule, the coarse class that the box hears, and the precise text
//! for the log.

use core::fmt;

/// A rule that every piece of evidence must pass.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Rule {
    /// The signed structure is a TPM's and of the kind that was asked for.
    V1,
    /// It quotes exactly one selection, the one that was asked for.
    V2,
    /// The values that came beside it are those it was signed over.
    V3,
    /// The attestation key is one that a TPM made, restricted to what a TPM says; no SHA-1.
    V4,
    /// Names are computed by us.
    V5,
    /// The endorsement key is a TPM maker's.
    V6,
    /// The nonce is ours, used once, in time, and bound to this session.
    V7,
    /// The proof of the credential.
    V8,
    /// Who speaks is whose evidence it is.
    V9,
    /// A known identity stays what it is.
    V10,
    /// The TPM's clock and counters go on.
    V11,
    /// The logs replay to what was quoted.
    V12,
    /// The values are what they should be.
    V13,
    /// What cannot be parsed is refused.
    V14,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The derived name is the rule's name in every document.
        fmt::Debug::fmt(self, f)
    }
}

/// How grave a failure is, the gravest last.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Class {
    /// The box tells the truth, and is not as it should be: a clean boot mends it.
    State,
    /// The evidence contradicts itself, or is not what was asked for.
    Evidence,
    /// It cannot be read.
    Malformed,
    /// It is not of the box, the key or the TPM that it should be of.
    Identity,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::State => "state",
            Self::Evidence => "evidence",
            Self::Malformed => "malformed",
            Self::Identity => "identity",
        })
    }
}

/// One reason to refuse.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{rule}: {text}")]
pub struct Failure {
    /// Which rule.
    pub rule: Rule,
    /// How grave.
    pub class: Class,
    /// What exactly, for the owner's log; the box hears the class only.
    pub text: String,
}

impl Failure {
    /// Words a failure.
    pub fn new(rule: Rule, class: Class, text: impl Into<String>) -> Self {
        Self {
            rule,
            class,
            text: text.into(),
        }
    }

    /// [`Rule::V14`]: `what` cannot be parsed.
    pub(crate) fn malformed(what: &str, cause: &dyn fmt::Display) -> Self {
        Self::new(Rule::V14, Class::Malformed, format!("{what}: {cause}"))
    }
}
