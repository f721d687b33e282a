//! The fleet as Prometheus reads it (text format 0.0.4).
//!
//! A label is the name of a gateway of the configuration, or a word of ours: never a text that a gateway
//! sent, so that none of them can make series without end.

use core::fmt::{self, Write};
use std::collections::BTreeMap;

use bartizan_model::report::{Alarm, BudgetLevel, LinkState, QkdReport, TunnelReport, TunnelState};

use crate::fleet::Fleet;
use crate::gateway::Gateway;

/// `Content-Type` of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes every series.
pub(crate) fn text(fleet: &Fleet) -> String {
    let mut text = String::new();
    // Writing into a `String` cannot fail.
    let _written = write(&mut text, fleet);
    text
}

#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

fn write(out: &mut String, fleet: &Fleet) -> fmt::Result {
    let all = fleet.nodes.len();
    head(out, "nodes", Kind::Gauge, "Gateways of the configuration.")?;
    writeln!(out, "bartizan_nodes {}", number(all))?;
    head(out, "tunnels_planned", Kind::Gauge, "Tunnels of the plan.")?;
    let planned = number(fleet.tunnels.len());
    writeln!(out, "bartizan_tunnels_planned {planned}")?;

    let up = "Whether a session with the gateway stands.";
    one(out, fleet, ("node_up", Kind::Gauge, up), |gateway| {
        u64::from(gateway.session.is_some())
    })?;
    let sessions = "Sessions that the gateway had.";
    one(
        out,
        fleet,
        ("sessions_total", Kind::Counter, sessions),
        |gateway| gateway.sessions,
    )?;
    let leases = "Leases that the gateway took: affirming verdicts.";
    one(
        out,
        fleet,
        ("leases_total", Kind::Counter, leases),
        |gateway| gateway.leases,
    )?;
    let left = "How long the gateway's lease lives yet, at most.";
    one(
        out,
        fleet,
        ("lease_left_seconds", Kind::Gauge, left),
        |gateway| gateway.lease.map_or(0, |lease| lease.left().as_secs()),
    )?;
    let sas = "IPsec SAs that send or receive for the gateway's tunnels.";
    one(out, fleet, ("sas", Kind::Gauge, sas), |gateway| {
        let pairs = gateway
            .tunnels
            .values()
            .filter(|tunnel| tunnel.current.is_some());
        number(pairs.count()).saturating_mul(2)
    })?;
    let rekeys = "How often a younger generation took over.";
    one(
        out,
        fleet,
        ("rekeys_total", Kind::Counter, rekeys),
        |gateway| sum(gateway.tunnels.values().map(|tunnel| tunnel.rekeys)),
    )?;

    let states = "Tunnels of the gateway by what they do.";
    many(out, fleet, ("tunnels", states), "state", |gateway| {
        count(gateway.tunnels.values().map(|tunnel| state(tunnel.state)))
    })?;
    let alarms = "Tunnels of the gateway that raise an alarm, by kind.";
    many(out, fleet, ("tunnel_alarms", alarms), "alarm", |gateway| {
        count(gateway.tunnels.values().filter_map(kind_of_alarm))
    })?;
    write_qkd(out, fleet)?;

    let events = "What the controller refused or what went wrong, by name.";
    head(out, "events_total", Kind::Counter, events)?;
    for (name, total) in &fleet.counters {
        writeln!(out, "bartizan_events_total{{event=\"{name}\"}} {total}")?;
    }
    Ok(())
}

fn write_qkd(out: &mut String, fleet: &Fleet) -> fmt::Result {
    let levels = "QKD key shares of the gateway by how scarce they are.";
    many(out, fleet, ("qkd_keys", levels), "level", |gateway| {
        count(gateway.qkd.iter().map(|keys| level(keys.budget.level)))
    })?;
    let links = "QKD links of the gateway by what is thought of them.";
    many(out, fleet, ("qkd_links", links), "state", |gateway| {
        let links = gateway.qkd.iter().flat_map(|keys| &keys.links);
        count(links.map(|link| link_state(link.state)))
    })?;
    let left = "QKD keys that the gateway can take, as far as is known.";
    qkd(out, fleet, ("qkd_keys_left", Kind::Gauge, left), |keys| {
        keys.budget.left.unwrap_or_default().into()
    })?;
    let waiting = "Tunnels of the gateway that wait for a QKD key.";
    qkd(out, fleet, ("qkd_waiting", Kind::Gauge, waiting), |keys| {
        keys.budget.waiting.into()
    })?;
    let taken = "QKD keys that the gateway took.";
    qkd(
        out,
        fleet,
        ("qkd_keys_taken_total", Kind::Counter, taken),
        |keys| keys.budget.taken,
    )?;
    let refused = "Requests of the gateway that brought no QKD key.";
    qkd(
        out,
        fleet,
        ("qkd_refused_total", Kind::Counter, refused),
        |keys| keys.budget.refused,
    )?;
    let without = "Generations that went on without QKD, as their policies allow.";
    qkd(
        out,
        fleet,
        ("qkd_without_total", Kind::Counter, without),
        |keys| keys.budget.without,
    )
}

fn head(out: &mut String, name: &str, kind: Kind, help: &str) -> fmt::Result {
    let kind = match kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
    };
    writeln!(out, "# HELP bartizan_{name} {help}")?;
    writeln!(out, "# TYPE bartizan_{name} {kind}")
}

/// A series of each gateway.
fn one(
    out: &mut String,
    fleet: &Fleet,
    (name, kind, help): (&str, Kind, &str),
    value: impl Fn(&Gateway) -> u64,
) -> fmt::Result {
    head(out, name, kind, help)?;
    for (node, gateway) in &fleet.nodes {
        let value = value(gateway);
        writeln!(out, "bartizan_{name}{{node=\"{node}\"}} {value}")?;
    }
    Ok(())
}

/// The sum over the QKD keys of each gateway.
fn qkd(
    out: &mut String,
    fleet: &Fleet,
    what: (&str, Kind, &str),
    value: impl Fn(&QkdReport) -> u64,
) -> fmt::Result {
    one(out, fleet, what, |gateway| {
        sum(gateway.qkd.iter().map(&value))
    })
}

/// Series of each gateway by a word.
fn many(
    out: &mut String,
    fleet: &Fleet,
    (name, help): (&str, &str),
    label: &str,
    values: impl Fn(&Gateway) -> BTreeMap<&'static str, u64>,
) -> fmt::Result {
    head(out, name, Kind::Gauge, help)?;
    for (node, gateway) in &fleet.nodes {
        for (word, value) in values(gateway) {
            writeln!(
                out,
                "bartizan_{name}{{node=\"{node}\",{label}=\"{word}\"}} {value}"
            )?;
        }
    }
    Ok(())
}

fn count(words: impl Iterator<Item = &'static str>) -> BTreeMap<&'static str, u64> {
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for word in words {
        let count = counts.entry(word).or_default();
        *count = count.saturating_add(1);
    }
    counts
}

fn sum(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, u64::saturating_add)
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn state(state: TunnelState) -> &'static str {
    match state {
        TunnelState::Blocked => "blocked",
        TunnelState::Starting => "starting",
        TunnelState::Protected => "protected",
        TunnelState::Rekeying => "rekeying",
    }
}

fn kind_of_alarm(tunnel: &TunnelReport) -> Option<&'static str> {
    Some(match tunnel.alarm? {
        Alarm::NoLease => "no-lease",
        Alarm::PeerNoLease => "peer-no-lease",
        Alarm::PeerUnreachable => "peer-unreachable",
        Alarm::PeerAbandoned => "peer-abandoned",
        Alarm::PeerMismatch => "peer-mismatch",
        Alarm::TagMismatch => "tag-mismatch",
        Alarm::Qkd(_) => "qkd",
        Alarm::TimedOut => "timed-out",
        Alarm::Kernel => "kernel",
        Alarm::LockedMemory => "locked-memory",
    })
}

fn level(level: BudgetLevel) -> &'static str {
    match level {
        BudgetLevel::Plenty => "plenty",
        BudgetLevel::Oversold => "oversold",
        BudgetLevel::Low => "low",
        BudgetLevel::Dry => "dry",
    }
}

fn link_state(state: LinkState) -> &'static str {
    match state {
        LinkState::Healthy => "healthy",
        LinkState::Degraded => "degraded",
        LinkState::Refused => "refused",
    }
}

#[cfg(test)]
mod tests;
