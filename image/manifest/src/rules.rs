//! Whether a box may take an update. A manifest's signatures do not say so: an old release was
//! signed, too.

use bartizan_evidence::quote::Digest;

use crate::manifest::Manifest;
use crate::version::Version;

/// What the box runs now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Running {
    /// Which machine it is.
    pub machine: String,
    /// The version that was booted.
    pub version: Version,
    /// The root hash that was booted.
    pub root_hash: Digest,
    /// The higher of the floors in the TPM and at the controller.
    pub rollback_floor: u64,
}

/// Why a box does not take an update that its maker signed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// It is for another machine.
    #[error("the update is for another machine")]
    Machine,
    /// It is no newer than what runs.
    #[error("the update, {update}, is not newer than {running}, which runs")]
    NotNewer {
        /// The update's version.
        update: Version,
        /// The running one.
        running: Version,
    },
    /// What runs is too old for it.
    #[error("the update wants {least} or later to run, and {running} does")]
    RunningTooOld {
        /// The least version.
        least: Version,
        /// The running one.
        running: Version,
    },
    /// It is from an epoch that was closed.
    #[error("the update's rollback epoch {epoch} is below the floor {floor}")]
    Rollback {
        /// The update's epoch.
        epoch: u64,
        /// The box's floor.
        floor: u64,
    },
    /// It has the root that runs: its partitions could not be told from the running ones.
    #[error("the update has the root that runs")]
    SameRoot,
}

/// Decides whether the box that runs `running` may take `update`.
///
/// # Errors
///
/// [`Refusal`] by the first rule that is against it.
pub fn check(update: &Manifest, running: &Running) -> Result<(), Refusal> {
    if update.machine != running.machine {
        return Err(Refusal::Machine);
    }
    if update.version <= running.version {
        return Err(Refusal::NotNewer {
            update: update.version.clone(),
            running: running.version.clone(),
        });
    }
    if running.version < update.min_version {
        return Err(Refusal::RunningTooOld {
            least: update.min_version.clone(),
            running: running.version.clone(),
        });
    }
    if update.rollback_epoch < running.rollback_floor {
        return Err(Refusal::Rollback {
            epoch: update.rollback_epoch,
            floor: running.rollback_floor,
        });
    }
    if update.root_hash == running.root_hash {
        return Err(Refusal::SameRoot);
    }
    Ok(())
}
