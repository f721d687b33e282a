//! One gateway: its engine, and what the other roles of it have seen.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bartizan_core::engine::Engine;
use bartizan_core::exchange::Room;
use bartizan_model::identity::Farewell;
use bartizan_model::ids::{EditId, EntryName, NodeId, Nonce, Reqid, Thumbprint};
use bartizan_model::message::{EditRefusal, LeaseRefusal};
use bartizan_model::policy::Policy;
use bartizan_model::report::{Notice, TunnelReport, TunnelState};
use bartizan_model::time::BootTime;

use crate::kernel::Kernel;
use crate::policies::node;

pub(crate) struct Gateway {
    pub(crate) node: NodeId,
    pub(crate) ldevid: Thumbprint,
    pub(crate) engine: Option<Engine>,
    /// How many times it was started: what was on its way to an earlier life is lost.
    pub(crate) life: u32,
    pub(crate) kernel: Kernel,
    /// When xfrm has done what it was ordered so far.
    pub(crate) xfrm_free: Duration,
    pub(crate) kernel_faults: VecDeque<KernelFault>,
    pub(crate) verdict: Verdict,
    pub(crate) room: Room,
    /// The nonce that was published last, and when.
    pub(crate) nonce: Option<(Nonce, Duration)>,
    /// The world's time at which its lease ends by the law.
    pub(crate) lease_end: Duration,
    /// The latest owner's time at which any lease of it ends.
    pub(crate) owner_end: Duration,
    /// What it was ordered to run, by the controller's accepted edits.
    pub(crate) running: BTreeMap<EntryName, Policy>,
    pub(crate) staged: BTreeMap<EditId, BTreeMap<EntryName, Option<Policy>>>,
    pub(crate) edits: u64,
    pub(crate) reports: BTreeMap<Reqid, TunnelReport>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) edit_refusals: Vec<(EntryName, EditRefusal)>,
    pub(crate) lease_refusals: Vec<LeaseRefusal>,
    /// How the orders that it was given were judged.
    pub(crate) orders: Vec<Result<(), LeaseRefusal>>,
    /// The orders that the supervisor was told of.
    pub(crate) farewells: Vec<Farewell>,
    pub(crate) counters: BTreeMap<String, u64>,
    pub(crate) lost: u32,
    pub(crate) closed: u32,
    pub(crate) in_force: bool,
    /// Orders to xfrm without a reply, now and at most.
    pub(crate) outstanding: usize,
    pub(crate) most_outstanding: usize,
    offset: Duration,
}

/// What the verifier thinks of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Verdict {
    #[default]
    Affirming,
    Contraindicated,
    /// Nobody attests.
    Silent,
}

/// What goes wrong with the next installation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum KernelFault {
    Refuses,
    /// Done, but the answer is lost.
    DoneUnknown,
    /// Neither done nor answered clearly.
    LostUnknown,
}

impl Gateway {
    pub(crate) fn new(who: usize) -> Self {
        Self {
            node: node(who),
            ldevid: Thumbprint([u8::try_from(who).unwrap() + 1; 32]),
            engine: None,
            life: 0,
            kernel: Kernel::new(Duration::from_millis([250, 700][who])),
            xfrm_free: Duration::ZERO,
            kernel_faults: VecDeque::new(),
            verdict: Verdict::default(),
            room: Room::EVERYWHERE,
            nonce: None,
            lease_end: Duration::ZERO,
            owner_end: Duration::ZERO,
            running: BTreeMap::new(),
            staged: BTreeMap::new(),
            edits: 0,
            reports: BTreeMap::new(),
            notices: Vec::new(),
            edit_refusals: Vec::new(),
            lease_refusals: Vec::new(),
            orders: Vec::new(),
            farewells: Vec::new(),
            counters: BTreeMap::new(),
            lost: 0,
            closed: 0,
            in_force: false,
            outstanding: 0,
            most_outstanding: 0,
            // The two booted at other times.
            offset: Duration::from_secs([7, 100_000][who]),
        }
    }

    pub(crate) fn boot(&self, now: Duration) -> BootTime {
        BootTime(now + self.offset)
    }

    pub(crate) fn world(&self, boot: BootTime) -> Duration {
        boot.0.saturating_sub(self.offset)
    }

    pub(crate) fn state(&self, tunnel: u32) -> Option<TunnelState> {
        let reqid = Reqid::try_from(tunnel).unwrap();
        self.reports.get(&reqid).map(|report| report.state)
    }

    pub(crate) fn report(&self, tunnel: u32) -> &TunnelReport {
        &self.reports[&Reqid::try_from(tunnel).unwrap()]
    }

    /// How often a tunnel was rekeyed, if it is known.
    pub(crate) fn report_if(&self, tunnel: u32) -> Option<u64> {
        let reqid = Reqid::try_from(tunnel).unwrap();
        self.reports.get(&reqid).map(|report| report.rekeys)
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or_default()
    }
}
