//! What the supervisor tells of itself and of what it was told.

use bartizan_model::message::Role;
use bartizan_model::report::{OwnerReport, Snapshot};
use bartizan_model::time::BootTime;
use bartizan_process::Fault;

use super::{Supervisor, too_much, within};
use crate::act::Act;
use crate::ownership::Owned;

/// The most names that the roles may count under, together.
const COUNTERS_MAX: usize = 256;

/// The most bytes of such a name.
const COUNTER_NAME_MAX: usize = 64;

impl Supervisor {
    /// Counts something that the supervisor itself refused.
    pub fn count(&mut self, name: &str) {
        let total = self
            .counters
            .entry(format!("supervisor.{name}"))
            .or_default();
        *total = total.saturating_add(1);
    }

    /// What the status tool shows.
    pub fn snapshot(&self, now: BootTime) -> Snapshot {
        let owner = self.owned().map(Owned::ownership);
        Snapshot {
            owner: owner.map(|owner| OwnerReport {
                node: owner.node.clone(),
                epoch: owner.epoch,
                controller: owner.controller.clone(),
            }),
            lifecycle: self.state,
            quarantine: self.quarantine,
            home: self.home,
            network: self.network,
            versions: self.versions.clone(),
            at: now,
            lease: self
                .lease_ends
                .map(|end| end.since(now))
                .filter(|rest| !rest.is_zero()),
            tunnels: self.tunnels.values().cloned().collect(),
            qkd: self.qkd.values().cloned().collect(),
            achieved: self
                .achieved
                .iter()
                .map(|(role, achieved)| (*role, *achieved))
                .collect(),
            counters: self
                .counters
                .iter()
                .map(|(name, total)| (name.clone(), *total))
                .collect(),
        }
    }

    pub(super) fn counted(
        &mut self,
        role: Role,
        name: &str,
        total: u64,
    ) -> Result<Vec<Act>, Fault> {
        if name.len() > COUNTER_NAME_MAX {
            return Err(too_much());
        }
        let name = format!("{role:?}.{name}").to_lowercase();
        self.counters.insert(name, total);
        within(self.counters.len(), COUNTERS_MAX)
    }
}
