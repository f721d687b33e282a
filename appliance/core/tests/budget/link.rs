//! A link whose KME has a store, and its tunnels as simple as they can be; every word of the budget is
//! held against what is known here.

use core::time::Duration;
use std::collections::BTreeMap;

use bartizan_core::budget::{Budget, Fate, PROBE_GAP, Rank, Word, late_after};
use bartizan_model::config::KmeInterface;
use bartizan_model::ids::{NodeId, Reqid, SaeId};
use bartizan_model::policy::{Lifetime, Need, QkdPriority, QkdSource};
use bartizan_model::report::{LinkCounts, LinkReport, LinkState, QkdRefusal};
use bartizan_model::time::BootTime;

/// What the KME's store takes at most.
const STORE: u64 = 3000;

/// A tunnel's policy; lifetimes in seconds.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) need: Need,
    pub(crate) priority: u8,
    pub(crate) minimum: u32,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

/// For so long the link brings so many keys an hour, all that came since at intervals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) seconds: u64,
    pub(crate) rate: u64,
    pub(crate) burst: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tunnel {
    /// When its SA began to send, and whether there is a QKD key in it.
    sends: Option<(u64, bool)>,
    /// It asks no more before.
    not_before: u64,
    waits: bool,
    again: Option<u64>,
}

/// The link and what happened.
pub(crate) struct Link {
    budget: Budget,
    members: Vec<Member>,
    ranks: Vec<Rank>,
    tunnels: Vec<Tunnel>,
    now: u64,
    store: u64,
    /// What the budget can know: the last report, less what was taken since.
    known: u64,
    peak: u64,
    probed: Option<u64>,
    given: u64,
    dark_by: BTreeMap<usize, u64>,
    /// Seconds in which a tunnel that requires a key had none.
    pub(crate) dark: u64,
    /// The least that the store held.
    pub(crate) least: u64,
    /// How often somebody was put off.
    pub(crate) put_off: u64,
}

impl core::fmt::Debug for Link {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self {
            now,
            store,
            dark,
            least,
            put_off,
            given,
            ..
        } = self;
        write!(
            f,
            "at {now}: {store} stored, {least} at least, {dark} s dark, "
        )?;
        write!(f, "{put_off} put off, {given} given")
    }
}

fn reqid(index: usize) -> Reqid {
    Reqid::try_from(u32::try_from(index).unwrap() + 1).unwrap()
}

fn at(seconds: u64) -> BootTime {
    BootTime(Duration::from_secs(seconds))
}

impl Member {
    fn source(&self) -> QkdSource {
        QkdSource {
            need: self.need,
            peer_sae: SaeId::try_from("sae-b").unwrap(),
            priority: QkdPriority::try_from(self.priority).unwrap(),
            minimum: self.minimum,
        }
    }

    fn rank(&self) -> Rank {
        Rank::of(&self.source())
    }

    fn late(&self) -> u64 {
        let seconds = |seconds| Lifetime {
            seconds: Some(seconds),
            ..Lifetime::default()
        };
        late_after(seconds(self.soft), seconds(self.hard))
            .unwrap()
            .as_secs()
    }
}

impl Link {
    /// All of them up with a key since some time within their soft lifetime.
    pub(crate) fn new(members: Vec<Member>, stored: u64) -> Self {
        let mut budget = Budget::default();
        for (index, member) in members.iter().enumerate() {
            budget.follow(reqid(index), Some(&member.source()));
        }
        let tunnel = |(index, member): (usize, &Member)| Tunnel {
            sends: Some((4000 - u64::try_from(index).unwrap() % member.soft, true)),
            ..Tunnel::default()
        };
        let tunnels = members.iter().enumerate().map(tunnel).collect();
        let mut link = Self {
            budget,
            tunnels,
            ranks: members.iter().map(Member::rank).collect(),
            members,
            now: 4000,
            store: stored,
            known: 0,
            peak: 0,
            probed: None,
            given: 0,
            dark_by: BTreeMap::new(),
            dark: 0,
            least: stored,
            put_off: 0,
        };
        link.report();
        link
    }

    pub(crate) fn run(&mut self, weather: Weather) {
        let mut owed = 0;
        for second in 0..weather.seconds {
            self.now += 1;
            owed += weather.rate;
            if second % weather.burst == 0 {
                self.store = (self.store + owed / 3600).min(STORE);
                owed %= 3600;
                self.report();
            }
            self.tick();
        }
    }

    /// Seconds in the dark of those that are meant.
    pub(crate) fn dark_of(&self, meant: impl Fn(&Member) -> bool) -> u64 {
        let of = self.dark_by.iter();
        of.filter(|(index, _)| meant(&self.members[**index]))
            .map(|(_, seconds)| *seconds)
            .sum()
    }

    /// Tunnels that require a key and have none.
    pub(crate) fn now_dark(&self) -> usize {
        let dark = |(tunnel, member): &(&Tunnel, &Member)| {
            member.need == Need::Required && tunnel.sends.is_none()
        };
        self.tunnels.iter().zip(&self.members).filter(dark).count()
    }

    /// Tunnels that go on without a key since longer than this.
    pub(crate) fn now_without(&self, since: Duration) -> usize {
        let without = |tunnel: &&Tunnel| {
            tunnel
                .sends
                .is_none_or(|(began, with)| !with && began + since.as_secs() < self.now)
        };
        self.tunnels.iter().filter(without).count()
    }

    fn report(&mut self) {
        self.known = self.store;
        self.peak = self.peak.max(self.store);
        let report = LinkReport {
            kme: NodeId::try_from("kme.example").unwrap(),
            peer: SaeId::try_from("sae-b").unwrap(),
            interface: KmeInterface::Etsi014,
            state: LinkState::Healthy,
            reason: None,
            said: None,
            stored_keys: Some(u32::try_from(self.store).unwrap()),
            prefetched: 0,
            rate: None,
            latency: None,
            counts: LinkCounts::default(),
        };
        self.budget.link(report, at(self.now));
        self.wake();
    }

    fn tick(&mut self) {
        for index in 0..self.tunnels.len() {
            let (member, tunnel) = (&self.members[index], &mut self.tunnels[index]);
            if let Some((began, _)) = tunnel.sends
                && began + member.hard <= self.now
            {
                tunnel.sends = None;
                tunnel.again = Some(self.now);
            }
            if tunnel.sends.is_none() {
                assert_eq!(member.need, Need::Required, "an optional source in the way");
                self.dark += 1;
                *self.dark_by.entry(index).or_default() += 1;
            }
            let due = tunnel
                .sends
                .is_none_or(|(began, _)| began + member.soft <= self.now);
            let asks = !tunnel.waits || tunnel.again.is_some_and(|again| again <= self.now);
            if due && asks && tunnel.not_before <= self.now {
                self.ask(index);
                self.wake();
            }
        }
        if self
            .budget
            .deadline()
            .is_some_and(|due| due <= at(self.now))
        {
            self.budget.tick(at(self.now));
            self.wake();
        }
    }

    fn wake(&mut self) {
        let mut woken = 0;
        while let Some(reqid) = self.budget.next(at(self.now)) {
            woken += 1;
            assert!(woken <= 2 * self.tunnels.len(), "time stands still");
            let index = usize::try_from(u32::from(reqid)).unwrap() - 1;
            self.ask(index);
        }
    }

    fn until(&self, index: usize) -> Option<u64> {
        let (began, _) = self.tunnels[index].sends?;
        Some(began + self.members[index].late())
    }

    fn ask(&mut self, index: usize) {
        let until = self.until(index);
        let early = until.is_some_and(|until| until > self.now) && self.members[index].minimum == 0;
        let word = self.budget.ask(reqid(index), until.map(at), at(self.now));
        let tunnel = &mut self.tunnels[index];
        tunnel.waits = matches!(word, Word::Wait(_));
        tunnel.again = None;
        match word {
            Word::Take => {
                self.check_order(index, early);
                self.fetch(index);
            }
            Word::Without => {
                let need = self.members[index].need;
                assert_eq!(need, Need::Optional, "a required source is missing");
                assert!(!early, "it could have waited");
                self.tunnels[index].sends = Some((self.now, false));
            }
            Word::Wait(again) => {
                self.put_off += 1;
                let whole = |again: BootTime| u64::try_from(again.0.as_millis().div_ceil(1000));
                let again = again.map(|again| whole(again).unwrap());
                assert!(again.is_none_or(|again| again > self.now));
                tunnel.again = again;
            }
        }
    }

    /// Nobody who stands before waits for a key as urgently, and one stays for each who stands before.
    fn check_order(&mut self, index: usize, early: bool) {
        let rank = self.ranks[index];
        let half = self.peak.div_ceil(2);
        if self.known == 0 {
            let gap = PROBE_GAP.as_secs();
            let probed = self.probed.is_none_or(|probed| probed + gap <= self.now);
            assert!(probed, "a dry link is hammered");
            return;
        }
        let before = self.ranks.iter().filter(|other| **other < rank);
        let kept = u64::try_from(before.count()).unwrap().min(half);
        assert!(self.known > kept, "a key was not kept: {self:?}");
        if early {
            let all = u64::try_from(self.members.len()).unwrap().min(half);
            assert!(self.known > all, "one that could wait took the reserve");
        }
        for (other, tunnel) in self.tunnels.iter().enumerate() {
            let told = tunnel.waits && tunnel.again.is_none();
            let starves = told
                && self.ranks[other] < rank
                && self.until(other).is_none_or(|until| until <= self.now);
            assert!(!starves, "{other} waits for the key that {index} takes");
        }
    }

    fn fetch(&mut self, index: usize) {
        let probe = self.known == 0;
        let fate = if self.store == 0 {
            self.known = 0;
            self.probed = Some(self.now);
            self.tunnels[index].not_before = self.now + 3;
            Fate::Refused(QkdRefusal::Unavailable)
        } else {
            self.store -= 1;
            self.known = self.known.saturating_sub(1);
            if probe || self.known == 0 {
                self.probed = None;
            }
            self.given += 1;
            self.tunnels[index].sends = Some((self.now, true));
            Fate::Delivered
        };
        self.least = self.least.min(self.store);
        self.budget.settle(reqid(index), fate, at(self.now));
    }
}
