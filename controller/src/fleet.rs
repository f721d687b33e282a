//! What the controller knows: the tunnels of the plan, and each gateway as it last showed itself. No
//! I/O.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bartizan_model::ids::{EntryName, NodeId, Reqid};
use bartizan_model::policy::{Action, Policy};
use bartizan_model::report::{Notice, PairReport, TunnelReport, TunnelState};
use bartizan_netconf::client::Data;
use tokio::time::Instant;

use crate::gateway::{self, Configuration, Desired, Gateway, Lease, Session};
use crate::plan::{self, Plan, PlanErrors, TunnelKey};
use crate::reqids::Reqids;
use crate::status::lower;

/// The plan and the gateways.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) nodes: BTreeMap<NodeId, Gateway>,
    /// The tunnels of the plan by name.
    pub(crate) tunnels: BTreeMap<TunnelKey, Planned>,
    /// How often a plan was applied since the start.
    pub(crate) version: u64,
    pub(crate) applied: Instant,
    /// The entries of every node by the plan, those to nodes that are withheld among them.
    policies: BTreeMap<NodeId, Vec<Policy>>,
    /// Nodes that are not to be spoken with: the other ends of their tunnels have no entry for them.
    withheld: BTreeSet<NodeId>,
    /// Which tunnel a node reports on under which name.
    reported: BTreeMap<(NodeId, EntryName), TunnelKey>,
    /// What was refused or went wrong, by name.
    pub(crate) counters: BTreeMap<&'static str, u64>,
}

/// A tunnel of the plan at both its ends, the lower node first.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    /// The node and its outbound entry.
    pub(crate) ends: [(NodeId, EntryName); 2],
    pub(crate) reqid: Reqid,
    /// How long after the plan was applied it was first seen protected at both ends.
    pub(crate) protected: Option<Duration>,
}

/// A plan that can be taken over.
#[derive(Debug)]
pub(crate) struct Prepared {
    policies: BTreeMap<NodeId, Vec<Policy>>,
    tunnels: BTreeMap<TunnelKey, Planned>,
}

/// Whether a node may be spoken with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trust {
    /// By its lease.
    Given,
    /// Not at all.
    Withheld,
}

impl Fleet {
    /// The gateways of the configuration, none of them seen yet, with the plan as it was kept.
    ///
    /// # Errors
    ///
    /// As [`Fleet::prepare`].
    pub(crate) fn new(
        nodes: &BTreeSet<NodeId>,
        plan: &Plan,
        reqids: &Reqids,
    ) -> Result<Self, PlanErrors> {
        let gateways = nodes.iter().map(|node| (node.clone(), Gateway::new()));
        let mut fleet = Self {
            nodes: gateways.collect(),
            tunnels: BTreeMap::new(),
            version: 0,
            applied: Instant::now(),
            policies: BTreeMap::new(),
            withheld: BTreeSet::new(),
            reported: BTreeMap::new(),
            counters: BTreeMap::new(),
        };
        let prepared = fleet.prepare(plan, reqids)?;
        fleet.apply(prepared);
        Ok(fleet)
    }

    /// Makes every gateway's entries out of a plan, and changes nothing.
    ///
    /// # Errors
    ///
    /// The nodes of the plan that are not ours, or the tunnel that no number is left for.
    pub(crate) fn prepare(&self, plan: &Plan, reqids: &Reqids) -> Result<Prepared, PlanErrors> {
        for node in plan.nodes.keys() {
            if !self.nodes.contains_key(node) {
                let fault = "no node of this controller";
                return Err(PlanErrors::of(format!("node.{node}"), fault));
            }
        }
        let no_number = |tunnel: &TunnelKey| {
            PlanErrors::of(tunnel.to_string(), "no number is left for this tunnel")
        };
        let mut policies = BTreeMap::new();
        for node in self.nodes.keys() {
            let entries = plan::policies(plan, node, |tunnel| reqids.of(tunnel));
            policies.insert(node.clone(), entries.map_err(|tunnel| no_number(&tunnel))?);
        }
        let mut tunnels = BTreeMap::new();
        for tunnel in &plan.tunnels {
            let key = tunnel.key();
            let end = |node: &NodeId| {
                let entry = plan::outbound_entry(plan, tunnel, node)?;
                Some((node.clone(), entry))
            };
            let ends = (end(&key.lower), end(&key.higher), reqids.of(&key));
            let (Some(lower), Some(higher), Some(reqid)) = ends else {
                return Err(no_number(&key));
            };
            let ends = Planned {
                ends: [lower, higher],
                reqid,
                protected: None,
            };
            tunnels.insert(key, ends);
        }
        Ok(Prepared { policies, tunnels })
    }

    /// Takes a node in, if it is not there yet.
    pub(crate) fn admit(&mut self, node: &NodeId) {
        self.nodes.entry(node.clone()).or_insert_with(Gateway::new);
    }

    /// Takes a plan over.
    pub(crate) fn apply(&mut self, prepared: Prepared) {
        self.version = self.version.saturating_add(1);
        self.applied = Instant::now();
        self.tunnels = prepared.tunnels;
        self.reported = BTreeMap::new();
        for (key, tunnel) in &self.tunnels {
            for end in &tunnel.ends {
                self.reported.insert(end.clone(), key.clone());
            }
        }
        self.policies = prepared.policies;
        self.publish();
    }

    /// Says whether a node may be spoken with; its tunnels go from their other ends at once, or come
    /// back. True if that has changed.
    pub(crate) fn withhold(&mut self, node: &NodeId, trust: Trust) -> bool {
        let changed = match trust {
            Trust::Given => self.withheld.remove(node),
            Trust::Withheld => self.withheld.insert(node.clone()),
        };
        if changed {
            self.publish();
        }
        changed
    }

    /// Hands every node the entries that it should run, where they are others than before.
    fn publish(&mut self) {
        let may = |policy: &&Policy| match &policy.action {
            Action::Protect(protect) => !self.withheld.contains(&protect.keying.peer),
            Action::Discard => true,
        };
        for (node, policies) in &self.policies {
            if let Some(gateway) = self.nodes.get_mut(node) {
                let desired = Desired {
                    version: self.version,
                    policies: policies.iter().filter(may).cloned().collect(),
                };
                gateway.desired.send_if_modified(|standing| {
                    let modified = **standing != desired;
                    *standing = Arc::new(desired);
                    modified
                });
            }
        }
    }

    /// A gateway has called home; returns the number of its session, or `None` for a stranger.
    pub(crate) fn connected(&mut self, node: &NodeId, address: SocketAddr) -> Option<u64> {
        let gateway = self.nodes.get_mut(node)?;
        gateway.sessions = gateway.sessions.saturating_add(1);
        let number = gateway.sessions;
        gateway.session = Some(Session {
            number,
            address,
            since: Instant::now(),
        });
        gateway.configuration = Configuration::Unknown;
        gateway.tell("connected");
        Some(number)
    }

    /// A session is over; an older one than the present changes nothing.
    pub(crate) fn disconnected(&mut self, node: &NodeId, number: u64, why: &str) {
        if let Some(gateway) = self.nodes.get_mut(node)
            && gateway
                .session
                .is_some_and(|session| session.number == number)
        {
            gateway.session = None;
            gateway.configuration = Configuration::Unknown;
            gateway.tell(&format!("disconnected: {why}"));
        }
    }

    /// A gateway has shown its state.
    pub(crate) fn observed(&mut self, node: &NodeId, data: Data) {
        let Some(gateway) = self.nodes.get_mut(node) else {
            return;
        };
        if let Some(lifecycle) = data.lifecycle
            && gateway.lifecycle != data.lifecycle
        {
            gateway.tell(&format!("is {lifecycle:?}").to_lowercase());
        }
        gateway.lifecycle = data.lifecycle;
        if let Some(network) = data.network
            && gateway.network != data.network
        {
            gateway.tell(&format!("its network: {}", lower(&format!("{network:?}"))));
        }
        gateway.network = data.network;
        gateway.qkd = data.qkd;
        let tunnels = data.tunnels.into_iter();
        gateway.tunnels = tunnels
            .map(|tunnel| (tunnel.entry.clone(), tunnel))
            .collect();
        let entries: Vec<_> = gateway.tunnels.keys().cloned().collect();
        for entry in entries {
            self.look_for_protection(node, entry);
        }
    }

    /// A gateway's configuration was compared or edited.
    pub(crate) fn configured(&mut self, node: &NodeId, configuration: Configuration) {
        let Some(gateway) = self.nodes.get_mut(node) else {
            return;
        };
        if gateway.configuration == configuration {
            return;
        }
        match &configuration {
            Configuration::Unknown => {}
            Configuration::Same(version) => {
                gateway.tell(&format!("runs the plan {version}"));
                // What it told before may be about the plan before.
                gateway.tunnels.clear();
            }
            Configuration::Refused(why) => gateway.tell(&format!("refused an edit: {why}")),
        }
        gateway.configuration = configuration;
    }

    /// A gateway took a lease.
    pub(crate) fn leased(&mut self, node: &NodeId, length: Duration) {
        if let Some(gateway) = self.nodes.get_mut(node) {
            gateway.leases = gateway.leases.saturating_add(1);
            gateway.lease = Some(Lease {
                granted: Instant::now(),
                length,
            });
        }
    }

    /// A gateway told something by itself.
    pub(crate) fn noticed(&mut self, node: &NodeId, notice: &Notice) {
        let Some(gateway) = self.nodes.get_mut(node) else {
            return;
        };
        gateway.tell(&gateway::words(notice));
        match notice {
            Notice::Established { entry, pair, mix } => {
                let mut pair = pair.clone();
                pair.sources = Some(mix.sources);
                self.established(node, entry, pair);
            }
            Notice::Alarm { entry, alarm } => {
                if let Some(tunnel) = gateway.tunnels.get_mut(entry) {
                    tunnel.alarm = Some(*alarm);
                }
            }
            Notice::Expired { .. }
            | Notice::NotProgrammed { .. }
            | Notice::QkdBudget { .. }
            | Notice::QkdLink { .. }
            | Notice::Programmed { .. } => {}
        }
    }

    /// A pair of SAs protects: what the next full state will say, known at once.
    fn established(&mut self, node: &NodeId, entry: &EntryName, pair: PairReport) {
        let name = (node.clone(), entry.clone());
        let Some(key) = self.reported.get(&name).cloned() else {
            return;
        };
        let (Some(gateway), Some(ends)) = (self.nodes.get_mut(node), self.tunnels.get(&key)) else {
            return;
        };
        let peer = if key.lower == *node {
            &key.higher
        } else {
            &key.lower
        };
        let report = gateway
            .tunnels
            .entry(entry.clone())
            .or_insert_with(|| TunnelReport {
                entry: entry.clone(),
                tunnel: key.id,
                peer: peer.clone(),
                reqid: ends.reqid,
                state: TunnelState::Starting,
                current: None,
                rekeys: 0,
                alarm: None,
            });
        let known = report.current.as_ref().map(|known| known.epoch);
        // A notice that waited may be older than a state that was asked for.
        if known > Some(pair.epoch) {
            return;
        }
        if known.is_some_and(|known| known < pair.epoch) {
            report.rekeys = report.rekeys.saturating_add(1);
        }
        report.state = TunnelState::Protected;
        report.alarm = None;
        report.current = Some(pair);
        self.look_for_protection(node, entry.clone());
    }

    /// Notes an event of a gateway.
    pub(crate) fn tell(&mut self, node: &NodeId, words: &str) {
        if let Some(gateway) = self.nodes.get_mut(node) {
            gateway.tell(words);
        }
    }

    /// Counts what was refused or went wrong.
    pub(crate) fn count(&mut self, name: &'static str) {
        let counter = self.counters.entry(name).or_default();
        *counter = counter.saturating_add(1);
    }

    /// What one end reports on a tunnel, if it runs the present plan.
    pub(crate) fn report(&self, (node, entry): &(NodeId, EntryName)) -> Option<&TunnelReport> {
        let gateway = self.nodes.get(node)?;
        if gateway.configuration == Configuration::Same(self.version) {
            gateway.tunnels.get(entry)
        } else {
            None
        }
    }

    /// Notes when a tunnel is first seen protected at both ends.
    fn look_for_protection(&mut self, node: &NodeId, entry: EntryName) {
        let Some(key) = self.reported.get(&(node.clone(), entry)) else {
            return;
        };
        let Some(tunnel) = self.tunnels.get(key) else {
            return;
        };
        let protects = |end| {
            let report = self.report(end);
            report.is_some_and(|report| report.current.is_some())
        };
        if tunnel.protected.is_none() && tunnel.ends.iter().all(protects) {
            let after = self.applied.elapsed();
            if let Some(tunnel) = self.tunnels.get_mut(key) {
                tunnel.protected = Some(after);
            }
        }
    }
}
