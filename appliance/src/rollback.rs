//! The rollback floor of the running image: due, asked for, standing.

/// How far it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rollback {
    /// To be raised to the image's epoch once the image has shown that it works.
    Due(u64),
    /// Tpm was told.
    Told(u64),
    /// It stands, or the image has none.
    Settled,
}

/// By what the running version shows that no earlier one is needed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Proof {
    /// It protects traffic.
    Operation,
    /// Updater has blessed it besides.
    Blessing,
}

impl Rollback {
    /// Says to what tpm is to be told to raise it, once.
    pub(crate) fn tell(&mut self) -> Option<u64> {
        let Self::Due(epoch) = *self else {
            return None;
        };
        *self = Self::Told(epoch);
        Some(epoch)
    }

    /// Takes tpm's answer. What was not done is due again, and its epoch is given back.
    pub(crate) fn answered(&mut self, stands: Option<u64>) -> Option<u64> {
        let Self::Told(epoch) = *self else {
            return None;
        };
        if stands.is_some_and(|stands| stands >= epoch) {
            *self = Self::Settled;
            return None;
        }
        *self = Self::Due(epoch);
        Some(epoch)
    }
}
