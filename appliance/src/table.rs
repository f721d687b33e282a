//! The status as a person reads it.

use core::fmt::{self, Write};
use core::time::Duration;

use bartizan_model::message::{Achieved, Memory, Role};
use bartizan_model::report::{
    Alarm, LinkReport, NetworkState, QkdReport, QuarantineReason, Snapshot, SourceSet,
    TunnelReport, VersionReport, VersionStanding,
};
use bartizan_model::time::BootTime;

/// Writes a snapshot as tables.
///
/// # Errors
///
/// Those of `out`.
pub fn write(out: &mut impl Write, snapshot: &Snapshot) -> fmt::Result {
    let lease = snapshot
        .lease
        .map_or("none".to_owned(), |rest| format!("live for {}", span(rest)));
    match &snapshot.owner {
        None => writeln!(out, "owner  none")?,
        Some(owner) => {
            let home = if snapshot.home { "" } else { "no " };
            writeln!(out, "node   {}", owner.node)?;
            writeln!(
                out,
                "owner  {}, epoch {}; {home}session",
                owner.controller, owner.epoch
            )?;
        }
    }
    match snapshot.quarantine {
        None => writeln!(out, "state  {:?}", snapshot.lifecycle)?,
        Some(reason) => writeln!(out, "state  {:?}: {}", snapshot.lifecycle, words(reason))?,
    }
    if let Some(network) = network(snapshot.network) {
        writeln!(out, "net    {network}")?;
    }
    writeln!(out, "lease  {lease}")?;
    if let Some(versions) = &snapshot.versions {
        writeln!(out, "image  {}", version(&versions.running))?;
        for other in &versions.others {
            writeln!(out, "beside {}", version(other))?;
        }
    }

    let tunnels = snapshot
        .tunnels
        .iter()
        .map(|tunnel| tunnel_row(tunnel, snapshot.at))
        .collect();
    columns(
        out,
        &[
            "TUNNEL", "PEER", "STATE", "EPOCH", "SOURCES", "SINCE", "REKEYS", "ALARM", "ENTRY",
        ],
        tunnels,
    )?;
    let keys = snapshot.qkd.iter().map(keys_row).collect();
    columns(
        out,
        &[
            "QKD PEER", "KEYS", "LEFT", "RESERVE", "PER HOUR", "PROMISED", "TUNNELS", "WAITING",
            "TAKEN", "REFUSED", "WITHOUT",
        ],
        keys,
    )?;
    let links = snapshot.qkd.iter().flat_map(|keys| &keys.links);
    columns(
        out,
        &[
            "QKD LINK", "PEER", "STATE", "REASON", "STORED", "HERE", "P50", "P99", "GIVEN",
            "FAILED",
        ],
        links.map(link_row).collect(),
    )?;
    let roles = snapshot
        .achieved
        .iter()
        .map(|(role, achieved)| role_row(*role, *achieved));
    columns(
        out,
        &[
            "ROLE",
            "LANDLOCK",
            "SECCOMP",
            "NO NEW PRIVS",
            "UNDUMPABLE",
            "CAPABILITIES",
            "MEMORY",
        ],
        roles.collect(),
    )?;
    let counters = snapshot.counters.iter();
    columns(
        out,
        &["COUNTER", "TOTAL"],
        counters
            .map(|(name, total)| vec![name.clone(), total.to_string()])
            .collect(),
    )
}

fn network(state: NetworkState) -> Option<&'static str> {
    match state {
        NetworkState::Image => None,
        NetworkState::Written => Some("the owner's, as soon as the interfaces have it"),
        NetworkState::OnTrial => Some("the owner's, on trial"),
        NetworkState::Settled => Some("the owner's"),
        NetworkState::RolledBack => Some("not the owner's: the controller is not reached over it"),
    }
}

fn version(version: &VersionReport) -> String {
    let standing = match version.standing {
        VersionStanding::Blessed => "proven".to_owned(),
        VersionStanding::OnTrial { left: 0 } => "failed".to_owned(),
        VersionStanding::OnTrial { left } => format!("on trial, {left} more boots"),
        VersionStanding::Gone => "without a boot entry".to_owned(),
    };
    format!("{}, {standing}", version.version)
}

fn words(reason: QuarantineReason) -> &'static str {
    match reason {
        QuarantineReason::Unapproved => "this boot may not use the LDevID",
        QuarantineReason::ForeignTpm => "the TPM is not in the owner's order",
        QuarantineReason::ClearedTpm => "the TPM holds no LDevID of the owner",
        QuarantineReason::NoOwnership => "the TPM holds an LDevID of an owner who is not known",
        QuarantineReason::BrokenOwnership => "what is known of the owner cannot be read",
    }
}

fn tunnel_row(tunnel: &TunnelReport, now: BootTime) -> Vec<String> {
    let current = tunnel.current.as_ref();
    vec![
        tunnel.tunnel.to_string(),
        tunnel.peer.to_string(),
        format!("{:?}", tunnel.state),
        current.map_or(none(), |pair| pair.epoch.to_string()),
        current.map_or(none(), |pair| {
            pair.sources.map_or("re-adopted".to_owned(), sources)
        }),
        current.map_or(none(), |pair| span(now.since(pair.since))),
        tunnel.rekeys.to_string(),
        tunnel.alarm.map_or(none(), alarm),
        tunnel.entry.to_string(),
    ]
}

fn keys_row(keys: &QkdReport) -> Vec<String> {
    let budget = &keys.budget;
    vec![
        keys.peer.to_string(),
        format!("{:?}", budget.level),
        known(budget.left),
        budget.reserve.to_string(),
        known(budget.rate),
        budget.minimum.to_string(),
        budget.tunnels.to_string(),
        budget.waiting.to_string(),
        budget.taken.to_string(),
        budget.refused.to_string(),
        budget.without.to_string(),
    ]
}

fn link_row(link: &LinkReport) -> Vec<String> {
    let millis = |time: Option<u32>| time.map_or(none(), |time| format!("{time} ms"));
    vec![
        link.kme.to_string(),
        link.peer.to_string(),
        format!("{:?}", link.state),
        link.reason.map_or(none(), |reason| format!("{reason:?}")),
        known(link.stored_keys),
        link.prefetched.to_string(),
        millis(link.latency.map(|latency| latency.p50)),
        millis(link.latency.map(|latency| latency.p99)),
        link.counts.given.to_string(),
        link.counts.failed.to_string(),
    ]
}

fn known(number: Option<u32>) -> String {
    number.map_or(none(), |number| number.to_string())
}

fn role_row(role: Role, achieved: Achieved) -> Vec<String> {
    let yes = |holds| if holds { "yes" } else { "NO" }.to_owned();
    let memory = match achieved.memory {
        Memory::Secret => "memfd_secret",
        Memory::Locked => "mlock",
        Memory::NoSecrets => "no secrets",
    };
    vec![
        format!("{role:?}").to_lowercase(),
        achieved.landlock.to_string(),
        yes(achieved.seccomp),
        yes(achieved.no_new_privs),
        yes(achieved.undumpable),
        yes(achieved.capabilities),
        memory.to_owned(),
    ]
}

fn sources(set: SourceSet) -> String {
    let all = [
        ("QKD", set.qkd),
        ("KEM", set.kem),
        ("X25519", set.classical),
    ];
    let used: Vec<_> = all
        .into_iter()
        .filter_map(|(name, used)| used.then_some(name))
        .collect();
    if used.is_empty() {
        return "none".to_owned();
    }
    used.join("+")
}

fn alarm(alarm: Alarm) -> String {
    if let Alarm::Qkd(refusal) = alarm {
        format!("QKD: {refusal:?}")
    } else {
        format!("{alarm:?}")
    }
}

fn none() -> String {
    "-".to_owned()
}

/// A duration in its two largest units.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// Writes rows under a head, each column as wide as its widest cell; nothing where there is no row.
fn columns(out: &mut impl Write, head: &[&str], rows: Vec<Vec<String>>) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    let mut lines = vec![head.iter().map(|cell| (*cell).to_owned()).collect()];
    lines.extend(rows);
    let width = |column| {
        lines
            .iter()
            .filter_map(|line: &Vec<String>| line.get(column))
            .map(String::len)
            .max()
    };
    let widths: Vec<_> = (0..head.len())
        .map(|column| width(column).unwrap_or_default())
        .collect();
    writeln!(out)?;
    for line in &lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            write!(text, "{cell:width$}  ")?;
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bartizan_model::config::KmeInterface;
    use bartizan_model::ids::{EntryName, Epoch, NodeId, Reqid, SaeId, Spi, TunnelId};
    use bartizan_model::lifecycle::Lifecycle;
    use bartizan_model::report::{
        BudgetLevel, BudgetReport, Latency, LinkCounts, LinkReason, LinkState, OwnerReport,
        PairReport, TunnelState, VersionsReport,
    };

    use super::*;

    fn snapshot() -> Snapshot {
        let seconds = |seconds| BootTime(Duration::from_secs(seconds));
        let tunnel = |number: u32, current, alarm| TunnelReport {
            entry: EntryName::try_from(format!("to-b-{number}")).unwrap(),
            tunnel: TunnelId(number),
            peer: NodeId::try_from("gw-b.example").unwrap(),
            reqid: Reqid::try_from(number).unwrap(),
            state: if alarm {
                TunnelState::Blocked
            } else {
                TunnelState::Protected
            },
            current,
            rekeys: 12,
            alarm: alarm.then_some(Alarm::NoLease),
        };
        let pair = PairReport {
            epoch: Epoch(13),
            inbound: Spi::try_from(256).unwrap(),
            outbound: Spi::try_from(257).unwrap(),
            sources: Some(SourceSet {
                qkd: true,
                kem: true,
                classical: false,
            }),
            since: seconds(1000),
        };
        let achieved = Achieved {
            landlock: 7,
            seccomp: true,
            no_new_privs: true,
            undumpable: true,
            capabilities: true,
            memory: Memory::Secret,
        };
        Snapshot {
            owner: Some(OwnerReport {
                node: NodeId::try_from("gw-a.example").unwrap(),
                epoch: 3,
                controller: NodeId::try_from("controller.example").unwrap(),
            }),
            lifecycle: Lifecycle::Operational,
            quarantine: None,
            home: true,
            network: NetworkState::RolledBack,
            versions: Some(VersionsReport {
                running: VersionReport {
                    version: "1.3".to_owned(),
                    standing: VersionStanding::OnTrial { left: 2 },
                },
                others: vec![VersionReport {
                    version: "1.2".to_owned(),
                    standing: VersionStanding::Blessed,
                }],
            }),
            at: seconds(1190),
            lease: Some(Duration::from_secs(252)),
            tunnels: vec![tunnel(1, Some(pair), false), tunnel(10, None, true)],
            qkd: vec![keys()],
            achieved: vec![(Role::Engine, achieved)],
            counters: vec![("peer.refused".to_owned(), 3)],
        }
    }

    fn keys() -> QkdReport {
        let peer = SaeId::try_from("sae-b").unwrap();
        QkdReport {
            peer: peer.clone(),
            budget: BudgetReport {
                level: BudgetLevel::Low,
                left: Some(41),
                reserve: 50,
                rate: None,
                minimum: 12,
                tunnels: 100,
                waiting: 7,
                taken: 1300,
                refused: 2,
                without: 0,
            },
            links: vec![LinkReport {
                kme: NodeId::try_from("kme.example").unwrap(),
                peer,
                interface: KmeInterface::Etsi014,
                state: LinkState::Degraded,
                reason: Some(LinkReason::Slow),
                said: None,
                stored_keys: Some(37),
                prefetched: 4,
                rate: None,
                latency: Some(Latency { p50: 3, p99: 410 }),
                counts: LinkCounts {
                    given: 1300,
                    failed: 2,
                    ..LinkCounts::default()
                },
            }],
        }
    }

    #[test]
    fn a_person_can_read_it() {
        let mut text = String::new();
        write(&mut text, &snapshot()).unwrap();
        assert_eq!(text, include_str!("table.txt"), "--- now:\n{text}");
    }

    #[test]
    fn an_empty_table_has_no_head() {
        let empty = Snapshot {
            tunnels: vec![],
            qkd: vec![],
            achieved: vec![],
            counters: vec![],
            versions: None,
            ..snapshot()
        };
        let mut text = String::new();
        write(&mut text, &empty).unwrap();
        assert_eq!(text.lines().count(), 5);
    }

    #[test]
    fn a_box_without_an_owner_and_one_in_quarantine_say_so() {
        let quarantined = Snapshot {
            owner: None,
            network: NetworkState::Image,
            versions: None,
            lifecycle: Lifecycle::Quarantined,
            quarantine: Some(QuarantineReason::NoOwnership),
            lease: None,
            tunnels: vec![],
            qkd: vec![],
            achieved: vec![],
            counters: vec![],
            ..snapshot()
        };
        let mut text = String::new();
        write(&mut text, &quarantined).unwrap();
        assert_eq!(
            text,
            "owner  none\n\
             state  Quarantined: the TPM holds an LDevID of an owner who is not known\n\
             lease  none\n"
        );
    }
}
