//! A box that runs what it should not: how long until nobody has a key with it, and what brings it back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_model::{lifecycle::Lifecycle, report::QuarantineReason};
use bartizan_tests::{
    in_guest,
    pki::Kind,
    testbed::{
        appliance::SERVICES,
        boot::Boot,
        capture::{Capture, assert_nothing_clear},
        dialled::Dialled,
        fleet::{ControllerProcess, Fleet, PATIENCE, uml},
        flow::{Flow, Pace, let_pass},
        kernel::{Sa, sas},
        measured::{Image, tamper},
        plan::{Covers, Tunnel, plan},
        site::{Choices, PEER_PORT, REGISTRAR},
        topology::{Family, Side, controller},
    },
    units::event::What,
};

const PACE: Pace = Pace {
    per_second: 50,
    size: 200,
};

/// What a box may still do after its verdict is due.
const REACTION: Duration = Duration::from_secs(2);

/// Between two looks at what has no event to wait for.
const LOOK: Duration = Duration::from_millis(100);

const COVERS: Covers = Covers::Lans(Family::V4);

/// A fifth of the lease, as shipped; short, for time is the real one: it is what is measured.
const CADENCE: Duration = Duration::from_secs(6);
const LEASE: Duration = Duration::from_secs(30);

fn guest() -> Boot {
    let limit = Duration::from_mins(4);
    Boot::uml().memory_mib(512).limit(limit)
}

/// Two boxes of both kinds that protect.
fn protected(choices: &Choices) -> Fleet {
    let fleet = Fleet::from_factory(choices, [Kind::Idevid, Kind::Ek]);
    fleet
        .controller
        .apply(&plan(&[Tunnel::new(1, COVERS)]), true);
    fleet
}

fn flow(fleet: &Fleet, port: u16) -> Flow {
    Flow::start(COVERS.hosts(&fleet.topology), port, PACE)
}

fn held(fleet: &Fleet) -> [Vec<Sa>; 2] {
    Side::BOTH.map(|side| sas(&fleet.topology.side(side).gateway))
}

/// Waits until no SA is left at either end, and says how long that took.
fn gone_within(fleet: &Fleet, limit: Duration, begun: Instant) -> Duration {
    while held(fleet).iter().any(|sas| !sas.is_empty()) {
        let so_far = begun.elapsed();
        assert!(so_far < limit, "after {so_far:?}: {:?}", held(fleet));
        let_pass(LOOK);
    }
    begun.elapsed()
}

/// Waits until every service has ended and runs again.
fn restarted(fleet: &mut Fleet, side: Side) {
    let mut waiting: Vec<&str> = SERVICES.to_vec();
    let mut ended: Vec<&str> = Vec::new();
    fleet.gateway(side).wait_for(PATIENCE, |event| {
        let unit = SERVICES.into_iter().find(|unit| *unit == event.unit);
        match (unit, &event.what) {
            (Some(unit), What::Ended { .. }) => ended.push(unit),
            (Some(unit), What::Started { .. }) if ended.contains(&unit) => {
                waiting.retain(|other| *other != unit);
            }
            _ => {}
        }
        waiting.is_empty()
    });
}

/// Waits until the box says that this boot may not use its owner's key.
fn in_quarantine(fleet: &mut Fleet, side: Side) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let snapshot = fleet.gateway(side).snapshot();
        if let Some(snapshot) = &snapshot
            && snapshot.quarantine == Some(QuarantineReason::Unapproved)
        {
            assert_eq!(snapshot.lifecycle, Lifecycle::Quarantined);
            return;
        }
        assert!(Instant::now() < deadline, "{snapshot:#?}");
        let_pass(LOOK);
    }
}

/// The owner's books say that it failed by what it runs.
fn assert_failed(fleet: &Fleet, side: Side) {
    let device = fleet.device(side);
    assert_eq!(device.state, "quarantined", "{device:#?}");
    let quarantine = device.quarantine.as_ref().expect("a quarantine");
    assert_eq!(quarantine.class.to_string(), "state", "{device:#?}");
}

/// Waits until the owner has heard it once more.
fn wait_for_another_failure(fleet: &Fleet, side: Side) {
    let last = || {
        let history = fleet.device(side).history.expect("a history");
        history.verdicts.first().cloned().expect("a verdict")
    };
    let (before, deadline) = (last(), Instant::now() + PATIENCE);
    while last() == before {
        assert!(Instant::now() < deadline, "{:#?}", fleet.device(side));
        let_pass(LOOK);
    }
}

/// Waits until the tunnel protects again, and sends a flow through.
fn assert_back(fleet: &Fleet, port: u16) {
    fleet
        .controller
        .wait_for(PATIENCE * 3, "protection again", |status| {
            let mut lives = status.nodes.iter().map(|node| node.lifecycle.as_deref());
            lives.all(|life| life == Some("operational"))
                && status.tunnels.iter().all(|tunnel| tunnel.protected)
        });
    let flow = flow(fleet, port);
    let_pass(Duration::from_secs(2));
    for arrivals in flow.stop() {
        assert!(arrivals.is_whole(), "{arrivals:?}");
    }
}

#[test]
fn a_tampered_box_is_cut_off_within_an_interval_until_a_clean_boot_and_not_sooner() {
    in_guest!(guest(), || {
        let mut fleet = protected(&Choices {
            lease: LEASE,
            cadence: CADENCE,
            ..uml()
        });
        let topology = Arc::clone(&fleet.topology);
        let capture = Capture::start(&topology, PEER_PORT);
        let unheard = flow(&fleet, 5000);
        let dialled = Dialled::watch(&topology.b.gateway);

        tamper(&fleet.tpm(Side::B).resource_manager(), 11);
        let limit = CADENCE * 6 / 5 + REACTION;
        let took = gone_within(&fleet, limit, Instant::now());
        println!("tampered to gone at both ends: {took:?} of {limit:?}");
        restarted(&mut fleet, Side::B);
        assert_failed(&fleet, Side::B);
        in_quarantine(&mut fleet, Side::B);
        let dialled_before = dialled.so_far();
        assert!(dialled_before.len() > 1, "{dialled_before:?}");

        let broken = |fleet: &Fleet| fleet.device(Side::B).quarantine.map(|why| why.rule);
        let failed = broken(&fleet);
        fleet.controller.kill();
        fleet.controller = ControllerProcess::start(&topology.controller, &fleet.site);
        assert_eq!(broken(&fleet), failed);
        assert_eq!(fleet.device(Side::A).state, "enrolled");

        let_pass(LEASE);
        assert_failed(&fleet, Side::B);
        in_quarantine(&mut fleet, Side::B);
        let registrar = format!("{}.{REGISTRAR}", controller(Family::V4));
        assert_eq!(
            dialled.so_far().into_iter().collect::<Vec<_>>(),
            std::slice::from_ref(&registrar)
        );
        assert_eq!(fleet.device(Side::A).state, "enrolled");
        drop(dialled);

        fleet.switch_off(Side::B);
        let dialled = Dialled::watch(&topology.b.gateway);
        fleet.switch_on(Side::B, &Image::changed());
        in_quarantine(&mut fleet, Side::B);
        wait_for_another_failure(&fleet, Side::B);
        assert_failed(&fleet, Side::B);
        assert_eq!(
            dialled.so_far().into_iter().collect::<Vec<_>>(),
            [registrar]
        );
        drop(dialled);
        drop(unheard);
        assert_eq!(held(&fleet), [Vec::new(), Vec::new()]);

        fleet.reboot(Side::B, &Image::approved());
        assert_back(&fleet, 5001);
        assert_eq!(fleet.device(Side::B).state, "enrolled");
        println!("{:?}", assert_nothing_clear(&capture.stop()));
    });
}

#[test]
fn a_box_that_is_told_to_attest_is_cut_off_within_two_seconds() {
    in_guest!(guest(), || {
        let mut fleet = protected(&uml());
        let topology = Arc::clone(&fleet.topology);
        let capture = Capture::start(&topology, PEER_PORT);
        let unheard = flow(&fleet, 5000);
        tamper(&fleet.tpm(Side::A).resource_manager(), 11);
        let begun = Instant::now();
        fleet.controller.device("attest", &[fleet.serial(Side::A)]);
        let took = gone_within(&fleet, REACTION, begun);
        println!("told to gone at both ends: {took:?}");
        restarted(&mut fleet, Side::A);
        assert_failed(&fleet, Side::A);
        in_quarantine(&mut fleet, Side::A);
        drop(unheard);
        println!("{:?}", assert_nothing_clear(&capture.stop()));
    });
}
