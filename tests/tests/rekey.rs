//! Keys change under a steady flow and no packet is lost, repeated or seen in clear. Minutes pass in virtual time.

use std::time::{Duration, Instant};

use bartizan_controller::status::{Status, TunnelStatus};
use bartizan_tests::{
    in_guest,
    testbed::{
        boot::{Boot, Clock},
        capture::{Capture, assert_nothing_clear},
        fleet::{Fleet, KmeProcess, PATIENCE, uml},
        flow::{Flow, Pace, let_pass},
        kernel::sas,
        plan::{Covers, Tunnel, plan},
        site::PEER_PORT,
        topology::{Family, Side},
    },
};

const PACE: Pace = Pace {
    per_second: 200,
    size: 200,
};

/// The line's delay: packets are on their way whenever something changes.
const DELAY: Duration = Duration::from_millis(7);

/// How many rekeys are enough.
const ENOUGH: u64 = 100;

/// How long a hundred rekeys may take: the old pair drains for some seconds each time.
const LONG: Duration = Duration::from_mins(20);

fn guest() -> Boot {
    Boot::uml()
        .memory_mib(768)
        .clock(Clock::Virtual)
        .limit(Duration::from_mins(7))
}

/// A tunnel that rekeys as often as it may.
fn tunnel() -> Tunnel {
    Tunnel {
        lifetime: (2, 120),
        ..Tunnel::new(1, Covers::Lans(Family::V4))
    }
}

/// How often both ends have rekeyed.
fn rekeys(status: &Status) -> u64 {
    let ends = status.tunnels.iter().flat_map(|tunnel| &tunnel.ends);
    let reports = ends.map(|end| end.report.as_ref().map_or(0, |report| report.rekeys));
    reports.min().unwrap_or(0)
}

fn alarm(tunnel: &TunnelStatus) -> bool {
    let mut ends = tunnel.ends.iter();
    ends.any(|end| {
        let report = end.report.as_ref();
        report.is_some_and(|report| report.alarm.is_some())
    })
}

fn rekey_until(fleet: &Fleet, number: u64) -> u64 {
    let deadline = Instant::now() + LONG;
    loop {
        let done = rekeys(&fleet.controller.status());
        if done >= number {
            return done;
        }
        assert!(Instant::now() < deadline, "{done} of {number} rekeys");
        let_pass(Duration::from_secs(10));
    }
}

/// Runs `body` under a flow of which nothing may be lost, repeated or seen in clear.
fn under_a_flow(body: impl FnOnce(&mut Fleet)) {
    let choices = uml();
    let mut fleet = Fleet::start(&choices);
    let topology = std::sync::Arc::clone(&fleet.topology);
    topology.degrade(DELAY, 0);
    fleet.controller.apply(&plan(&[tunnel()]), true);
    let capture = Capture::start(&topology, PEER_PORT);
    let flow = Flow::start(tunnel().covers.hosts(&topology), 5000, PACE);
    body(&mut fleet);
    for arrivals in flow.stop() {
        println!("{arrivals:?}");
        assert!(arrivals.is_whole(), "{arrivals:?}");
        assert_eq!(arrivals.duplicated, 0);
    }
    println!("{:?}", assert_nothing_clear(&capture.stop()));
    // Three generations at most, at both ends.
    for side in Side::BOTH {
        let sas = sas(&topology.side(side).gateway);
        assert!(sas.len() <= 6, "{sas:?}");
    }
}

#[test]
fn rekeys_lose_nothing() {
    in_guest!(guest(), || under_a_flow(|fleet| {
        rekey_until(fleet, ENOUGH);
    }));
}

#[test]
fn rekeys_with_a_slow_kme_lose_nothing_nor_does_one_that_dies() {
    in_guest!(guest(), || under_a_flow(|fleet| {
        for side in Side::BOTH {
            fleet.kme(side).order("delay 500");
        }
        let done = rekey_until(fleet, ENOUGH);

        fleet.kmes[0].take().expect("a KME that lives").kill();
        fleet.controller.wait_for(PATIENCE, "an alarm", |status| {
            status.tunnels.iter().any(alarm)
        });
        let namespace = &fleet.topology.side(Side::A).kme;
        let kme = KmeProcess::start(namespace, &fleet.site, Side::A, &uml());
        fleet.kmes[0] = Some(kme);
        rekey_until(fleet, done + 3);
    }));
}
