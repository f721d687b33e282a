//! One gateway as it last showed itself.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bartizan_model::ids::EntryName;
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::policy::Policy;
use bartizan_model::report::{NetworkState, Notice, QkdReport, TunnelReport};
use tokio::sync::watch;
use tokio::time::Instant;

/// Events that are kept of each gateway.
const EVENTS: usize = 64;

/// Characters of an event that are kept.
const WORDS: usize = 512;

/// One gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// The entries that it should run.
    pub(crate) desired: watch::Sender<Arc<Desired>>,
    pub(crate) session: Option<Session>,
    pub(crate) sessions: u64,
    pub(crate) configuration: Configuration,
    pub(crate) lease: Option<Lease>,
    pub(crate) leases: u64,
    pub(crate) lifecycle: Option<Lifecycle>,
    pub(crate) network: Option<NetworkState>,
    /// By outbound entry.
    pub(crate) tunnels: BTreeMap<EntryName, TunnelReport>,
    /// By the peer's SAE.
    pub(crate) qkd: Vec<QkdReport>,
    pub(crate) events: VecDeque<Event>,
}

/// What a gateway should run, and by which plan.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Desired {
    pub(crate) version: u64,
    pub(crate) policies: Vec<Policy>,
}

/// A connection of a gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(crate) number: u64,
    pub(crate) address: SocketAddr,
    pub(crate) since: Instant,
}

/// How a gateway's configuration stands to the plan.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Configuration {
    /// Not yet compared.
    Unknown,
    /// As it should be, by the plan of this version.
    Same(u64),
    /// The gateway refused the edit.
    Refused(String),
}

/// A lease that a gateway took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) granted: Instant,
    pub(crate) length: Duration,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: Instant,
    pub(crate) words: String,
}

impl Gateway {
    pub(crate) fn new() -> Self {
        Self {
            desired: watch::Sender::new(Arc::new(Desired::default())),
            session: None,
            sessions: 0,
            configuration: Configuration::Unknown,
            lease: None,
            leases: 0,
            lifecycle: None,
            network: None,
            tunnels: BTreeMap::new(),
            qkd: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// Notes an event.
    pub(crate) fn tell(&mut self, words: &str) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        // A gateway's words are data: no line of them may look like another's.
        let words = words.chars().map(|c| if c.is_control() { ' ' } else { c });
        self.events.push_back(Event {
            at: Instant::now(),
            words: words.take(WORDS).collect(),
        });
    }
}

impl Lease {
    /// How long it lives yet, at most: the gateway counts from before it was granted.
    pub(crate) fn left(&self) -> Duration {
        self.length.saturating_sub(self.granted.elapsed())
    }
}

/// What a notice says, in words.
pub(crate) fn words(notice: &Notice) -> String {
    match notice {
        Notice::Established { entry, pair, .. } => {
            format!("{entry}: epoch {} protects", pair.epoch)
        }
        Notice::Expired { entry, spi, hard } => {
            let limit = if *hard { "hard" } else { "soft" };
            format!("{entry}: the SA {spi} reached its {limit} lifetime")
        }
        Notice::Alarm { entry, alarm } => format!("{entry}: alarm: {alarm:?}"),
        Notice::NotProgrammed { entry, errno } => {
            format!("{entry}: the kernel refused it: error {errno}")
        }
        Notice::QkdBudget { peer, level } => {
            format!("QKD keys shared with {peer}: {level:?}")
        }
        Notice::QkdLink {
            peer,
            kme,
            state,
            reason,
        } => {
            let why = reason.map_or(String::new(), |reason| format!(": {reason:?}"));
            format!("QKD link to {peer} by {kme}: {state:?}{why}")
        }
        Notice::Programmed { entries } => format!("{entries} entries are programmed"),
    }
}
