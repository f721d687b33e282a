//! One link's keys: how many can be taken, for whom some stay, and how scarce they are.

use std::collections::{BTreeMap, BTreeSet};

use bartizan_model::ids::NodeId;
use bartizan_model::report::{BudgetLevel, LinkReport, LinkState, QkdRefusal};
use bartizan_model::time::BootTime;

use super::{Fate, HOUR, PROBE_GAP, Queued, Rank, Urgency};

/// The most KMEs whose reports about one peer are kept.
const KMES_MAX: usize = 8;

/// One link.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// What its KMEs say.
    pub(super) links: BTreeMap<NodeId, LinkReport>,
    /// How many tunnels of each rank use it.
    members: BTreeMap<Rank, u32>,
    /// The sum of their minimums, in keys an hour.
    pub(super) minimum: u64,
    /// Keys that can be taken; `None` while nobody knows.
    pub(super) left: Option<u32>,
    /// The most that it held.
    peak: u32,
    /// Keys that are set aside and not delivered.
    in_flight: u32,
    pub(super) level: BudgetLevel,
    /// No attempt at a dry link before.
    probe_at: BootTime,
    /// Where only a rate is known: no key for who can wait before.
    early_at: BootTime,
    pub(super) queue: BTreeSet<Queued>,
    pub(super) taken: u64,
    pub(super) refused: u64,
    pub(super) without: u64,
}

impl Account {
    pub(super) fn follow(&mut self, rank: Rank, minimum: u32, set_aside: bool) {
        let of = self.members.entry(rank).or_default();
        *of = of.saturating_add(1);
        self.minimum = self.minimum.saturating_add(minimum.into());
        self.in_flight = self.in_flight.saturating_add(set_aside.into());
    }

    pub(super) fn unfollow(&mut self, rank: Rank, minimum: u32, set_aside: bool) {
        if let Some(of) = self.members.get_mut(&rank) {
            *of = of.saturating_sub(1);
            if *of == 0 {
                self.members.remove(&rank);
            }
        }
        self.minimum = self.minimum.saturating_sub(minimum.into());
        self.in_flight = self.in_flight.saturating_sub(set_aside.into());
    }

    pub(super) fn is_over(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn tunnels(&self) -> u32 {
        self.members
            .values()
            .fold(0, |all, of| all.saturating_add(*of))
    }

    pub(super) fn waiting(&self) -> u32 {
        u32::try_from(self.queue.len()).unwrap_or(u32::MAX)
    }

    /// Keys of 32 bytes that its usable links bring an hour.
    pub(super) fn rate(&self) -> Option<u32> {
        let rates = self.usable().map(|link| link.rate);
        rates.fold(None, |all: Option<u32>, rate| match (all, rate) {
            (Some(all), Some(rate)) => Some(all.saturating_add(rate)),
            (all, rate) => all.or(rate),
        })
    }

    /// What its KMEs say counts from now on, less what is on its way and may be in it. Says whether
    /// more or less is thought of the link than before.
    pub(super) fn reported(&mut self, report: LinkReport, now: BootTime) -> bool {
        let known = self.links.contains_key(&report.kme);
        if !known && self.links.len() >= KMES_MAX {
            return false;
        }
        let thought = (report.state, report.reason);
        let before = self.links.insert(report.kme.clone(), report);
        let before = before.map_or((LinkState::Healthy, None), |link| (link.state, link.reason));
        self.count(now);
        before != thought
    }

    fn count(&mut self, now: BootTime) {
        let mut stored: Option<u32> = None;
        let mut silent = false;
        for link in self.usable() {
            match link.stored_keys {
                Some(keys) => {
                    let keys = keys.saturating_add(link.prefetched);
                    stored = Some(stored.unwrap_or(0).saturating_add(keys));
                }
                None => silent = true,
            }
        }
        let before = self.left;
        self.left = match stored {
            // One that does not say what it has may have more.
            _ if silent => None,
            Some(stored) => Some(stored.saturating_sub(self.in_flight)),
            None => Some(0),
        };
        self.peak = self.peak.max(self.left.unwrap_or(0));
        if self.left == Some(0) && before != Some(0) {
            self.probe_at = now.after(PROBE_GAP);
        }
    }

    /// Whether the first of the queue may have a key.
    pub(super) fn allows(&self, rank: Rank, urgency: Urgency, now: BootTime) -> bool {
        match (self.left, urgency) {
            (Some(0), _) => self.in_flight == 0 && self.probe_at <= now,
            (Some(left), Urgency::Due) => left > self.kept_from(rank),
            (Some(left), Urgency::Early) => self.level < BudgetLevel::Low && left > self.reserve(),
            (None, Urgency::Due) => true,
            (None, Urgency::Early) => self.early_at <= now,
        }
    }

    /// A key is on its way to a tunnel.
    pub(super) fn set_aside(&mut self, urgency: Urgency, now: BootTime) {
        if self.left == Some(0) {
            self.probe_at = now.after(PROBE_GAP);
        }
        if self.left.is_none() && urgency == Urgency::Early {
            let gap = self.rate().and_then(|rate| HOUR.checked_div(rate));
            self.early_at = now.after(gap.unwrap_or_default());
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.in_flight = self.in_flight.saturating_add(1);
    }

    /// What became of it.
    pub(super) fn settled(&mut self, fate: Fate, now: BootTime) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match fate {
            Fate::Delivered => {
                self.taken = self.taken.saturating_add(1);
                // It has keys after all: until it says how many, one at a time.
                if self.left == Some(0) {
                    self.probe_at = now;
                }
            }
            Fate::Refused(QkdRefusal::Unavailable) => {
                self.refused = self.refused.saturating_add(1);
                // The KME knows better than its last report.
                self.left = Some(0);
                self.probe_at = now.after(PROBE_GAP);
            }
            Fate::Refused(_) => self.refused = self.refused.saturating_add(1),
            Fate::Unknown => {}
        }
        // A link that never said what it has is only judged by what it does.
        if fate == Fate::Delivered && self.is_silent() {
            self.left = None;
        }
    }

    /// The responder took the key that the initiator named.
    pub(super) fn confirmed(&mut self) {
        self.taken = self.taken.saturating_add(1);
        self.left = self.left.map(|left| left.saturating_sub(1));
    }

    /// A tunnel went on without.
    pub(super) fn without(&mut self) {
        self.without = self.without.saturating_add(1);
    }

    /// Says how scarce keys are, if that is another level than before. Up it takes half as many again
    /// as down.
    pub(super) fn judge(&mut self) -> Option<BudgetLevel> {
        let reserve = self.reserve();
        let high = reserve.saturating_add(reserve.div_ceil(2));
        let enough = self.level < BudgetLevel::Low;
        let level = match (self.left, self.level) {
            (None, _) => self.promised(),
            (Some(0), _) => BudgetLevel::Dry,
            (Some(left), BudgetLevel::Dry) if left <= reserve.div_ceil(4) => BudgetLevel::Dry,
            (Some(left), _) if enough && left > reserve => self.promised(),
            (Some(left), _) if !enough && left > high => self.promised(),
            (Some(_), _) => BudgetLevel::Low,
        };
        (core::mem::replace(&mut self.level, level) != level).then_some(level)
    }

    /// Whether what policies promise can be kept, while there are keys. A promise that was broken counts
    /// as kept only with a tenth to spare: the rate is observed, and swings.
    fn promised(&self) -> BudgetLevel {
        let spare = match self.level {
            BudgetLevel::Oversold => self.minimum.div_ceil(10),
            BudgetLevel::Plenty | BudgetLevel::Low | BudgetLevel::Dry => 0,
        };
        match self.rate() {
            Some(rate) if u64::from(rate) < self.minimum.saturating_add(spare) => {
                BudgetLevel::Oversold
            }
            Some(_) | None => BudgetLevel::Plenty,
        }
    }

    /// When somebody's turn may come by time alone.
    pub(super) fn wakes_at(&self) -> Option<BootTime> {
        let (urgency, ..) = self.queue.first()?;
        match (self.left, urgency) {
            (Some(0), _) if self.in_flight == 0 => Some(self.probe_at),
            (None, Urgency::Early) => Some(self.early_at),
            (Some(_), _) | (None, Urgency::Due) => None,
        }
    }

    /// Keys that stay for those who cannot wait: one for every tunnel.
    pub(super) fn reserve(&self) -> u32 {
        self.tunnels().min(self.half())
    }

    /// Keys that stay for the tunnels before this rank.
    fn kept_from(&self, rank: Rank) -> u32 {
        let before = self.members.range(..rank).map(|(_, of)| *of);
        before.fold(0, u32::saturating_add).min(self.half())
    }

    fn half(&self) -> u32 {
        self.peak.div_ceil(2)
    }

    /// Whether a link that is used does not say what it has.
    fn is_silent(&self) -> bool {
        let mut usable = self.usable().peekable();
        match usable.peek() {
            Some(_) => usable.any(|link| link.stored_keys.is_none()),
            None => self.links.is_empty(),
        }
    }

    fn usable(&self) -> impl Iterator<Item = &LinkReport> {
        let links = self.links.values();
        links.filter(|link| link.state != LinkState::Refused)
    }
}
