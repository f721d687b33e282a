//! Two gateways and all that is around them; one event a step.

use core::time::Duration;
use std::collections::BTreeMap;

use bartizan_core::engine::Engine;
use bartizan_core::exchange::{Input, Room};
use bartizan_evidence::lease::{Claims, Status};
use bartizan_model::config::EngineConfig;
use bartizan_model::identity::Farewell;
use bartizan_model::ids::{EditId, EntryName};
use bartizan_model::message::{ControlToEngine, EngineToXfrm, PeerMessage, SaId};
use bartizan_model::policy::Policy;
use bartizan_model::report::TunnelState;

use crate::gateway::{Gateway, KernelFault, Verdict};
use crate::invariants::Invariants;
use crate::kme::Kmes;
use crate::network::Link;
use crate::policies::{Wish, entries, name};
use crate::rng::Rng;
use crate::traffic::{Packet, Traffic};
use crate::verifier::{CADENCE, LEASE, Verifier};

pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) gateways: [Gateway; 2],
    pub(crate) kmes: Kmes,
    pub(crate) verifier: Verifier,
    pub(crate) rng: Rng,
    pub(crate) link: Link,
    pub(crate) weather: Weather,
    pub(crate) invariants: Invariants,
    pub(crate) traffic: Traffic,
    /// Every peer message that was sent, for those who replay.
    pub(crate) said: Vec<(usize, PeerMessage)>,
    /// Cut the link in the place of this message (counted from 0).
    pub(crate) cut_at: Option<usize>,
    /// The leases that this gateway presents are lost on the way.
    pub(crate) refuse_leases_of: Option<usize>,
    /// How long leases live, and how often they are given.
    pub(crate) lease: Duration,
    pub(crate) cadence: Duration,
    /// Engines see the same moment for ever.
    pub(crate) frozen: bool,
    /// Look at the invariants after every so many events.
    pub(crate) look_every: u64,
    /// How many events there were.
    pub(crate) events: u64,
    queue: BTreeMap<(Duration, u64), Event>,
    sequence: u64,
    same_time: u32,
}

/// How long things take, at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) network: Duration,
    pub(crate) kernel: Duration,
    pub(crate) kme: Duration,
    pub(crate) notice: Duration,
    pub(crate) reconnect: Duration,
}

pub(crate) const FAIR: Weather = Weather {
    network: Duration::from_millis(30),
    kernel: Duration::from_millis(5),
    kme: Duration::from_millis(50),
    notice: Duration::from_secs(2),
    reconnect: Duration::from_secs(3),
};

#[derive(Debug)]
pub(crate) enum Event {
    Engine(usize, u32, Input),
    Execute(usize, u32, EngineToXfrm, Option<Vec<u8>>),
    Deliver(usize, u64, PeerMessage),
    Connect,
    Linked(usize, u64),
    Unlinked(usize, u64),
    Attest(usize, u32),
    Start(usize),
    Grant(usize, u32),
    Fault(Fault),
    Send(usize),
    Arrive(Packet),
}

/// What the world does to them.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Cut,
    /// The process of any role dies; all start again after this time.
    Restart(usize, Duration),
    Kernel(usize, KernelFault),
    Kme(usize, crate::kme::Mode),
    Verdict(usize, Verdict),
    /// The controller changes what the tunnel is made of.
    Edit(u32, Wish),
    /// A copy of what was said before comes again.
    Replay(usize, usize),
    /// The owner gives the box away, or takes it out of service.
    Order(usize, Farewell),
}

impl World {
    /// Both gateways running these tunnels, at the moment of their start.
    pub(crate) fn new(seed: u64, tunnels: &[(u32, Wish)]) -> Self {
        let mut world = Self {
            now: Duration::from_secs(10),
            gateways: [Gateway::new(0), Gateway::new(1)],
            kmes: Kmes::default(),
            verifier: Verifier::new(),
            rng: Rng::new(seed),
            link: Link::default(),
            weather: FAIR,
            invariants: Invariants::default(),
            traffic: Traffic::default(),
            said: Vec::new(),
            cut_at: None,
            refuse_leases_of: None,
            lease: LEASE,
            cadence: CADENCE,
            frozen: false,
            look_every: 1,
            events: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            same_time: 0,
        };
        for who in [0, 1] {
            let of = |(tunnel, wish): &(u32, Wish)| entries(who, *tunnel, *wish);
            world.gateways[who].running = tunnels
                .iter()
                .flat_map(of)
                .map(|policy| (policy.name.clone(), policy))
                .collect();
            world.start(who);
        }
        world
    }

    /// Goes on until this much later.
    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step_before(until) {}
        self.now = until;
    }

    /// Goes on until this holds; false if it does not within that time.
    pub(crate) fn run_until(&mut self, time: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let until = self.now + time;
        loop {
            if holds(self) {
                return true;
            }
            if !self.step_before(until) {
                self.now = until;
                return holds(self);
            }
        }
    }

    /// Whether both ends protect, under the same pair of SAs.
    pub(crate) fn is_protected(&self, tunnel: u32) -> bool {
        let [a, b] = &self.gateways;
        let pair = |gateway: &Gateway| {
            let reqid = tunnel.try_into().unwrap();
            let report = gateway.reports.get(&reqid)?;
            let pair = report.current.clone()?;
            (report.state == TunnelState::Protected).then_some(pair)
        };
        match (pair(a), pair(b)) {
            (Some(a), Some(b)) => a.inbound == b.outbound && a.outbound == b.inbound,
            _ => false,
        }
    }

    pub(crate) fn plan(&mut self, wait: Duration, fault: Fault) {
        self.at(wait, Event::Fault(fault));
    }

    pub(crate) fn at(&mut self, wait: Duration, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + wait, self.sequence), event);
    }

    pub(crate) fn tell(&mut self, who: usize, input: Input) {
        let life = self.gateways[who].life;
        self.at(Duration::ZERO, Event::Engine(who, life, input));
    }

    /// The controller edits; the answer shows in `running` or `edit_refusals`.
    pub(crate) fn edit(&mut self, who: usize, changes: Vec<(EntryName, Option<Policy>)>) {
        self.send_edit(who, changes, ControlToEngine::BeginEdit);
    }

    fn send_edit(
        &mut self,
        who: usize,
        changes: Vec<(EntryName, Option<Policy>)>,
        begin: fn(EditId) -> ControlToEngine,
    ) {
        self.gateways[who].edits += 1;
        let id = EditId(self.gateways[who].edits);
        self.tell(who, Input::Control(begin(id)));
        for (name, policy) in &changes {
            let message = match policy {
                Some(policy) => ControlToEngine::Put(Box::new(policy.clone())),
                None => ControlToEngine::Remove(name.clone()),
            };
            self.tell(who, Input::Control(message));
        }
        self.gateways[who]
            .staged
            .insert(id, changes.into_iter().collect());
        self.tell(who, Input::Control(ControlToEngine::CommitEdit(id)));
    }

    pub(crate) fn step_before(&mut self, until: Duration) -> bool {
        let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
        let deadlines = self.gateways.iter().map(|gateway| {
            let deadline = gateway.engine.as_ref()?.deadline()?;
            Some(gateway.world(deadline))
        });
        let expiries = self.gateways.iter().map(|g| g.kernel.next_expiry());
        let next = deadlines.chain(expiries).flatten().chain(queued).min();
        let Some(next) = next.map(|next| next.max(self.now)).filter(|at| *at < until) else {
            return false;
        };
        self.same_time = if next == self.now {
            self.same_time + 1
        } else {
            0
        };
        assert!(self.same_time < 100_000, "I5: time stands still");
        self.now = next;
        self.step(queued.is_some_and(|at| at <= next));
        true
    }

    /// The kernels' SAs of one tunnel.
    pub(crate) fn kernel_of(&self, tunnel: u32) -> Vec<(usize, SaId)> {
        let of = |who: usize| {
            let sas = self.gateways[who].kernel.sas.values();
            sas.filter(move |sa| u32::from(sa.install.reqid) == tunnel)
                .map(move |sa| (who, sa.install.id))
        };
        of(0).chain(of(1)).collect()
    }

    fn step(&mut self, queued: bool) {
        for who in [0, 1] {
            if self.gateways[who]
                .kernel
                .next_expiry()
                .is_some_and(|at| at <= self.now)
            {
                self.expire(who);
                self.check();
                return;
            }
        }
        if queued {
            let (_, event) = self.queue.pop_first().unwrap();
            let packet = matches!(event, Event::Send(_) | Event::Arrive(_));
            self.happen(event);
            // A packet changes nothing but its own count.
            if packet {
                return;
            }
        } else {
            for who in [0, 1] {
                let boot = self.gateways[who].boot(self.now);
                let engine = self.gateways[who].engine.as_ref();
                if !self.frozen
                    && engine
                        .and_then(Engine::deadline)
                        .is_some_and(|at| at <= boot)
                {
                    self.handle(who, Input::Tick);
                }
            }
        }
        self.check();
    }

    pub(crate) fn check(&mut self) {
        self.events += 1;
        if !self.events.is_multiple_of(self.look_every) {
            return;
        }
        let mut invariants = core::mem::take(&mut self.invariants);
        invariants.check(self);
        self.invariants = invariants;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Engine(who, life, input) => {
                if self.gateways[who].life == life {
                    self.handle(who, input);
                }
            }
            Event::Execute(who, life, order, key) => {
                if self.gateways[who].life == life {
                    self.execute(who, order, key);
                }
            }
            Event::Deliver(to, number, message) => self.deliver(to, number, message),
            Event::Connect => self.connect(),
            Event::Linked(who, number) => self.linked(who, number),
            Event::Unlinked(who, number) => self.unlinked(who, number),
            Event::Attest(who, life) => {
                if self.gateways[who].life == life {
                    self.attest(who);
                }
            }
            Event::Start(who) => self.start(who),
            Event::Grant(who, life) => {
                if self.gateways[who].life == life {
                    self.gateways[who].room = Room::EVERYWHERE;
                    self.handle(who, Input::PeerEnd);
                    self.handle(who, Input::QkdEnd);
                }
            }
            Event::Fault(fault) => self.befall(&fault),
            Event::Send(who) => self.send_packet(who),
            Event::Arrive(packet) => self.arrive(&packet),
        }
    }

    fn befall(&mut self, fault: &Fault) {
        match *fault {
            Fault::Cut => self.cut(),
            Fault::Restart(who, down) => self.restart(who, down),
            Fault::Kernel(who, fault) => self.gateways[who].kernel_faults.push_back(fault),
            Fault::Kme(who, mode) => self.kmes.modes[who] = mode,
            Fault::Verdict(who, verdict) => self.gateways[who].verdict = verdict,
            Fault::Edit(tunnel, wish) => {
                for who in [0, 1] {
                    let changes = entries(who, tunnel, wish).map(|p| (p.name.clone(), Some(p)));
                    self.edit(who, changes.to_vec());
                }
            }
            Fault::Order(who, farewell) => {
                if let Some(order) = self.order(who, farewell) {
                    self.handle(who, Input::Control(ControlToEngine::Order(order)));
                }
            }
            Fault::Replay(to, which) => {
                let from = self.said.iter().filter(|(from, _)| *from != to);
                let said: Vec<_> = from.map(|(_, message)| message.clone()).collect();
                if let (Some(number), false) = (self.link.known[to], said.is_empty()) {
                    let message = said[which % said.len()].clone();
                    self.at(Duration::ZERO, Event::Deliver(to, number, message));
                }
            }
        }
    }

    /// An order for a gateway, if it has shown a nonce.
    pub(crate) fn order(&self, who: usize, farewell: Farewell) -> Option<Vec<u8>> {
        let gateway = &self.gateways[who];
        let (nonce, _) = gateway.nonce?;
        let order = Verifier::order(self.now, &gateway.node, gateway.ldevid, nonce, farewell);
        Some(self.verifier.sign_order(&order))
    }

    /// Starts every role of a gateway.
    fn start(&mut self, who: usize) {
        let gateway = &mut self.gateways[who];
        let config = EngineConfig {
            node: gateway.node.clone(),
            ldevid: gateway.ldevid,
            verifier: self.verifier.signer.public_keys(),
        };
        let rng = &mut self.rng;
        let engine = Engine::new(&config, gateway.boot(self.now), &mut |bytes| {
            rng.fill(bytes);
        });
        gateway.engine = Some(engine.unwrap());
        gateway.room = Room {
            peer: false,
            qkd: false,
            ..Room::EVERYWHERE
        };
        gateway.xfrm_free = self.now;
        gateway.reports.clear();
        gateway.counters.clear();
        let life = gateway.life;
        let running = gateway.running.values();
        let changes: Vec<_> = running.map(|p| (p.name.clone(), Some(p.clone()))).collect();
        if !changes.is_empty() {
            self.send_edit(who, changes, ControlToEngine::BeginRestore);
        }
        let wait = Duration::from_millis(500 + self.rng.below(2000));
        self.at(wait, Event::Attest(who, life));
        self.pump(who);
    }

    pub(crate) fn restart(&mut self, who: usize, down: Duration) {
        if self.gateways[who].engine.is_none() {
            return;
        }
        let gateway = &mut self.gateways[who];
        gateway.engine = None;
        gateway.life += 1;
        self.invariants.begins_again(who);
        let gateway = &mut self.gateways[who];
        gateway.nonce = None;
        gateway.outstanding = 0;
        gateway.lease_end = Duration::ZERO;
        gateway.staged.clear();
        self.link.wanted[who] = false;
        self.link.known[who] = None;
        self.cut();
        self.at(down, Event::Start(who));
    }

    pub(crate) fn handle(&mut self, who: usize, input: Input) {
        let rng = &mut self.rng;
        let gateway = &mut self.gateways[who];
        let boot = gateway.boot(self.now);
        if let Some(engine) = &mut gateway.engine {
            engine.handle(boot, input, &mut |bytes| rng.fill(bytes));
            self.pump(who);
        }
    }

    fn attest(&mut self, who: usize) {
        let life = self.gateways[who].life;
        // A fifth of the cadence to either side, as the controller draws it.
        let fifth = self.cadence / 5;
        let drawn = u64::try_from(fifth.as_millis()).unwrap() * 2;
        let jitter = Duration::from_millis(self.rng.below(drawn));
        self.at(self.cadence - fifth + jitter, Event::Attest(who, life));
        let gateway = &self.gateways[who];
        let (Some((nonce, _)), false) = (gateway.nonce, gateway.verdict == Verdict::Silent) else {
            return;
        };
        let lease = self.lease;
        let affirming = Claims {
            expires: Verifier::clock(self.now).after(lease),
            ..Verifier::claims(self.now, &gateway.node, gateway.ldevid, nonce)
        };
        let claims = Claims {
            status: match gateway.verdict {
                Verdict::Contraindicated => Status::Contraindicated,
                Verdict::Affirming | Verdict::Silent => Status::Affirming,
            },
            ..affirming
        };
        let bytes = self.verifier.sign(&claims);
        if claims.status == Status::Affirming {
            let gateway = &mut self.gateways[who];
            gateway.owner_end = gateway.owner_end.max(Verifier::ends(&claims));
            self.invariants.issued(who, nonce, self.now + lease);
        }
        let wait = Duration::from_millis(self.rng.below(1500));
        let input = Input::Control(ControlToEngine::Lease(bytes));
        self.at(wait, Event::Engine(who, life, input));
    }

    /// Takes both entries of a tunnel out, at one end.
    pub(crate) fn withdraw(&mut self, who: usize, tunnel: u32) {
        use bartizan_model::policy::Direction::{Inbound, Outbound};
        self.invariants.withdrawn(who, tunnel);
        let changes = [Outbound, Inbound].map(|direction| (name(direction, tunnel), None));
        self.edit(who, changes.to_vec());
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap()
}
