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

/// Derives it; the whole of it is this table.
pub fn beginning(found: TpmFound, kept: &Kept) -> Beginning {
    use Beginning::{Finish, Quarantine, With};
    use QuarantineReason as Reason;

    match (found.retired, found.ldevid, kept) {
        (_, _, Kept::Ending(farewell)) => Finish(*farewell),
        (true, _, _) => With(Event::BootedRetired),
        (false, _, Kept::Broken(_)) => Quarantine(Reason::BrokenOwnership),
        (false, LdevidFound::Foreign, _) => Quarantine(Reason::ForeignTpm),
        (false, LdevidFound::Absent, Kept::Nobody) => With(Event::BootedUnowned),
        (false, LdevidFound::Absent, Kept::Owner(_)) => Quarantine(Reason::ClearedTpm),
        (false, LdevidFound::Usable, Kept::Owner(_)) => With(Event::BootedOwned),
        (false, LdevidFound::Unusable, Kept::Owner(_)) => Quarantine(Reason::Unapproved),
        (false, LdevidFound::Usable | LdevidFound::Unusable, Kept::Nobody) => {
            Quarantine(Reason::NoOwnership)
        }
    }
}
