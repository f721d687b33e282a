use core::time::Duration;
use std::collections::BTreeSet;

use bartizan_model::config::KmeInterface;
use bartizan_model::ids::{EntryName, Epoch, NodeId, Reqid, SaeId, Spi, TunnelId};
use bartizan_model::report::{
    BudgetReport, LinkCounts, LinkReport, PairReport, QkdRefusal, SourceSet,
};
use bartizan_model::time::BootTime;
use bartizan_netconf::client::Data;

use super::*;
use crate::plan::Plan;
use crate::reqids::Reqids;

fn node(name: &str) -> NodeId {
    NodeId::try_from(name).unwrap()
}

fn tunnel(number: u32, protected: bool) -> TunnelReport {
    TunnelReport {
        entry: EntryName::try_from(format!("entry-{number}\"}} 7")).unwrap(),
        tunnel: TunnelId(number),
        peer: node("gw-b.example"),
        reqid: Reqid::try_from(number).unwrap(),
        state: if protected {
            TunnelState::Protected
        } else {
            TunnelState::Blocked
        },
        current: protected.then(|| PairReport {
            epoch: Epoch(1),
            inbound: Spi::try_from(256).unwrap(),
            outbound: Spi::try_from(257).unwrap(),
            sources: Some(SourceSet::NONE),
            since: BootTime(Duration::ZERO),
        }),
        rekeys: 12,
        alarm: (!protected).then_some(Alarm::Qkd(QkdRefusal::Budget)),
    }
}

fn keys(number: u32) -> QkdReport {
    let peer = SaeId::try_from(format!("sae-{number}")).unwrap();
    QkdReport {
        peer: peer.clone(),
        budget: BudgetReport {
            level: BudgetLevel::Low,
            left: Some(40),
            reserve: 50,
            rate: None,
            minimum: 0,
            tunnels: 100,
            waiting: 7,
            taken: 1000,
            refused: 2,
            without: 1,
        },
        links: vec![LinkReport {
            kme: node(&format!("kme-{number}.example")),
            peer,
            interface: KmeInterface::Etsi014,
            state: LinkState::Degraded,
            reason: None,
            said: None,
            stored_keys: Some(40),
            prefetched: 0,
            rate: None,
            latency: None,
            counts: LinkCounts::default(),
        }],
    }
}

fn fleet(tunnels: u32, peers: u32) -> Fleet {
    let nodes = BTreeSet::from([node("gw-a.example"), node("gw-b.example")]);
    let mut fleet = Fleet::new(&nodes, &Plan::default(), &Reqids::default()).unwrap();
    let data = Data {
        tunnels: (1..=tunnels).map(|n| tunnel(n, n % 2 == 1)).collect(),
        qkd: (0..peers).map(keys).collect(),
        ..Data::default()
    };
    fleet.observed(&node("gw-a.example"), data);
    fleet.counters.insert("edit-refused", 3);
    fleet
}

/// What a second implementation reads in `tests/tests/netconf/metrics.rs`.
#[test]
fn the_text_is_the_one_that_prometheus_own_library_reads() {
    let text = text(&fleet(3, 2));
    assert_eq!(text, include_str!("metrics.txt"), "--- now:\n{text}");
}

#[test]
fn what_a_gateway_names_makes_no_series() {
    let (few, many) = (text(&fleet(3, 2)), text(&fleet(900, 900)));
    assert_eq!(few.lines().count(), many.lines().count());
    for foreign in ["sae-", "kme-", "entry-"] {
        assert!(!many.contains(foreign), "{foreign}");
    }
}
