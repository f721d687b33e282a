//! The fleet as `status` shows it: the JSON of `--json`, and the text made of it.

mod device;

use core::fmt;
use std::collections::BTreeMap;

use bartizan_model::report::{Alarm, SourceSet, TunnelReport, TunnelState};
use serde::{Deserialize, Serialize};

use crate::fleet::{Fleet, Planned};
use crate::gateway::{Configuration, Gateway};
use crate::plan::TunnelKey;

pub use device::{DeviceHistory, DeviceStatus, Page, QuarantineStatus};

/// Everything; times are in milliseconds, ages count back from the moment of the question.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// How often a plan was applied since the controller started; the plan that was kept counts.
    pub version: u64,
    /// The gateways by name.
    pub nodes: Vec<NodeStatus>,
    /// The tunnels of the plan.
    pub tunnels: Vec<TunnelStatus>,
    /// What was refused or went wrong, by name.
    pub counters: BTreeMap<String, u64>,
}

/// One gateway.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub node: String,
    /// Where it called from, if a session stands.
    pub address: Option<String>,
    /// The age of that session.
    pub connected_for: Option<u64>,
    /// How many sessions it had.
    pub sessions: u64,
    /// Where it stands, as it last said.
    pub lifecycle: Option<String>,
    /// How the network that its owner wants stands, as it last said.
    pub network: Option<String>,
    /// How long its lease lives yet, at most.
    pub lease_left: Option<u64>,
    /// How many leases it took.
    pub leases: u64,
    /// `unknown`, `same` as the plan, or `refused`.
    pub configuration: String,
    /// Why it refused.
    pub refusal: Option<String>,
    /// How many entries it should run.
    pub entries: usize,
    /// The last events, the newest last.
    pub events: Vec<EventStatus>,
}

/// Something that happened.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct EventStatus {
    /// How long ago.
    pub age: u64,
    /// What.
    pub event: String,
}

/// One tunnel.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct TunnelStatus {
    /// Its number within the pair.
    pub id: u32,
    /// Whether both ends say that it protects, under the present plan.
    pub protected: bool,
    /// How long after the plan was applied that was first seen.
    pub protected_after: Option<u64>,
    /// Its ends, the lower node first.
    pub ends: Vec<EndStatus>,
}

/// One end of a tunnel.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct EndStatus {
    /// The gateway.
    pub node: String,
    /// Its outbound entry.
    pub entry: String,
    /// The reqid of its policies and SAs.
    pub reqid: u32,
    /// What the gateway says of it; nothing before it runs the plan.
    pub report: Option<EndReport>,
}

/// What a gateway says of its end.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct EndReport {
    /// `blocked`, `starting`, `protected` or `rekeying`.
    pub state: String,
    /// The generation that sends.
    pub epoch: Option<u64>,
    /// The SPI of what it receives.
    pub inbound: Option<u32>,
    /// The SPI of what it sends.
    pub outbound: Option<u32>,
    /// What the key was made of: `qkd`, `kem`, `x25519`; nothing for a pair that outlived a restart.
    pub sources: Option<Vec<String>>,
    /// When the pair began to send, as time since the gateway's boot.
    pub since: Option<u64>,
    /// How often a younger generation took over.
    pub rekeys: u64,
    /// Why the last generation that failed did so.
    pub alarm: Option<String>,
}

impl Status {
    pub(crate) fn of(fleet: &Fleet) -> Self {
        let nodes = fleet.nodes.iter();
        let tunnels = fleet.tunnels.iter();
        let counters = fleet.counters.iter();
        Self {
            version: fleet.version,
            nodes: nodes
                .map(|(node, gateway)| NodeStatus::of(node.as_str(), gateway))
                .collect(),
            tunnels: tunnels
                .map(|(key, ends)| TunnelStatus::of(fleet, key, ends))
                .collect(),
            counters: counters
                .map(|(name, total)| ((*name).to_owned(), *total))
                .collect(),
        }
    }
}

impl NodeStatus {
    fn of(node: &str, gateway: &Gateway) -> Self {
        let (configuration, refusal) = match &gateway.configuration {
            Configuration::Unknown => ("unknown", None),
            Configuration::Same(_) => ("same", None),
            Configuration::Refused(why) => ("refused", Some(why.clone())),
        };
        let session = gateway.session.as_ref();
        let lease = gateway.lease.map(|lease| millis(lease.left()));
        Self {
            node: node.to_owned(),
            address: session.map(|session| session.address.to_string()),
            connected_for: session.map(|session| millis(session.since.elapsed())),
            sessions: gateway.sessions,
            lifecycle: gateway.lifecycle.map(|state| lower(&format!("{state:?}"))),
            network: gateway.network.map(|state| lower(&format!("{state:?}"))),
            lease_left: lease.filter(|left| *left > 0),
            leases: gateway.leases,
            configuration: configuration.to_owned(),
            refusal,
            entries: gateway.desired.borrow().policies.len(),
            events: gateway
                .events
                .iter()
                .map(|event| EventStatus {
                    age: millis(event.at.elapsed()),
                    event: event.words.clone(),
                })
                .collect(),
        }
    }
}

impl TunnelStatus {
    fn of(fleet: &Fleet, key: &TunnelKey, tunnel: &Planned) -> Self {
        let mut protected = true;
        let mut ends = Vec::new();
        for end in &tunnel.ends {
            let report = fleet.report(end);
            protected &= report.is_some_and(|report| report.current.is_some());
            let (node, entry) = end;
            ends.push(EndStatus {
                node: node.to_string(),
                entry: entry.to_string(),
                reqid: tunnel.reqid.into(),
                report: report.map(EndReport::of),
            });
        }
        Self {
            id: key.id.0,
            protected,
            protected_after: tunnel.protected.map(millis),
            ends,
        }
    }
}

impl EndReport {
    fn of(report: &TunnelReport) -> Self {
        let state = match report.state {
            TunnelState::Blocked => "blocked",
            TunnelState::Starting => "starting",
            TunnelState::Protected => "protected",
            TunnelState::Rekeying => "rekeying",
        };
        let current = report.current.as_ref();
        Self {
            state: state.to_owned(),
            epoch: current.map(|pair| pair.epoch.0),
            inbound: current.map(|pair| pair.inbound.into()),
            outbound: current.map(|pair| pair.outbound.into()),
            sources: current.and_then(|pair| pair.sources).map(sources),
            since: current.map(|pair| millis(pair.since.0)),
            rekeys: report.rekeys,
            alarm: report.alarm.map(alarm),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan {}", self.version)?;
        for node in &self.nodes {
            node.fmt(f)?;
        }
        for tunnel in &self.tunnels {
            tunnel.fmt(f)?;
        }
        for (name, total) in &self.counters {
            writeln!(f, "{name}: {total}")?;
        }
        Ok(())
    }
}

impl fmt::Display for NodeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.node)?;
        match (&self.address, self.connected_for) {
            (Some(address), Some(age)) => write!(f, "  from {address} for {}", seconds(age))?,
            _ => write!(f, "  not connected")?,
        }
        if let Some(lifecycle) = &self.lifecycle {
            write!(f, "  {lifecycle}")?;
        }
        if let Some("written" | "on-trial" | "rolled-back") = self.network.as_deref() {
            write!(
                f,
                "  network {}",
                self.network.as_deref().unwrap_or_default()
            )?;
        }
        match self.lease_left {
            Some(left) => write!(f, "  lease {}", seconds(left))?,
            None => write!(f, "  no lease")?,
        }
        write!(f, "  {} entries: {}", self.entries, self.configuration)?;
        if let Some(why) = &self.refusal {
            write!(f, ": {why}")?;
        }
        writeln!(f)
    }
}

impl fmt::Display for TunnelStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.ends.iter().map(|end| end.node.as_str()).collect();
        let word = if self.protected {
            "protected"
        } else {
            "not protected"
        };
        write!(f, "tunnel {} #{}  {word}", names.join(" - "), self.id)?;
        if let Some(after) = self.protected_after {
            write!(f, "  after {after} ms")?;
        }
        writeln!(f)?;
        for end in &self.ends {
            end.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for EndStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}", self.node)?;
        let Some(report) = &self.report else {
            return writeln!(f, "  unknown");
        };
        write!(f, "  {}", report.state)?;
        if let (Some(epoch), Some(inbound), Some(outbound)) =
            (report.epoch, report.inbound, report.outbound)
        {
            write!(
                f,
                "  epoch {epoch}  in {inbound:#010x}  out {outbound:#010x}"
            )?;
        }
        if let Some(sources) = &report.sources {
            write!(f, "  {}", sources.join("+"))?;
        }
        write!(f, "  {} rekeys", report.rekeys)?;
        if let Some(alarm) = &report.alarm {
            write!(f, "  alarm {alarm}")?;
        }
        writeln!(f)
    }
}

fn sources(set: SourceSet) -> Vec<String> {
    let names = [
        ("qkd", set.qkd),
        ("kem", set.kem),
        ("x25519", set.classical),
    ];
    let present = names.into_iter().filter(|(_, present)| *present);
    present.map(|(name, _)| name.to_owned()).collect()
}

/// The word that the YANG module has for it.
fn alarm(alarm: Alarm) -> String {
    match alarm {
        Alarm::Qkd(refusal) => format!("qkd-{}", lower(&format!("{refusal:?}"))),
        Alarm::NoLease
        | Alarm::PeerNoLease
        | Alarm::PeerUnreachable
        | Alarm::PeerAbandoned
        | Alarm::PeerMismatch
        | Alarm::TagMismatch
        | Alarm::TimedOut
        | Alarm::Kernel
        | Alarm::LockedMemory => lower(&format!("{alarm:?}")),
    }
}

/// `PeerNoLease` as `peer-no-lease`.
pub(crate) fn lower(name: &str) -> String {
    let mut text = String::new();
    for (index, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            text.push('-');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

fn millis(time: core::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn seconds(millis: u64) -> String {
    format!("{} s", millis / 1000)
}
