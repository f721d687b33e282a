//! Who gets the next key of a QKD link: keys come slowly and in bursts, and a thousand tunnels must
//! not drain what one of them needs.
//!
//! The initiator asks before each generation; the responder only counts, so that both ends account for
//! the same keys. The order is the policies': who requires QKD before whom it is optional to, then the
//! higher priority, then who waits longer. Two rules hold at any moment, whatever is reported:
//!
//! - No key goes to a tunnel while one that stands before it waits for one as urgently.
//! - A key is only given while one stays for each tunnel that stands before, and, to who can wait, only
//!   while one stays for every tunnel of the link. Where the link never held so many, half of the most
//!   that it held stays.
//!
//! Who can wait is put off as far as [`late_after`] says; a tunnel that got less than its minimum
//! cannot. Whom a key is refused then goes on without, if its policy says optional, and is told why; who
//! requires one waits, and its SA ends if none comes. At a link that is dry the first in order tries
//! every [`PROBE_GAP`], because what was reported may be old.

mod account;
mod report;

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bartizan_model::ids::{Reqid, SaeId};
use bartizan_model::policy::{Lifetime, Need, QkdPriority, QkdSource};
use bartizan_model::report::{BudgetLevel, LinkReport, QkdRefusal, QkdReport};
use bartizan_model::time::BootTime;

use account::Account;

/// Between two attempts at a link that has no key.
pub const PROBE_GAP: Duration = Duration::from_secs(2);

const HOUR: Duration = Duration::from_hours(1);

/// How badly a tunnel needs a key.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Urgency {
    /// Nothing sends, or its rekey was put off as far as it may be.
    Due,
    /// Its soft lifetime is over, and it can wait.
    Early,
}

/// What a tunnel that asks is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Word {
    /// A key is set aside for it: ask the KME.
    Take,
    /// Not now; it is woken when its turn comes. At this time it is to ask again in any case.
    Wait(Option<BootTime>),
    /// There is none for it, and its policy lets it go on without.
    Without,
}

/// What became of a key that was set aside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It was delivered.
    Delivered,
    /// The KME refused.
    Refused(QkdRefusal),
    /// The generation ended before the KME answered.
    Unknown,
}

/// Where a tunnel stands among those of its link; the first is served first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Rank {
    need: u8,
    priority: Reverse<QkdPriority>,
}

impl Rank {
    /// The place of a source.
    pub fn of(source: &QkdSource) -> Self {
        Self {
            need: match source.need {
                Need::Required => 0,
                Need::Optional => 1,
            },
            priority: Reverse(source.priority),
        }
    }
}

/// The keys of every link, and who waits for one.
#[derive(Debug, Default)]
pub struct Budget {
    claims: BTreeMap<Reqid, Claim>,
    accounts: BTreeMap<SaeId, Account>,
    /// Links at which somebody's turn may have come.
    stirred: BTreeSet<SaeId>,
    /// Links whose report is another one.
    changed: BTreeSet<SaeId>,
    /// Links that got scarcer or recovered, until it is told.
    alarms: Vec<(SaeId, BudgetLevel)>,
}

/// What a tunnel wants of its link.
#[derive(Debug)]
struct Claim {
    source: QkdSource,
    rank: Rank,
    /// When it last got a key.
    last: Option<BootTime>,
    /// Since when it waits for one.
    since: Option<BootTime>,
    queued: Option<Queued>,
    set_aside: bool,
}

/// A place in the queue of a link.
type Queued = (Urgency, Rank, BootTime, Reqid);

impl Budget {
    /// Takes a tunnel's QKD source on, a changed one, or that it has none.
    pub fn follow(&mut self, reqid: Reqid, source: Option<&QkdSource>) {
        if self.claims.get(&reqid).map(|claim| &claim.source) == source {
            return;
        }
        self.leave(reqid);
        let before = self.claims.remove(&reqid);
        let last = before.as_ref().and_then(|claim| claim.last);
        let set_aside = before.as_ref().is_some_and(|claim| claim.set_aside);
        if let Some(source) = source {
            let rank = Rank::of(source);
            let account = self.accounts.entry(source.peer_sae.clone()).or_default();
            account.follow(rank, source.minimum, set_aside);
            let claim = Claim {
                source: source.clone(),
                rank,
                last,
                since: None,
                queued: None,
                set_aside,
            };
            self.claims.insert(reqid, claim);
            self.stir(&source.peer_sae);
        }
        // Last, so that what its links said stays with a tunnel that only changed.
        if let Some(claim) = before {
            let peer = &claim.source.peer_sae;
            if let Some(account) = self.accounts.get_mut(peer) {
                account.unfollow(claim.rank, claim.source.minimum, claim.set_aside);
                if account.is_over() {
                    self.accounts.remove(peer);
                }
            }
            self.stir(peer);
        }
    }

    /// A link reports what it has; says whether more or less is thought of it than before. Of one that
    /// no tunnel uses nothing is kept.
    pub fn link(&mut self, report: LinkReport, now: BootTime) -> bool {
        let peer = report.peer.clone();
        let Some(account) = self.accounts.get_mut(&peer) else {
            return false;
        };
        let changed = account.reported(report, now);
        self.stir(&peer);
        changed
    }

    /// A tunnel that could begin a generation now asks for a key; `put_off_until` says when it can wait
    /// no longer, if it can.
    pub fn ask(&mut self, reqid: Reqid, put_off_until: Option<BootTime>, now: BootTime) -> Word {
        let Some(claim) = self.claims.get_mut(&reqid) else {
            return Word::Take;
        };
        let Some(account) = self.accounts.get_mut(&claim.source.peer_sae) else {
            return Word::Take;
        };
        let until = put_off_until
            .map(|until| until.min(claim.entitled_at(now)))
            .filter(|until| *until > now);
        let urgency = match until {
            Some(_) => Urgency::Early,
            None => Urgency::Due,
        };
        let since = *claim.since.get_or_insert(now);
        let place = (urgency, claim.rank, since, reqid);
        if let Some(before) = claim.queued.replace(place) {
            account.queue.remove(&before);
        }
        account.queue.insert(place);
        let peer = claim.source.peer_sae.clone();
        self.stirred.insert(peer.clone());
        self.changed.insert(peer);
        let first = account.queue.first() == Some(&place);
        if first && account.allows(claim.rank, urgency, now) {
            claim.take_place(account);
            claim.since = None;
            claim.set_aside = true;
            account.set_aside(urgency, now);
            return Word::Take;
        }
        if urgency == Urgency::Due && claim.source.need == Need::Optional {
            claim.take_place(account);
            claim.since = None;
            account.without();
            return Word::Without;
        }
        Word::Wait(until)
    }

    /// A tunnel waits no longer: it is gone, or something else is in its way.
    pub fn leave(&mut self, reqid: Reqid) {
        let Some(claim) = self.claims.get_mut(&reqid) else {
            return;
        };
        claim.since = None;
        if claim.queued.is_some()
            && let Some(account) = self.accounts.get_mut(&claim.source.peer_sae)
        {
            claim.take_place(account);
            let peer = claim.source.peer_sae.clone();
            self.stir(&peer);
        }
    }

    /// The KME answered about the key that was set aside for a tunnel, or will not be heard.
    pub fn settle(&mut self, reqid: Reqid, fate: Fate, now: BootTime) {
        let Some(claim) = self.claims.get_mut(&reqid) else {
            return;
        };
        let Some(account) = self.accounts.get_mut(&claim.source.peer_sae) else {
            return;
        };
        if fate == Fate::Delivered {
            claim.last = Some(now);
        }
        if core::mem::take(&mut claim.set_aside) {
            account.settled(fate, now);
        } else if fate == Fate::Delivered {
            account.confirmed();
        }
        let peer = claim.source.peer_sae.clone();
        self.stir(&peer);
    }

    /// The tunnel whose turn has come: it is to ask again.
    pub fn next(&mut self, now: BootTime) -> Option<Reqid> {
        while let Some(peer) = self.stirred.first().cloned() {
            if let Some(account) = self.accounts.get_mut(&peer) {
                if let Some(level) = account.judge() {
                    self.alarms.push((peer.clone(), level));
                }
                if let Some((urgency, rank, _, reqid)) = account.queue.first().copied()
                    && account.allows(rank, urgency, now)
                {
                    if let Some(claim) = self.claims.get_mut(&reqid) {
                        claim.take_place(account);
                    }
                    return Some(reqid);
                }
            }
            self.stirred.remove(&peer);
        }
        None
    }

    /// When [`Budget::tick`] has something to do: somebody waits for a time.
    pub fn deadline(&self) -> Option<BootTime> {
        self.accounts.values().filter_map(Account::wakes_at).min()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: BootTime) {
        let awake = |account: &Account| account.wakes_at().is_some_and(|at| at <= now);
        let awake = self.accounts.iter().filter(|(_, account)| awake(account));
        let peers: Vec<SaeId> = awake.map(|(peer, _)| peer.clone()).collect();
        self.stirred.extend(peers);
    }

    /// A link whose store got scarcer or recovered, to be told at once.
    pub fn take_alarm(&mut self) -> Option<(SaeId, BudgetLevel)> {
        (!self.alarms.is_empty()).then(|| self.alarms.remove(0))
    }

    /// Whether a link's report is another one than was taken.
    pub fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The links whose report is another one.
    pub fn take_changed(&mut self) -> BTreeSet<SaeId> {
        core::mem::take(&mut self.changed)
    }

    /// A link as it stands; `None` if no tunnel uses it any more.
    pub fn report(&self, peer: &SaeId) -> Option<QkdReport> {
        self.accounts.get(peer).map(|account| account.report(peer))
    }

    fn stir(&mut self, peer: &SaeId) {
        self.stirred.insert(peer.clone());
        self.changed.insert(peer.clone());
    }
}

impl Claim {
    /// When it has waited for its share: below its minimum it cannot be put off.
    fn entitled_at(&self, now: BootTime) -> BootTime {
        let share = HOUR.checked_div(self.source.minimum);
        share.map_or(BootTime(Duration::MAX), |share| {
            self.last.map_or(now, |last| last.after(share))
        })
    }

    fn take_place(&mut self, account: &mut Account) {
        if let Some(place) = self.queued.take() {
            account.queue.remove(&place);
        }
    }
}

/// How long after an SA began to send its successor is begun at the latest, if no key is short: at
/// most twice the soft lifetime, and never later than midway between soft and hard.
pub fn late_after(soft: Lifetime, hard: Lifetime) -> Option<Duration> {
    let soft = soft.seconds?;
    let twice = soft.saturating_mul(2);
    let midway = hard.seconds.map(|hard| soft.midpoint(hard.max(soft)));
    let seconds = midway.map_or(twice, |midway| midway.min(twice));
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
