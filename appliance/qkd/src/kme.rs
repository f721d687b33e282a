//! One KME: its workers, and what is known of each pair of SAEs that it serves.

use std::collections::BTreeMap;

use bartizan_model::config::{KmeConfig, KmeInterface};
use bartizan_model::ids::{KeyId, KmeText, LinkName, NodeId, SaeId, StreamName};
use bartizan_model::report::{LinkCounts, LinkReport, LinkState, QkdRefusal};
use bartizan_model::time::BootTime;
use tokio::sync::mpsc;
use tokio::time::Duration;

use crate::dispatch::{Dispatch, Link};
use crate::document::{BATCH_MAX, KEY_BITS, Limits};
use crate::health::{Event, Health};
use crate::pool::Pool;
use crate::stream::StreamId;
use crate::streams::{Streams, Terms};
use crate::worker::{Job, Status};

/// The most pairs of one KME.
const PAIRS_MAX: usize = 1024;

/// How long what a KME said of a pair counts (014, 6.1).
const STATUS_AGE: Duration = Duration::from_secs(10);

/// A pair is reported no more often.
const REPORT_GAP: Duration = Duration::from_secs(1);

const SECONDS_AN_HOUR: u64 = 3600;

/// One KME.
#[derive(Debug)]
pub(crate) struct Kme {
    pub(crate) name: NodeId,
    pub(crate) interface: KmeInterface,
    link: Option<LinkName>,
    sae: SaeId,
    least_rate: u32,
    pub(crate) dispatch: Dispatch,
    pub(crate) pairs: BTreeMap<SaeId, Pair>,
    pub(crate) jobs: Vec<mpsc::Sender<Job>>,
    /// How the last attempt to connect ended.
    pub(crate) up: Option<Link>,
}

/// What is known of one pair.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) pool: Pool,
    pub(crate) health: Health,
    pub(crate) counts: LinkCounts,
    /// Of 004 alone.
    pub(crate) streams: Option<Streams>,
    said: Option<KmeText>,
    limits: Option<(Limits, BootTime)>,
    /// Keys taken since `limits`.
    taken: u32,
    /// Keys an hour.
    rate: Option<u32>,
    reported: Option<(LinkReport, BootTime)>,
}

impl Kme {
    pub(crate) fn new(config: &KmeConfig, jobs: Vec<mpsc::Sender<Job>>) -> Self {
        Self {
            name: config.name.clone(),
            interface: config.interface,
            link: config.link.clone(),
            sae: config.sae.clone(),
            least_rate: config.least_rate,
            dispatch: Dispatch::new(),
            pairs: BTreeMap::new(),
            jobs,
            up: None,
        }
    }

    /// What is known of a pair; nothing where there are too many.
    pub(crate) fn pair(&mut self, peer: &SaeId) -> Option<&mut Pair> {
        if !self.pairs.contains_key(peer) {
            if self.pairs.len() >= PAIRS_MAX {
                return None;
            }
            let streams = match self.interface {
                KmeInterface::Etsi014 => None,
                KmeInterface::Etsi004Binary | KmeInterface::Etsi004Json => {
                    Some(Streams::new(Terms {
                        peer: peer.clone(),
                        source: format!("qkd://{}@{}", self.sae, self.name),
                        destination: format!("qkd://{peer}@{peer}"),
                        least_rate: self.least_rate,
                    }))
                }
            };
            self.pairs.insert(peer.clone(), Pair::new(streams));
        }
        self.pairs.get_mut(peer)
    }

    /// What gateways call a key of this KME; nothing where that is too long.
    pub(crate) fn outside(&self, key: &KeyId) -> Option<KeyId> {
        match &self.link {
            None => Some(key.clone()),
            Some(link) => KeyId::try_from(format!("{link}:{key}")).ok(),
        }
    }

    /// What this KME calls a key that a gateway names; nothing where it is another KME's.
    pub(crate) fn inside(&self, key: &KeyId) -> Option<KeyId> {
        KeyId::try_from(self.without_link(key.as_str())?).ok()
    }

    /// What gateways call a stream of this KME.
    pub(crate) fn stream_name(&self, stream: StreamId) -> Option<StreamName> {
        let name = match &self.link {
            None => stream.to_string(),
            Some(link) => format!("{link}:{stream}"),
        };
        StreamName::try_from(name).ok()
    }

    /// The text behind this KME's link.
    pub(crate) fn without_link<'a>(&self, name: &'a str) -> Option<&'a str> {
        match &self.link {
            None => Some(name),
            Some(link) => name.strip_prefix(link.as_str())?.strip_prefix(':'),
        }
    }

    /// A pair's report, if it differs from the last and that was long enough ago.
    pub(crate) fn report(&mut self, peer: &SaeId, now: BootTime) -> Option<LinkReport> {
        let pair = self.pairs.get_mut(peer)?;
        if pair.report_due(now) > now {
            return None;
        }
        let agreed = pair.streams.as_ref().and_then(Streams::rate);
        let agreed = agreed.map(|bits| keys_an_hour(u64::from(bits).div_euclid(KEY_BITS)));
        let report = LinkReport {
            kme: self.name.clone(),
            peer: peer.clone(),
            interface: self.interface,
            state: pair.health.state(),
            reason: pair.health.reason(),
            said: pair.said.clone().filter(|_| pair.health.reason().is_some()),
            stored_keys: pair.limits.and_then(|(limits, _)| limits.stored),
            prefetched: u32::try_from(pair.pool.len()).unwrap_or(u32::MAX),
            rate: agreed.or(pair.rate),
            latency: pair.health.latency(),
            counts: pair.counts,
        };
        if pair
            .reported
            .as_ref()
            .is_some_and(|(last, _)| *last == report)
        {
            return None;
        }
        pair.reported = Some((report.clone(), now));
        Some(report)
    }

    /// Wipes what was fetched ahead.
    pub(crate) fn wipe(&mut self) {
        for pair in self.pairs.values_mut() {
            pair.wipe();
        }
    }
}

impl Pair {
    fn new(streams: Option<Streams>) -> Self {
        Self {
            pool: Pool::default(),
            health: Health::default(),
            counts: LinkCounts::default(),
            streams,
            said: None,
            limits: None,
            taken: 0,
            rate: None,
            reported: None,
        }
    }

    /// Takes notice of what happened; a link that is refused keeps nothing that came over it.
    pub(crate) fn happen(&mut self, event: Event, now: BootTime) {
        let counts = &mut self.counts;
        let count = match event {
            Event::Given { .. } => {
                self.taken = self.taken.saturating_add(1);
                &mut counts.given
            }
            Event::Unused => &mut counts.unused,
            Event::Failed(QkdRefusal::ZeroKey) => &mut counts.zero,
            Event::Failed(QkdRefusal::RepeatedKey) => &mut counts.repeated,
            Event::Failed(QkdRefusal::WrongLength) => &mut counts.short,
            Event::Failed(QkdRefusal::WrongKeyId) => &mut counts.out_of_order,
            Event::Failed(_) => &mut counts.failed,
        };
        *count = count.saturating_add(1);
        self.health.happen(event, now);
        if self.health.state() == LinkState::Refused {
            self.wipe();
        }
    }

    /// How many keys one request may ask for.
    pub(crate) fn batch(&self) -> usize {
        self.limits.map_or(BATCH_MAX, |(limits, _)| limits.batch)
    }

    /// Whether the KME must be asked for its status first.
    pub(crate) fn status(&self, now: BootTime) -> Status {
        match self.limits {
            Some((_, at)) if now.since(at) < STATUS_AGE => Status::Known,
            Some(_) | None => Status::Unknown,
        }
    }

    /// The KME has told its status.
    pub(crate) fn limits(&mut self, limits: Limits, now: BootTime) {
        if let Some((last, at)) = self.limits
            && let (Some(before), Some(after)) = (last.stored, limits.stored)
            && !last.full
            && !limits.full
        {
            let made = after.saturating_add(self.taken).saturating_sub(before);
            let millis = u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
            let a_second = u64::from(made)
                .saturating_mul(1000)
                .saturating_mul(SECONDS_AN_HOUR)
                .checked_div(millis);
            self.rate = a_second.map(|rate| u32::try_from(rate).unwrap_or(u32::MAX));
        }
        self.limits = Some((limits, now));
        self.taken = 0;
    }

    /// What the KME said before may not hold any more.
    pub(crate) fn forget_status(&mut self) {
        self.limits = None;
    }

    /// The KME's words on a refusal.
    pub(crate) fn hear(&mut self, said: KmeText) {
        self.said = Some(said);
    }

    /// Whether keys may be fetched ahead: not where they are few, for the peer's gateway, and orders
    /// to come, may need them more.
    pub(crate) fn may_fetch_ahead(&self) -> bool {
        let stored = self.limits.and_then(|(limits, _)| limits.stored);
        self.health.state() == LinkState::Healthy
            && stored.is_none_or(|stored| stored >= STORED_MIN)
    }

    pub(crate) fn wipe(&mut self) {
        let wiped = self.pool.wipe();
        self.wasted(wiped);
    }

    pub(crate) fn wasted(&mut self, keys: usize) {
        let keys = u64::try_from(keys).unwrap_or(u64::MAX);
        self.counts.wasted = self.counts.wasted.saturating_add(keys);
    }

    /// When the next report may be made.
    pub(crate) fn report_due(&self, now: BootTime) -> BootTime {
        let last = self.reported.as_ref();
        last.map_or(now, |(_, at)| at.after(REPORT_GAP))
    }
}

/// With fewer keys at the KME, none is fetched ahead.
const STORED_MIN: u32 = 64;

fn keys_an_hour(a_second: u64) -> u32 {
    u32::try_from(a_second.saturating_mul(SECONDS_AN_HOUR)).unwrap_or(u32::MAX)
}
