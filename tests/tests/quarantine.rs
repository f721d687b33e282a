//! What a box comes back from by itself, and what it does not.

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_controller::status::DeviceStatus;
use bartizan_model::report::QuarantineReason;
use bartizan_tests::{
    in_guest,
    pki::Kind,
    testbed::{
        appliance::SERVICES,
        boot::Boot,
        capture::{Capture, assert_nothing_clear},
        dialled::Dialled,
        fleet::{Fleet, PATIENCE, uml},
        flow::let_pass,
        kernel::sas,
        measured::Image,
        plan::{Covers, Tunnel, plan},
        process::run,
        site::{Choices, PEER_PORT},
        swtpm::Swtpm,
        topology::{Family, Side},
    },
};
use rustix::process::Signal;

/// A fifth of the lease, as shipped.
const CADENCE: Duration = Duration::from_secs(6);
const LEASE: Duration = Duration::from_secs(30);

/// Between two looks at what has no event to wait for.
const LOOK: Duration = Duration::from_millis(100);

/// Two boxes that protect.
fn protected() -> Fleet {
    let choices = Choices {
        lease: LEASE,
        cadence: CADENCE,
        ..uml()
    };
    let fleet = Fleet::from_factory(&choices, [Kind::Idevid; 2]);
    let tunnel = Tunnel::new(1, Covers::Lans(Family::V4));
    fleet.controller.apply(&plan(&[tunnel]), true);
    fleet
}

fn guest() -> Boot {
    let limit = Duration::from_mins(3);
    Boot::uml().memory_mib(512).limit(limit)
}

/// How many proofs of a box the controller has kept, and how many failures.
fn verdicts(device: &DeviceStatus) -> (usize, usize) {
    let history = device.history.as_ref().expect("a history");
    let passed = history.verdicts.iter().filter(|verdict| {
        let outcome = serde_json::to_value(&verdict.outcome).expect("an outcome");
        outcome == "passed"
    });
    let passed = passed.count();
    (passed, history.verdicts.len() - passed)
}

#[test]
fn every_role_may_be_killed_and_the_next_attestation_passes() {
    in_guest!(guest(), || {
        let mut fleet = protected();
        let topology = Arc::clone(&fleet.topology);
        let capture = Capture::start(&topology, PEER_PORT);
        for (at, service) in SERVICES.into_iter().enumerate() {
            // Each box has its half of the deaths, so that neither waits for the other's.
            let side = Side::BOTH[at % 2];
            let leases = |fleet: &Fleet| {
                let nodes = fleet.controller.status().nodes;
                let node = nodes.into_iter().find(|node| node.node == side.node());
                let node = node.expect("a node of the plan");
                (node.sessions, node.leases)
            };
            let (sessions, granted) = leases(&fleet);
            fleet.gateway(side).signal(service, Signal::KILL);
            fleet.gateway(side).wait_restart(PATIENCE);
            fleet.controller.wait_for(PATIENCE, service, |status| {
                let node = status.nodes.iter().find(|node| node.node == side.node());
                node.is_some_and(|node| node.sessions > sessions && node.leases > granted)
            });
        }
        fleet.controller.wait_for(PATIENCE, "protection", |status| {
            status.tunnels.iter().all(|tunnel| tunnel.protected)
        });
        for side in Side::BOTH {
            let device = fleet.device(side);
            assert_eq!(device.state, "enrolled", "{device:#?}");
            let (passed, failed) = verdicts(&device);
            assert!(passed > SERVICES.len() / 2 && failed == 0, "{device:#?}");
        }
        println!("{:?}", assert_nothing_clear(&capture.stop()));
    });
}

#[test]
fn a_tpm_that_is_cleared_between_boots_ends_in_quarantine_and_its_owner_forgets_nothing() {
    in_guest!(guest(), || {
        let mut fleet = protected();
        let topology = Arc::clone(&fleet.topology);
        let capture = Capture::start(&topology, PEER_PORT);
        let known = |fleet: &Fleet| {
            let device = fleet.device(Side::B);
            let floors = (device.ownership_floor, device.rollback_floor);
            (device.state, device.epoch, floors, device.endorsement)
        };
        let before = known(&fleet);
        assert_eq!(before.1, Some(1));

        fleet.switch_off(Side::B);
        let end = Instant::now() + LEASE;
        {
            let tpm = Swtpm::start(&fleet.site.tpm(Side::B));
            run(Command::new("tpm2_clear").args(["-T", &tpm.tcti(), "-c", "p"]));
        }
        let dialled = Dialled::watch(&topology.b.gateway);
        fleet.switch_on(Side::B, &Image::approved());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let snapshot = fleet.gateway(Side::B).snapshot();
            let reason = snapshot.as_ref().and_then(|snapshot| snapshot.quarantine);
            if reason == Some(QuarantineReason::ClearedTpm) {
                break;
            }
            assert!(
                reason.is_none() && Instant::now() < deadline,
                "{snapshot:#?}"
            );
            let_pass(LOOK);
        }

        // It cannot say that it is gone, so its peer's lease of it ends.
        while !sas(&topology.a.gateway).is_empty() {
            assert!(Instant::now() < end, "{:?}", sas(&topology.a.gateway));
            let_pass(LOOK);
        }
        assert!(sas(&topology.b.gateway).is_empty());
        assert_eq!(dialled.so_far().into_iter().collect::<Vec<_>>(), [""; 0]);
        assert_eq!(known(&fleet), before);
        println!("{before:?}");
        println!("{:?}", assert_nothing_clear(&capture.stop()));
    });
}
