//! The SAs that stand and when they end, by the clock that nobody can set.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bartizan_model::message::SaId;
use bartizan_model::time::BootTime;

use crate::clock::Moment;
use crate::sa::{KernelSa, Limits};

/// An SA that stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Standing {
    /// As installed; its limits in seconds are those below.
    pub(crate) sa: KernelSa,
    /// When it was added.
    pub(crate) since: BootTime,
    /// When it ends softly.
    pub(crate) soft: Option<BootTime>,
    /// When it ends.
    pub(crate) end: Option<BootTime>,
}

impl Standing {
    /// An SA whose limits count from `since`.
    pub(crate) fn new(sa: KernelSa, since: BootTime) -> Self {
        let end = |seconds| (seconds != 0).then(|| since.after(Duration::from_secs(seconds)));
        Self {
            sa,
            since,
            soft: end(sa.limits.soft_seconds),
            end: end(sa.limits.hard_seconds),
        }
    }

    /// The SA with the limits that make the kernel's timer strike when it is to.
    pub(crate) fn reckoned(&self, now: Moment, added: u64) -> KernelSa {
        let limit =
            |end: Option<BootTime>| end.map_or(0, |end| now.limit_in(end.since(now.boot), added));
        KernelSa {
            limits: Limits {
                soft_seconds: limit(self.soft),
                hard_seconds: limit(self.end),
                ..self.sa.limits
            },
            ..self.sa
        }
    }
}

/// All SAs that stand.
#[derive(Debug, Default)]
pub(crate) struct SaTable {
    sas: BTreeMap<SaId, Standing>,
    /// Their ends, the next one first.
    ends: BTreeSet<(BootTime, SaId)>,
}

impl SaTable {
    /// Adds an SA, or replaces what is known of it.
    pub(crate) fn put(&mut self, standing: Standing) {
        let id = standing.sa.id;
        self.remove(id);
        if let Some(end) = standing.end {
            self.ends.insert((end, id));
        }
        self.sas.insert(id, standing);
    }

    /// Forgets an SA; `None` if it was not known.
    pub(crate) fn remove(&mut self, id: SaId) -> Option<Standing> {
        let standing = self.sas.remove(&id)?;
        if let Some(end) = standing.end {
            self.ends.remove(&(end, id));
        }
        Some(standing)
    }

    pub(crate) fn clear(&mut self) {
        self.sas.clear();
        self.ends.clear();
    }

    pub(crate) fn find(&self, id: SaId) -> Option<&Standing> {
        self.sas.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Standing> {
        self.sas.values()
    }

    /// When the next SA ends.
    pub(crate) fn next_end(&self) -> Option<BootTime> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// The SAs whose end has come.
    pub(crate) fn ended(&self, now: BootTime) -> Vec<SaId> {
        self.ends
            .iter()
            .take_while(|(end, _)| *end <= now)
            .map(|(_, id)| *id)
            .collect()
    }

    /// The SAs that have more than a second to live. Those that do not are left to their end: the
    /// kernel looks at a limit that was replaced one second later.
    pub(crate) fn lasting(&self, now: BootTime) -> Vec<Standing> {
        let soon = now.after(Duration::from_secs(1));
        let lasts = |standing: &&Standing| standing.end.is_none_or(|end| end > soon);
        self.iter().filter(lasts).copied().collect()
    }
}
