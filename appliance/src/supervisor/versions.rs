//! What the running version has shown, and what follows for those before it.

use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::Role;
use bartizan_model::report::{VERSIONS_MAX, VersionStanding, VersionsReport};
use bartizan_process::Fault;

use super::{Supervisor, within};
use crate::act::Act;
use crate::rollback::{Proof, Rollback};

impl Supervisor {
    /// Says which rollback epoch the running image has, if it has one.
    #[must_use]
    pub fn running(mut self, epoch: Option<u64>) -> Self {
        self.rollback = epoch.map_or(Rollback::Settled, Rollback::Due);
        self
    }

    /// Says whether updater judges the running version: no floor rises before its blessing.
    #[must_use]
    pub fn judged(mut self, judged: bool) -> Self {
        self.proof = if judged {
            Proof::Blessing
        } else {
            Proof::Operation
        };
        self
    }

    /// Takes what updater says of the versions on the disk.
    pub(super) fn versions_stand(&mut self, report: VersionsReport) -> Result<Vec<Act>, Fault> {
        within(report.others.len(), VERSIONS_MAX)?;
        self.versions = Some(report);
        Ok(self.raise_rollback().into_iter().collect())
    }

    /// Lets no image of before the running one count any more, once this one protects traffic on a
    /// lease of this boot and is blessed where that is judged: until then the one before it may be
    /// needed.
    pub(super) fn raise_rollback(&mut self) -> Option<Act> {
        let running = self.versions.as_ref().map(|versions| &versions.running);
        let proven = self.proof == Proof::Operation
            || running.is_some_and(|running| running.standing == VersionStanding::Blessed);
        let works = self.state == Lifecycle::Operational && self.is_started(Role::Tpm);
        if works && proven {
            self.rollback.tell()
        } else {
            None
        }
        .map(Act::RaiseRollback)
    }

    /// Takes tpm's answer; what was not done is asked for again with the next lease.
    pub(super) fn raised(&mut self, stands: Option<u64>) -> Vec<Act> {
        let Some(epoch) = self.rollback.answered(stands) else {
            return Vec::new();
        };
        self.count("rollback-floor-refused");
        vec![Act::Warn(format!(
            "the rollback floor is not raised to {epoch}"
        ))]
    }
}
