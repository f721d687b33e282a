//! From cold to protected: every kind of tunnel comes up by itself, and nothing is ever seen in clear.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_controller::status::{Status, TunnelStatus};
use bartizan_tests::{
    in_guest,
    testbed::{
        boot::Boot,
        capture::{Capture, assert_nothing_clear},
        fleet::{ControllerProcess, Fleet, PATIENCE, protects, uml},
        flow::{Flow, Pace, let_pass},
        kernel::{Sa, protected, sas},
        measured::Image,
        plan::{Covers, Tunnel, plan},
        site::{Choices, PEER_PORT},
        topology::{Family, Side, Topology},
    },
};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

const PACE: Pace = Pace {
    per_second: 100,
    size: 200,
};

/// How long a flow is looked at.
const LOOK: Duration = Duration::from_millis(500);

fn guest() -> Boot {
    Boot::uml().memory_mib(512).limit(Duration::from_mins(3))
}

/// A fleet whose boxes have an owner and are switched off.
fn switched_off(choices: &Choices) -> Fleet {
    let mut fleet = Fleet::start(choices);
    for side in Side::BOTH {
        fleet.switch_off(side);
    }
    fleet
}

/// Everything from the moment on at which the firmware of both gateways starts: their LANs already send, a capture
/// already runs.
fn from_cold<'topology>(
    fleet: &mut Fleet,
    topology: &'topology Topology,
) -> (Capture<'topology>, Vec<Flow>) {
    let capture = Capture::start(topology, PEER_PORT);
    let mut flows = flows(topology, FAMILIES.map(Covers::Lans), 5000);
    let nodes = fleet.controller.status().nodes;
    let before = [0, 1].map(|node: usize| nodes[node].leases);
    for side in Side::BOTH {
        fleet.switch_on(side, &Image::approved());
    }
    flows.extend(self::flows(topology, FAMILIES.map(Covers::Hosts), 5000));
    fleet.controller.wait_leased_after(before);
    (capture, flows)
}

fn flows(topology: &Topology, covers: [Covers; 2], port: u16) -> Vec<Flow> {
    let flows = covers.iter().zip(port..);
    flows
        .map(|(covers, port)| Flow::start(covers.hosts(topology), port, PACE))
        .collect()
}

/// Applies a plan and waits until all of it protects.
fn apply(fleet: &Fleet, tunnels: &[Tunnel]) -> Status {
    fleet.controller.apply(&plan(tunnels), false);
    fleet
        .controller
        .wait_for(PATIENCE, "all tunnels protect", |status| {
            status.tunnels.len() == tunnels.len()
                && status.tunnels.iter().all(|tunnel| protects(tunnel, 1))
        })
}

/// Lets these packets flow for a moment, of which none may be lost.
fn assert_all_pass(topology: &Topology, covers: [Covers; 2]) {
    let flows = flows(topology, covers, 6000);
    let_pass(LOOK);
    for arrivals in flows.into_iter().flat_map(Flow::stop) {
        assert!(arrivals.is_whole(), "{arrivals:?}");
    }
}

/// Both kernels hold the two SAs of each tunnel as it asks for them, and no other.
fn assert_sas(fleet: &Fleet, status: &Status, tunnels: &[Tunnel]) {
    let [at_a, at_b] = Side::BOTH.map(|side| sas(&fleet.topology.side(side).gateway));
    assert_eq!(at_a.len(), 2 * tunnels.len(), "{at_a:?}");
    assert_eq!(at_b.len(), at_a.len(), "{at_b:?}");
    let mut keys = BTreeSet::new();
    for sa in &at_a {
        let same = at_b.iter().find(|other| other.spi == sa.spi);
        let same = same.unwrap_or_else(|| panic!("{sa:?} is not at both ends"));
        assert_eq!((same.source, same.destination), (sa.source, sa.destination));
        assert!(same.key == sa.key, "{sa:?} has two keys");
        assert_eq!(sa.key.len(), 32 + 4);
        assert!(keys.insert(&sa.key[..32]), "{sa:?} has the key of another");
    }
    for (side, sas) in [(Side::A, &at_a), (Side::B, &at_b)] {
        for tunnel in tunnels {
            let status = status.tunnels.iter().find(|one| one.id == tunnel.id);
            let reqid = end(status.unwrap(), side).reqid;
            let of_tunnel = sas.iter().filter(|sa| sa.reqid == reqid);
            let of_tunnel: Vec<&Sa> = of_tunnel.collect();
            assert_eq!(of_tunnel.len(), 2, "{of_tunnel:?}");
            assert_ne!(of_tunnel[0].source, of_tunnel[1].source);
            for sa in of_tunnel {
                assert_as_asked(sa, tunnel, side);
            }
        }
    }
}

fn assert_as_asked(sa: &Sa, tunnel: &Tunnel, at: Side) {
    let (mode, family) = match tunnel.covers {
        Covers::Lans(family) | Covers::Any(family) => ("tunnel", family),
        Covers::Hosts(family) => ("transport", family),
        Covers::Port(_) => ("tunnel", Family::V4),
    };
    let [a, b] = Side::BOTH.map(|side| side.wan(family));
    assert!([(a, b), (b, a)].contains(&(sa.source, sa.destination)));
    assert_eq!(sa.mode, mode);
    assert_eq!(sa.algorithm, "rfc4106(gcm(aes))");
    assert_eq!(sa.icv_bits, 128);
    assert!(sa.esn);
    if sa.destination == at.wan(family) {
        assert_eq!(sa.window, tunnel.replay_window);
    }
    // Never longer than the lease, never without an end.
    assert!((1..=300).contains(&sa.hard), "{sa:?}");
}

fn end(tunnel: &TunnelStatus, side: Side) -> &bartizan_controller::status::EndStatus {
    let mut ends = tunnel.ends.iter();
    ends.find(|end| end.node == side.node()).unwrap()
}

/// Waits until no gateway has an SA or a policy that protects.
fn wait_for_nothing(fleet: &Fleet) {
    let deadline = Instant::now() + PATIENCE;
    for side in Side::BOTH {
        let gateway = &fleet.topology.side(side).gateway;
        loop {
            let (sas, policies) = (sas(gateway), protected(gateway));
            if sas.is_empty() && policies.is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "{sas:?} {policies:?}");
            let_pass(Duration::from_millis(20));
        }
    }
}

#[test]
fn all_that_two_gateways_say_comes_up_from_cold_and_goes_with_its_policy() {
    in_guest!(guest(), || {
        let mut fleet = switched_off(&uml());
        let topology = Arc::clone(&fleet.topology);
        let (capture, early) = from_cold(&mut fleet, &topology);
        let tunnels = FAMILIES.map(|family| {
            let id = if family == Family::V4 { 1 } else { 2 };
            Tunnel::new(id, Covers::Any(family))
        });
        let status = apply(&fleet, &tunnels);
        assert_sas(&fleet, &status, &tunnels);
        assert_all_pass(&topology, FAMILIES.map(Covers::Any));

        fleet.controller.apply(&plan(&[]), false);
        wait_for_nothing(&fleet);
        let_pass(LOOK);
        drop(early);
        let counts = assert_nothing_clear(&capture.stop());
        println!("{counts:?}");
        assert!(counts.esp > 200, "{counts:?}");
    });
}

#[test]
fn lans_and_gateways_come_up_from_cold_with_whatever_sources_and_outlive_the_controller() {
    in_guest!(guest(), || {
        let choices = Choices {
            family: Family::V6,
            ..uml()
        };
        let mut fleet = switched_off(&choices);
        let topology = Arc::clone(&fleet.topology);
        let (capture, early) = from_cold(&mut fleet, &topology);
        let tunnels = [
            Tunnel::new(1, Covers::Lans(Family::V4)),
            Tunnel {
                kem: None,
                replay_window: 32,
                ..Tunnel::new(2, Covers::Lans(Family::V6))
            },
            Tunnel {
                qkd: None,
                replay_window: 1024,
                ..Tunnel::new(3, Covers::Hosts(Family::V4))
            },
            Tunnel {
                x25519: Some("required"),
                combiner: "xorhmac",
                ..Tunnel::new(4, Covers::Hosts(Family::V6))
            },
        ];
        let status = apply(&fleet, &tunnels);
        assert_sas(&fleet, &status, &tunnels);
        let sources: BTreeMap<u32, [Vec<String>; 2]> = status
            .tunnels
            .iter()
            .map(|tunnel| {
                let of = |side| end(tunnel, side).report.clone().unwrap().sources.unwrap();
                (tunnel.id, Side::BOTH.map(of))
            })
            .collect();
        for (id, expected) in [
            (1, &["qkd", "kem"][..]),
            (2, &["qkd"]),
            (3, &["kem"]),
            (4, &["qkd", "kem", "x25519"]),
        ] {
            assert!(
                sources[&id].iter().all(|end| end == expected),
                "{sources:?}"
            );
        }
        assert_all_pass(&topology, FAMILIES.map(Covers::Lans));
        assert_all_pass(&topology, FAMILIES.map(Covers::Hosts));

        // The controller knows everything again without a packet lost or an SA replaced.
        let lasting = flows(&topology, FAMILIES.map(Covers::Lans), 7000);
        let numbers = |fleet: &Fleet| {
            let sas = sas(&fleet.topology.a.gateway);
            sas.iter().map(|sa| sa.spi).collect::<BTreeSet<_>>()
        };
        let before = numbers(&fleet);
        fleet.controller.kill();
        fleet.controller = ControllerProcess::start(&topology.controller, &fleet.site);
        fleet
            .controller
            .wait_for(PATIENCE, "the fleet as it was", |status| {
                let nodes = status.nodes.iter();
                nodes
                    .filter(|node| node.leases > 0 && node.configuration == "same")
                    .count()
                    == 2
                    && status.tunnels.len() == tunnels.len()
                    && status.tunnels.iter().all(|tunnel| protects(tunnel, 1))
            });
        assert_eq!(numbers(&fleet), before);
        for arrivals in lasting.into_iter().flat_map(Flow::stop) {
            assert!(arrivals.is_whole(), "{arrivals:?}");
        }
        drop(early);
        let counts = assert_nothing_clear(&capture.stop());
        println!("{counts:?}");
        assert!(counts.esp > 400, "{counts:?}");
    });
}
