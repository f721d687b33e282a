//! Whatever dies of a gateway, and whenever: no packet in clear, no key that only one end has, and all of it comes
//! back by itself.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_model::{
    ids::TunnelId,
    lifecycle::Lifecycle,
    report::{PairReport, Snapshot, TunnelState},
};
use bartizan_tests::{
    in_guest,
    testbed::{
        appliance::{Appliance, SERVICES},
        boot::{Boot, Clock},
        capture::{Capture, assert_nothing_clear},
        fleet::{ControllerProcess, Fleet, PATIENCE, uml},
        flow::{Flow, Pace, let_pass},
        kernel::{errors, policies, sas},
        plan::{Covers, Tunnel, plan},
        site::PEER_PORT,
        topology::{Family, Side},
    },
    units::event::What,
};
use rustix::process::Signal;

/// Tunnels, each with its own generations, so that each death meets many moments of a generation's life.
const TUNNELS: u16 = 8;

/// The UDP port of the first tunnel's packets.
const PORT: u16 = 5000;

/// Between two looks at what has no event to wait for.
const LOOK: Duration = Duration::from_millis(50);

/// In seconds: short enough that somebody always rekeys.
const SOFT: u64 = 2;

/// From the death of a process until every tunnel stands at both ends, on a loaded machine.
const RECOVERY: Duration = Duration::from_secs(45);

#[test]
fn a_process_that_is_killed_costs_no_packet_in_clear_and_no_tunnel() {
    in_guest!(
        Boot::uml().memory_mib(512).limit(Duration::from_mins(4)),
        || {
            let mut fleet = start();
            let topology = Arc::clone(&fleet.topology);
            // The peers' words are under way for longer than it takes to make them.
            topology.degrade(Duration::from_millis(20), 0);
            let capture = Capture::start(&topology, PEER_PORT);
            let flows: Vec<Flow> = (0..TUNNELS).map(|number| flow(&fleet, number)).collect();

            let mut dice = Dice(0x5eed_0002);
            let mut under_way = 0;
            for (side, service) in shuffled(&mut dice) {
                let_pass(Duration::from_millis(dice.roll(3000)));
                under_way += coming_up(&fleet);
                let death = Instant::now();
                fleet.gateway(side).signal(service, Signal::KILL);
                fleet.gateway(side).wait_restart(PATIENCE);
                let ready = death.elapsed();
                wait_whole(&fleet, death + RECOVERY);
                let whole = death.elapsed();
                println!("{side:?} {service}: ready after {ready:?}, whole after {whole:?}");
                assert_same_keys(&fleet);
            }
            println!("generations on their way up at the moment of a death: {under_way}");
            assert!(under_way > 0, "no death met a generation on its way up");

            wait_fresh(&fleet, Instant::now() + PATIENCE);
            for flow in flows {
                for arrivals in flow.stop() {
                    assert!(arrivals.is_whole(), "{arrivals:?}");
                }
            }
            assert_nothing_clear(&capture.stop());
            assert_no_wrong_key(&fleet);
        }
    );
}

#[test]
fn a_process_that_hangs_is_ended_with_all_others_and_all_come_back() {
    in_guest!(
        Boot::uml()
            .memory_mib(512)
            .limit(Duration::from_mins(4))
            .clock(Clock::Virtual),
        || {
            let mut fleet = start();
            let topology = Arc::clone(&fleet.topology);
            let capture = Capture::start(&topology, PEER_PORT);
            for (number, service) in SERVICES.into_iter().enumerate() {
                let side = Side::BOTH[number % 2];
                let gateway = fleet.gateway(side);
                let hang = Instant::now();
                gateway.signal(service, Signal::STOP);
                gateway.wait_for(PATIENCE, |event| {
                    event.unit == service && event.what == What::WatchdogExpired
                });
                gateway.wait_restart(PATIENCE);
                wait_whole(&fleet, Instant::now() + RECOVERY);
                let whole = hang.elapsed();
                println!("{side:?} {service}: whole {whole:?} after it hung");
                assert_same_keys(&fleet);
            }
            wait_fresh(&fleet, Instant::now() + PATIENCE);
            assert_nothing_clear(&capture.stop());
            assert_no_wrong_key(&fleet);
        }
    );
}

#[test]
fn policies_outlive_the_processes_without_the_controller_and_it_finds_them_the_same() {
    in_guest!(
        Boot::uml()
            .memory_mib(512)
            .limit(Duration::from_mins(2))
            .clock(Clock::Virtual),
        || {
            let mut fleet = start();
            let gateway = &fleet.topology.clone().a.gateway;
            let before = policies(gateway);
            let flow = flow(&fleet, 0);
            fleet.controller.kill();

            fleet.gateway(Side::A).signal(SERVICES[1], Signal::KILL);
            fleet.gateway(Side::A).wait_restart(PATIENCE);
            let deadline = Instant::now() + PATIENCE;
            let restored = loop {
                let snapshot = fleet.gateway(Side::A).snapshot();
                if let Some(snapshot) =
                    snapshot.filter(|it| it.tunnels.len() == usize::from(TUNNELS))
                {
                    break snapshot;
                }
                assert!(Instant::now() < deadline, "running is not restored");
                let_pass(LOOK);
            };
            assert_eq!(
                restored.lifecycle,
                Lifecycle::Attesting,
                "no controller, no lease"
            );
            assert_eq!(policies(gateway), before);
            // Without a lease nothing is keyed, and what stands protects on.
            let_pass(Duration::from_secs(5));
            for arrivals in flow.stop() {
                assert!(arrivals.is_whole(), "{arrivals:?}");
            }

            fleet.controller = ControllerProcess::start(&fleet.topology.controller, &fleet.site);
            fleet
                .controller
                .wait_for(PATIENCE, "both run the plan", |status| {
                    let mut nodes = status.nodes.iter();
                    nodes.all(|node| {
                        node.configuration == "same"
                            && node.lifecycle.as_deref() == Some("operational")
                    })
                });
            wait_whole(&fleet, Instant::now() + RECOVERY);
            assert_eq!(policies(gateway), before);
        }
    );
}

fn start() -> Fleet {
    let mut fleet = Fleet::start(&uml());
    for gateway in &mut fleet.gateways {
        gateway.wait_ready(&SERVICES, PATIENCE);
    }
    let tunnels: Vec<Tunnel> = (0..TUNNELS)
        .map(|number| Tunnel {
            lifetime: (SOFT, 90),
            ..Tunnel::new(u32::from(number) + 1, Covers::Port(PORT + number))
        })
        .collect();
    fleet.controller.apply(&plan(&tunnels), true);
    fleet
}

fn flow(fleet: &Fleet, number: u16) -> Flow {
    let ends = Side::BOTH.map(|side| {
        let lan = &fleet.topology.side(side).lan;
        (lan, side.lan_host(Family::V4))
    });
    let pace = Pace {
        per_second: 10,
        size: 64,
    };
    Flow::start(ends, PORT + number, pace)
}

/// Every service of both gateways once.
fn shuffled(dice: &mut Dice) -> Vec<(Side, &'static str)> {
    let mut deaths: Vec<(Side, &str)> = Side::BOTH
        .into_iter()
        .flat_map(|side| SERVICES.map(|service| (side, service)))
        .collect();
    for last in (1..deaths.len()).rev() {
        let other = dice.roll(u64::try_from(last + 1).unwrap());
        deaths.swap(last, usize::try_from(other).unwrap());
    }
    deaths
}

/// How many generations are coming up now.
fn coming_up(fleet: &Fleet) -> usize {
    let snapshots = fleet.gateways.iter().filter_map(Appliance::snapshot);
    let tunnels = snapshots.flat_map(|snapshot| snapshot.tunnels);
    tunnels
        .filter(|tunnel| matches!(tunnel.state, TunnelState::Starting | TunnelState::Rekeying))
        .count()
}

/// Waits until every tunnel is protected by a pair of SAs that both present starts of the gateways have made.
fn wait_fresh(fleet: &Fleet, deadline: Instant) {
    loop {
        let fresh = fleet.gateways.iter().all(|gateway| {
            let pairs = gateway.snapshot().map(|snapshot| pairs(&snapshot));
            let pairs = pairs.unwrap_or_default();
            // Of a pair that was only taken over nobody knows what its key was made of.
            let known = pairs.values().filter(|pair| pair.sources.is_some());
            known.count() == usize::from(TUNNELS)
        });
        if fresh {
            return;
        }
        assert!(Instant::now() < deadline, "no fresh generation in time");
        let_pass(LOOK);
    }
}

/// Waits until both gateways say of every tunnel that the same pair of SAs protects it.
fn wait_whole(fleet: &Fleet, deadline: Instant) {
    loop {
        let [a, b] = fleet.gateways.each_ref().map(|gateway| {
            let snapshot = gateway.snapshot();
            snapshot
                .map(|snapshot| pairs(&snapshot))
                .unwrap_or_default()
        });
        let mirrored = a.iter().filter(|(tunnel, pair)| {
            b.get(tunnel).is_some_and(|other| {
                (pair.epoch, pair.inbound, pair.outbound)
                    == (other.epoch, other.outbound, other.inbound)
            })
        });
        if mirrored.count() == usize::from(TUNNELS) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "not whole in time: {a:#?}\n{b:#?}"
        );
        let_pass(LOOK);
    }
}

fn pairs(snapshot: &Snapshot) -> BTreeMap<TunnelId, PairReport> {
    let tunnels = snapshot.tunnels.iter();
    tunnels
        .filter_map(|tunnel| Some((tunnel.tunnel, tunnel.current.clone()?)))
        .collect()
}

/// An SA that stands at both ends has the same key at both.
fn assert_same_keys(fleet: &Fleet) {
    let [a, b] = Side::BOTH.map(|side| sas(&fleet.topology.side(side).gateway));
    for one in &a {
        for other in b
            .iter()
            .filter(|other| other.spi == one.spi && other.destination == one.destination)
        {
            assert!(
                one.key == other.key,
                "{one:?} has another key at the other end"
            );
        }
    }
}

/// No packet came under a key that its receiver has not.
fn assert_no_wrong_key(fleet: &Fleet) {
    for side in Side::BOTH {
        let errors = errors(&fleet.topology.side(side).gateway);
        println!("{side:?}: {errors:?}");
        assert!(!errors.contains_key("XfrmInStateProtoError"), "{errors:?}");
    }
}

/// Numbers without a pattern, the same in every run.
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}
