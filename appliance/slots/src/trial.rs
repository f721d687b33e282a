//! A version's first boots: it is blessed once it has proven itself, or the boot loader goes back.
//!
//! | state | event | next | action |
//! |---|---|---|---|
//! | Blessed | any | Blessed | |
//! | `OnTrial` | Healthy | Blessing | bless |
//! | `OnTrial` | Deadline | Failed | reboot |
//! | Blessing | Blessed | Blessed | raise the floor |
//! | Blessing | Refused | `OnTrial` | |
//! | Blessing | Deadline | Failed | reboot |
//! | Failed | any | Failed | |
//!
//! Nothing need be written to go back: the boot loader took a try off before it started the entry,
//! and whatever ends a boot without a blessing (a crash, a hang that the watchdog ends, the
//! deadline) leads to its next choice. The floor rises after the blessing is on the medium, so an
//! old version stays usable until the new one is.

use core::time::Duration;

use bartizan_manifest::Version;

use crate::boot_entry::{BootEntry, Standing};
use crate::disk::Disk;

/// How long a new version has to reach its health target in a boot.
pub const TRIAL: Duration = Duration::from_mins(10);

/// Where a version stands in this boot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// It has proven itself.
    Blessed,
    /// It has until [`TRIAL`] after boot.
    OnTrial,
    /// It did; the entry's name is being changed.
    Blessing,
    /// It did not.
    Failed,
}

/// What happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// The health target is reached: enrolled, leased, and in the controller's hands.
    Healthy,
    /// [`TRIAL`] is over.
    Deadline,
    /// The entry has its name without counters, on the medium.
    Blessed,
    /// The disk refused it.
    Refused,
}

/// What to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Call [`bless`].
    Bless,
    /// Raise the rollback floor to the version's epoch, in the TPM and at the controller.
    RaiseFloor,
    /// Start the machine anew.
    Reboot,
}

/// Makes one step.
pub const fn step(state: State, event: Event) -> (State, Option<Action>) {
    use {Action as A, Event as E, State as S};
    match (state, event) {
        (S::OnTrial, E::Healthy) => (S::Blessing, Some(A::Bless)),
        (S::OnTrial | S::Blessing, E::Deadline) => (S::Failed, Some(A::Reboot)),
        (S::Blessing, E::Blessed) => (S::Blessed, Some(A::RaiseFloor)),
        (S::Blessing, E::Refused) => (S::OnTrial, None),
        (S::Blessed | S::Failed | S::OnTrial | S::Blessing, _) => (state, None),
    }
}

/// Where the running version stands, by its entries.
///
/// # Errors
///
/// If the names of entries cannot be read.
pub fn standing<D: Disk>(disk: &mut D, running: &Version) -> Result<State, D::Error> {
    let mut entries = entries(disk, running)?;
    // Both names may be there, where power failed between them.
    Ok(
        if entries.any(|entry| entry.standing == Standing::Blessed) {
            State::Blessed
        } else {
            State::OnTrial
        },
    )
}

/// Takes the counters out of the name of the running version's entry.
///
/// # Errors
///
/// If the disk does not do it: the version stays on trial.
pub fn bless<D: Disk>(disk: &mut D, running: &Version) -> Result<Event, D::Error> {
    let counted: Vec<BootEntry> = entries(disk, running)?.collect();
    let blessed = BootEntry::blessed(running.clone());
    if !counted.contains(&blessed) {
        let Some(entry) = counted.first() else {
            return Ok(Event::Refused);
        };
        disk.rename(&entry.to_string(), &blessed.to_string())?;
    }
    disk.flush_files()?;
    Ok(Event::Blessed)
}

fn entries<D: Disk>(
    disk: &mut D,
    running: &Version,
) -> Result<impl Iterator<Item = BootEntry>, D::Error> {
    let names = disk.names()?;
    let entries = names.into_iter().filter_map(|name| BootEntry::parse(&name));
    Ok(entries.filter(|entry| entry.version == *running))
}
