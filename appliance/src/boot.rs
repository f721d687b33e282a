//! How a boot begins: from what the TPM holds and what the state folder keeps.

use bartizan_model::identity::{Farewell, LdevidFound, TpmFound};
use bartizan_model::lifecycle::Event;
use bartizan_model::report::QuarantineReason;

use crate::store::Kept;

/// How it begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Beginning {
    /// With this event.
    With(Event),
    /// In quarantine: nobody is asked for anything but, at most, to let this box back.
    Quarantine(QuarantineReason),
    /// With the rest of an end that an earlier boot had begun.
    Finish(Farewell),
}

/// What becomes of a pending ownership.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Settled {
    /// The TPM keeps its LDevID: it counts.
    Confirmed,
    /// The TPM never kept it: it never came to be, and the box is nobody's as before.
    Discarded,
}

/// Decides on a pending ownership, which a cut of the power left behind.
///
/// What is discarded had no key yet, so nothing could have been lost or quarantined with it; an
/// ownership that was confirmed once is never pending again. But an LDevID that the TPM kept may be
/// gone because the TPM was cleared before the confirmation; then its floor is gone too, which was
/// raised before anything of the ownership was on the disk.
pub fn settle(found: TpmFound, kept: Kept) -> (Kept, Option<Settled>) {
    match (found.retired, found.ldevid, kept) {
        (false, LdevidFound::Absent, Kept::Pending(owned))
            if found.floors.ownership >= Some(owned.ownership().epoch) =>
        {
            (Kept::Nobody, Some(Settled::Discarded))
        }
        (false, LdevidFound::Usable | LdevidFound::Unusable, Kept::Pending(owned)) => {
            (Kept::Owner(owned), Some(Settled::Confirmed))
        }
        (_, _, kept) => (kept, None),
    }
}

/// Derives it from what is settled; the whole of it is this table.
pub fn beginning(found: TpmFound, kept: &Kept) -> Beginning {
    use Beginning::{Finish, Quarantine, With};
    use QuarantineReason as Reason;

    match (found.retired, found.ldevid, kept) {
        (_, _, Kept::Ending(farewell)) => Finish(*farewell),
        (true, _, _) => With(Event::BootedRetired),
        (false, _, Kept::Broken(_)) => Quarantine(Reason::BrokenOwnership),
        (false, LdevidFound::Foreign, _) => Quarantine(Reason::ForeignTpm),
        (false, LdevidFound::Absent, Kept::Nobody) => With(Event::BootedUnowned),
        (false, LdevidFound::Absent, Kept::Owner(_) | Kept::Pending(_)) => {
            Quarantine(Reason::ClearedTpm)
        }
        (false, LdevidFound::Usable, Kept::Owner(_)) => With(Event::BootedOwned),
        (false, LdevidFound::Unusable, Kept::Owner(_)) => Quarantine(Reason::Unapproved),
        (false, LdevidFound::Usable | LdevidFound::Unusable, Kept::Nobody)
        | (false, _, Kept::Pending(_)) => Quarantine(Reason::NoOwnership),
    }
}
