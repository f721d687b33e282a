//! What a process counts.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bartizan_model::message::RoleToSupervisor;
use bartizan_model::time::BootTime;

use crate::channel::ChannelError;
use crate::start::SupervisorChannel;

/// The supervisor is told no more often than this.
const PACE: Duration = Duration::from_secs(1);

/// Totals under constant names, told to the supervisor when they have changed.
#[derive(Debug, Default)]
pub struct Counters {
    totals: BTreeMap<&'static str, u64>,
    changed: BTreeSet<&'static str>,
    told: Option<BootTime>,
}

impl Counters {
    /// Counts one more.
    pub fn count(&mut self, name: &'static str) {
        let total = self.totals.entry(name).or_default();
        *total = total.saturating_add(1);
        self.changed.insert(name);
    }

    /// When [`Counters::report`] has something to tell.
    pub fn deadline(&self) -> Option<BootTime> {
        let told = self
            .told
            .map_or(BootTime::default(), |told| told.after(PACE));
        (!self.changed.is_empty()).then_some(told)
    }

    /// Tells the supervisor what has changed, at most once a second; to be called in every round of
    /// the loop.
    ///
    /// # Errors
    ///
    /// [`ChannelError`] of the supervisor's edge.
    pub fn report(
        &mut self,
        now: BootTime,
        supervisor: &mut SupervisorChannel,
    ) -> Result<(), ChannelError> {
        if self.changed.is_empty() || self.told.is_some_and(|told| now.since(told) < PACE) {
            return Ok(());
        }
        self.told = Some(now);
        while let Some(name) = self.changed.pop_first() {
            let total = self.totals.get(name).copied().unwrap_or_default();
            supervisor.send(&RoleToSupervisor::Counted {
                name: name.to_owned(),
                total,
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;
    use bartizan_model::message::SupervisorToRole;

    #[test]
    fn a_total_is_told_once_a_change_and_once_a_second() {
        let (mut near, mut far) = Channel::<SupervisorToRole, RoleToSupervisor>::pair().unwrap();
        let mut counters = Counters::default();
        let at = |millis| BootTime(Duration::from_millis(millis));
        counters.report(at(0), &mut near).unwrap();
        assert_eq!(counters.deadline(), None);
        counters.count("refused");
        assert_eq!(counters.deadline(), Some(at(0)));
        counters.report(at(1), &mut near).unwrap();
        counters.count("refused");
        counters.count("refused");
        counters.report(at(1000), &mut near).unwrap();
        assert_eq!(counters.deadline(), Some(at(1001)));
        counters.report(at(1001), &mut near).unwrap();
        counters.report(at(9999), &mut near).unwrap();
        let mut totals = Vec::new();
        while let Some(received) = far.recv().unwrap() {
            totals.push(received.message);
        }
        let told = |total| RoleToSupervisor::Counted {
            name: "refused".to_owned(),
            total,
        };
        assert_eq!(totals, [told(1), told(3)]);
    }
}
