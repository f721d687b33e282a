//! An SA outlives its first lease, and none outlives the last. Hours pass in virtual time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_tests::{
    in_guest,
    testbed::{
        appliance::SERVICES,
        boot::{Boot, Clock},
        capture::{Capture, assert_nothing_clear},
        fleet::{ControllerProcess, Fleet, KmeProcess, PATIENCE, uml},
        flow::{Flow, Pace, let_pass},
        kernel::{Sa, sas},
        plan::{Covers, Tunnel, plan},
        site::{Choices, PEER_PORT},
        topology::{Family, Side},
    },
};
use rustix::{
    process::Signal,
    time::{ClockId, Timespec, clock_gettime, clock_settime},
};

const PACE: Pace = Pace {
    per_second: 50,
    size: 200,
};

const LEASE: Duration = Duration::from_secs(30);
/// A fifth of the lease, as shipped: the controller draws it a fifth longer or shorter each time.
const CADENCE: Duration = Duration::from_secs(6);

/// Between two looks at the kernel.
const LOOK: Duration = Duration::from_millis(100);

const HOUR: i64 = 3600;

fn guest() -> Boot {
    Boot::uml()
        .memory_mib(512)
        .clock(Clock::Virtual)
        .limit(Duration::from_mins(4))
}

fn choices() -> Choices {
    Choices {
        lease: LEASE,
        cadence: CADENCE,
        ..uml()
    }
}

fn covers() -> Covers {
    Covers::Lans(Family::V4)
}

/// A fleet with one tunnel that lives on one pair of SAs as long as its leases let it: nobody gives it another key.
fn protected() -> Fleet {
    let mut fleet = Fleet::start(&choices());
    fleet
        .controller
        .apply(&plan(&[Tunnel::new(1, covers())]), true);
    for kme in &mut fleet.kmes {
        kme.take().expect("a KME that lives").kill();
    }
    fleet
}

fn flow(fleet: &Fleet, port: u16) -> Flow {
    Flow::start(covers().hosts(&fleet.topology), port, PACE)
}

fn assert_whole(flow: Flow) {
    for arrivals in flow.stop() {
        assert!(
            arrivals.is_whole() && arrivals.duplicated == 0,
            "{arrivals:?}"
        );
    }
}

fn held(fleet: &Fleet) -> [Vec<Sa>; 2] {
    Side::BOTH.map(|side| sas(&fleet.topology.side(side).gateway))
}

fn leases(fleet: &Fleet) -> u64 {
    let status = fleet.controller.status();
    let leases = status.nodes.iter().map(|node| node.leases);
    leases.min().unwrap_or(0)
}

/// Lets both gateways' leases be renewed so often.
fn renew(fleet: &Fleet, times: u64) {
    let wanted = leases(fleet) + times;
    let limit = CADENCE * 3 * u32::try_from(times).unwrap();
    fleet.controller.wait_for(limit, "renewals", |status| {
        status.nodes.iter().all(|node| node.leases >= wanted)
    });
}

/// The same SAs, as if nothing had happened; numbers have gone on.
fn assert_same(before: &[Vec<Sa>; 2], after: &[Vec<Sa>; 2]) {
    for (before, after) in before.iter().zip(after) {
        assert_eq!((before.len(), after.len()), (2, 2), "{before:?} {after:?}");
        for before in before {
            let after = after.iter().find(|after| after.spi == before.spi);
            let after = after.unwrap_or_else(|| panic!("{before:?} is gone"));
            assert!(after.key == before.key);
            assert_eq!(after.added, before.added);
            assert!(after.hard > before.hard, "{before:?} {after:?}");
            let (then, now) = (before.sent + before.received, after.sent + after.received);
            assert!(now > then + 100, "{before:?} {after:?}");
        }
    }
}

/// Kills the controller; until when a lease may live at the longest.
fn kill_controller(fleet: &mut Fleet) -> Instant {
    fleet.controller.kill();
    Instant::now() + LEASE
}

/// Waits until no SA is left anywhere, which may not be later than `end`, nor sooner than a lease lives that was to be
/// renewed at any moment.
fn assert_gone_by(fleet: &Fleet, end: Instant) {
    while held(fleet).iter().any(|sas| !sas.is_empty()) {
        assert!(Instant::now() < end, "{:?}", held(fleet));
        let_pass(LOOK);
    }
    let early = end.saturating_duration_since(Instant::now());
    println!("gone {early:?} before the latest moment");
    // The nonce of a lease is as old as the lease before it.
    assert!(early < CADENCE * 2 + Duration::from_secs(4), "{early:?}");
}

/// Starts the controller again and waits until a flow passes, with nobody's help.
fn recover(fleet: &mut Fleet) {
    fleet.controller = ControllerProcess::start(&fleet.topology.controller, &fleet.site);
    for (side, kme) in Side::BOTH.into_iter().zip(&mut fleet.kmes) {
        let namespace = &fleet.topology.side(side).kme;
        kme.get_or_insert_with(|| KmeProcess::start(namespace, &fleet.site, side, &choices()));
    }
    fleet
        .controller
        .wait_for(PATIENCE * 3, "protection again", |status| {
            status.tunnels.len() == 1 && status.tunnels.iter().all(|tunnel| tunnel.protected)
        });
}

fn step(seconds: i64) {
    let now = clock_gettime(ClockId::Realtime);
    let then = Timespec {
        tv_sec: now.tv_sec + seconds,
        ..now
    };
    clock_settime(ClockId::Realtime, then).unwrap();
}

#[test]
fn sas_outlive_their_first_lease_and_go_with_the_last() {
    in_guest!(guest(), || {
        let mut fleet = protected();
        let topology = Arc::clone(&fleet.topology);
        let capture = Capture::start(&topology, PEER_PORT);
        let steady = flow(&fleet, 5000);
        let before = held(&fleet);
        renew(&fleet, 4);
        assert_same(&before, &held(&fleet));
        assert_whole(steady);

        let unheard = flow(&fleet, 5001);
        let end = kill_controller(&mut fleet);
        assert_gone_by(&fleet, end);
        for side in Side::BOTH {
            fleet.gateway(side).wait_restart(PATIENCE);
            let journal = fleet.gateway(side).journal();
            assert!(journal.contains("quarantined: no live lease"), "{journal}");
        }
        let_pass(LOOK);
        recover(&mut fleet);
        drop(unheard);
        let after = flow(&fleet, 5002);
        let_pass(Duration::from_secs(2));
        assert_whole(after);
        println!("{:?}", assert_nothing_clear(&capture.stop()));
    });
}

#[test]
fn steps_of_the_clock_end_no_sa_early_and_keep_none() {
    in_guest!(guest(), || {
        let mut fleet = protected();
        let topology = Arc::clone(&fleet.topology);
        let capture = Capture::start(&topology, PEER_PORT);
        let steady = flow(&fleet, 5000);
        let numbers =
            |sas: [Vec<Sa>; 2]| sas.map(|sas| sas.iter().map(|sa| sa.spi).collect::<Vec<_>>());
        let before = numbers(held(&fleet));
        for seconds in [HOUR, -HOUR, -HOUR, HOUR] {
            step(seconds);
            renew(&fleet, 2);
            assert_eq!(numbers(held(&fleet)), before);
        }
        assert_whole(steady);
        let end = kill_controller(&mut fleet);
        step(-HOUR);
        assert_gone_by(&fleet, end);
        // It is the owner's clock, too, and by that the certificates are yet to come.
        step(HOUR);
        recover(&mut fleet);
        renew(&fleet, 1);
        let end = kill_controller(&mut fleet);
        step(HOUR);
        assert_gone_by(&fleet, end);
        println!("{:?}", assert_nothing_clear(&capture.stop()));
    });
}

#[test]
fn whatever_is_stopped_or_killed_no_sa_outlives_the_lease() {
    in_guest!(guest(), || {
        let mut fleet = protected();
        let topology = Arc::clone(&fleet.topology);
        let capture = Capture::start(&topology, PEER_PORT);
        let [_, engine, _, control, ..] = SERVICES;
        for (port, deaths) in [
            (5000, [(engine, Signal::STOP), (control, Signal::KILL)]),
            (5001, [(control, Signal::STOP), (engine, Signal::KILL)]),
        ] {
            renew(&fleet, 1);
            let unheard = flow(&fleet, port);
            let end = kill_controller(&mut fleet);
            for (side, (unit, signal)) in Side::BOTH.into_iter().zip(deaths) {
                fleet.gateway(side).signal(unit, signal);
            }
            assert_gone_by(&fleet, end);
            recover(&mut fleet);
            drop(unheard);
        }
        println!("{:?}", assert_nothing_clear(&capture.stop()));
    });
}
