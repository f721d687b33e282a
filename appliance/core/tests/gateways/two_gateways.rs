//! Two engines over a network that cuts, kernels that refuse, KMEs that lie, restarts and lost leases.

use core::time::Duration;

use bartizan_core::exchange::Input;
use bartizan_model::identity::Farewell;
use bartizan_model::message::{ControlToEngine, LeaseRefusal};
use bartizan_model::policy::{Combiner, Direction, Need};
use bartizan_model::report::{Alarm, Notice, QkdRefusal, SourceSet, TunnelState};

use crate::gateway::Verdict;
use crate::kernel::Sa;
use crate::kme::Mode;
use crate::policies::{WISH, Wish};
use crate::verifier::{LEASE, Verifier};
use crate::world::World;

/// As long as a tunnel may take to come up in fair weather.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_tunnel_comes_up_with_both_sources() {
    let world = up(1, WISH);
    for gateway in &world.gateways {
        let pair = gateway.report(1).current.clone().unwrap();
        let both = SourceSet {
            qkd: true,
            kem: true,
            classical: false,
        };
        assert_eq!(pair.sources, Some(both));
        assert_eq!(gateway.report(1).alarm, None);
        assert!(gateway.in_force);
        assert_eq!(gateway.counters, [].into());
    }
}

#[test]
fn a_hundred_rekeys_lose_no_packet() {
    let wish = Wish {
        soft: 20,
        hard: 200,
        ..WISH
    };
    let mut world = up(2, wish);
    world.flow(1, Duration::from_millis(5));
    let done = world.run_until(Duration::from_secs(3600), |world| {
        world
            .gateways
            .iter()
            .all(|gateway| gateway.report(1).rekeys >= 100)
    });
    world.ebb();
    assert!(done);
    let traffic = &world.traffic;
    assert!(traffic.sent > 500_000, "{traffic:?}");
    assert_eq!((traffic.lost, traffic.unsent, traffic.clear), (0, 0, 0));
}

#[test]
fn a_slow_kme_costs_no_packet() {
    let wish = Wish {
        soft: 20,
        hard: 200,
        ..WISH
    };
    let mut world = up(3, wish);
    world.weather.kme = Duration::from_secs(1);
    world.flow(1, Duration::from_millis(5));
    world.run(Duration::from_secs(300));
    world.ebb();
    assert!(world.gateways[0].report(1).rekeys >= 10);
    assert_eq!((world.traffic.lost, world.traffic.unsent), (0, 0));
}

#[test]
fn an_sa_outlives_its_lease_while_leases_are_renewed() {
    let mut world = up(4, WISH);
    world.kmes.modes = [Mode::Refuses; 2];
    world.flow(1, Duration::from_millis(20));
    let before = world.gateways[0].report(1).current.clone();
    world.run(Duration::from_secs(1500));
    assert_eq!(world.gateways[0].report(1).current, before);
    world.ebb();
    assert_eq!((world.traffic.lost, world.traffic.unsent), (0, 0));
}

/// The controller draws its cadence a fifth to either side, and each lease loses what its nonce has
/// waited: of three cadences less than one may be left.
#[test]
fn a_lease_of_three_cadences_is_enough_for_every_sa() {
    for (seed, cadence) in (40..70).zip([15, 20, 60].into_iter().cycle()) {
        let wish = Wish {
            soft: 2000,
            hard: 3000,
            ..WISH
        };
        let mut world = World::new(seed, &[(1, wish)]);
        world.cadence = Duration::from_secs(cadence);
        world.lease = 3 * world.cadence;
        assert!(world.run_until(SOON, |world| world.is_protected(1)));
        let before = world.gateways[0].report(1).current.clone();
        world.flow(1, Duration::from_millis(20));
        world.run(30 * world.cadence);
        let now = world.gateways[0].report(1).current.clone();
        assert_eq!(now, before, "{cadence} s: the first pair stands");
        world.ebb();
        assert_eq!(
            (world.traffic.lost, world.traffic.unsent),
            (0, 0),
            "{cadence} s"
        );
    }
}

#[test]
fn without_renewal_no_sa_outlives_the_lease() {
    let mut world = up(5, WISH);
    for gateway in &mut world.gateways {
        gateway.verdict = Verdict::Silent;
    }
    let ends = world.gateways.each_ref().map(|gateway| gateway.lease_end);
    let last = ends.into_iter().max().unwrap();
    world.flow(1, Duration::from_millis(20));
    world.run(last.saturating_sub(world.now) + Duration::from_secs(1));
    for gateway in &world.gateways {
        assert!(gateway.kernel.sas.is_empty());
        assert_eq!(gateway.lost, 1);
    }
    world.ebb();
    assert_eq!((world.traffic.lost, world.traffic.clear), (0, 0));
    assert!(world.traffic.unsent > 0);

    for gateway in &mut world.gateways {
        gateway.verdict = Verdict::Affirming;
    }
    assert!(
        world.run_until(SOON, |world| world.is_protected(1)),
        "it recovers without help"
    );
}

#[test]
fn a_verdict_ends_everything_at_once() {
    let mut world = up(6, WISH);
    world.weather.network = Duration::from_micros(100);
    world.gateways[1].verdict = Verdict::Contraindicated;
    let lost = world.run_until(Duration::from_secs(90), |world| world.gateways[1].lost > 0);
    assert!(lost);
    // The other end is told, and does not send into the void until its SA ends.
    world.run(Duration::from_secs(1));
    let outbound = |sa: &Sa| sa.install.direction == Direction::Outbound;
    assert!(!world.gateways[0].kernel.sas.values().any(outbound));
    world.run(Duration::from_secs(10));
    assert!(world.gateways[0].kernel.sas.is_empty());
    assert_eq!(world.gateways[0].state(1), Some(TunnelState::Blocked));
}

#[test]
fn the_end_of_an_ownership_ends_everything_at_once() {
    for farewell in [Farewell::Release, Farewell::Retire] {
        let mut world = up(21, WISH);
        world.weather.network = Duration::from_micros(100);
        world.gateways[1].verdict = Verdict::Silent;
        let order = world.order(1, farewell).unwrap();
        let (nonce, _) = world.gateways[1].nonce.unwrap();
        world.handle(1, Input::Control(ControlToEngine::Order(order.clone())));
        assert_eq!(world.gateways[1].orders, [Ok(())]);
        assert_eq!(world.gateways[1].farewells, []);

        // Nothing counts after it: not itself again, no lease, no edit.
        let gateway = &world.gateways[1];
        let claims = Verifier::claims(world.now, &gateway.node, gateway.ldevid, nonce);
        let lease = world.verifier.sign(&claims);
        world.handle(1, Input::Control(ControlToEngine::Order(order)));
        world.handle(1, Input::Control(ControlToEngine::Lease(lease)));
        let gateway = &world.gateways[1];
        assert_eq!(gateway.orders, [Ok(()), Err(LeaseRefusal::Nonce)]);
        assert_eq!(gateway.lease_refusals, [LeaseRefusal::Nonce]);
        assert_eq!(gateway.nonce.unwrap().0, nonce, "no nonce follows");

        // The double takes `Ordered` only from a kernel without SAs.
        world.gateways[1].orders.truncate(1);
        let told = |world: &World| world.gateways[1].farewells == [farewell];
        assert!(world.run_until(Duration::from_secs(2), told));
        // A peer that hears of it does not send into the void until its SA ends.
        world.run(Duration::from_secs(1));
        let outbound = |sa: &Sa| sa.install.direction == Direction::Outbound;
        assert!(!world.gateways[0].kernel.sas.values().any(outbound));
        // One that is cut off before it hears ends with the lease that it saw.
        world.run(LEASE + Duration::from_secs(1));
        assert!(world.gateways[0].kernel.sas.is_empty());
        assert_eq!(world.gateways[0].state(1), Some(TunnelState::Blocked));
    }
}

#[test]
fn a_gateway_without_a_lease_can_be_given_away() {
    let mut world = World::new(17, &[(1, WISH)]);
    world.gateways[0].verdict = Verdict::Silent;
    world.run(Duration::from_secs(5));
    let order = world.order(0, Farewell::Retire).unwrap();
    world.handle(0, Input::Control(ControlToEngine::Order(order)));
    let told = |world: &World| world.gateways[0].farewells == [Farewell::Retire];
    assert!(world.run_until(Duration::from_secs(2), told));
}

#[test]
fn a_required_kme_that_fails_costs_the_rekey_and_in_the_end_the_traffic() {
    for (mode, refusal) in [
        (Mode::Refuses, QkdRefusal::Unavailable),
        (Mode::Hangs, QkdRefusal::TimedOut),
        (Mode::ZeroKey, QkdRefusal::ZeroKey),
        (Mode::RepeatsKey, QkdRefusal::RepeatedKey),
        (Mode::RepeatsId, QkdRefusal::RepeatedKey),
        (Mode::ShortKey, QkdRefusal::WrongLength),
    ] {
        let wish = Wish {
            soft: 60,
            hard: 200,
            ..WISH
        };
        let mut world = up(7, wish);
        let spi = world.gateways[0].report(1).current.clone().unwrap().inbound;
        world.kmes.modes[0] = mode;
        world.flow(1, Duration::from_millis(20));
        world.run(Duration::from_secs(120));
        assert_eq!(
            (world.traffic.lost, world.traffic.unsent),
            (0, 0),
            "{mode:?}"
        );
        let report = world.gateways[0].report(1);
        assert_eq!(report.current.clone().unwrap().inbound, spi, "{mode:?}");
        assert_eq!(report.alarm, Some(Alarm::Qkd(refusal)), "{mode:?}");
        assert!(world.gateways[0].notices.iter().any(|notice| matches!(
            notice,
            Notice::Alarm { alarm: Alarm::Qkd(said), .. } if *said == refusal
        )));

        world.run(Duration::from_secs(120));
        assert_eq!(
            world.gateways[0].state(1),
            Some(TunnelState::Blocked),
            "{mode:?}"
        );
        assert!(world.traffic.unsent > 0, "{mode:?}");
        world.ebb();
        assert_eq!(
            (world.traffic.lost, world.traffic.clear),
            (0, 0),
            "{mode:?}"
        );

        world.kmes.modes[0] = Mode::Honest;
        let back = world.run_until(Duration::from_secs(60), |world| world.is_protected(1));
        assert!(back, "{mode:?}");
        assert_eq!(world.gateways[0].report(1).alarm, None);
    }
}

#[test]
fn keys_that_differ_are_never_installed() {
    for (who, mode) in [(0, Mode::Asymmetric), (1, Mode::Asymmetric)] {
        let mut world = World::new(8, &[(1, WISH)]);
        world.kmes.modes[who] = mode;
        world.run(Duration::from_secs(60));
        for gateway in &world.gateways {
            assert!(gateway.kernel.sas.is_empty());
        }
        let alarms = world
            .gateways
            .each_ref()
            .map(|gateway| gateway.report(1).alarm);
        assert!(alarms.contains(&Some(Alarm::TagMismatch)), "{alarms:?}");
        world.kmes.modes[who] = Mode::Honest;
        assert!(world.run_until(Duration::from_secs(60), |world| world.is_protected(1)));
    }
}

#[test]
fn an_optional_kme_that_fails_is_done_without_and_reported() {
    for (who, mode) in [
        (0, Mode::Refuses),
        (1, Mode::Refuses),
        (0, Mode::Hangs),
        (1, Mode::Hangs),
        (1, Mode::ZeroKey),
        (1, Mode::WrongKey),
        (0, Mode::ShortKey),
    ] {
        let wish = Wish {
            qkd: Some(Need::Optional),
            ..WISH
        };
        let mut world = World::new(9, &[(1, wish)]);
        world.kmes.modes[who] = mode;
        assert!(
            world.run_until(SOON, |world| world.is_protected(1)),
            "{who} {mode:?}"
        );
        let alone = SourceSet {
            qkd: false,
            kem: true,
            classical: false,
        };
        for gateway in &world.gateways {
            let pair = gateway.report(1).current.clone().unwrap();
            assert_eq!(pair.sources, Some(alone), "{who} {mode:?}");
        }
        world.kmes.modes[who] = Mode::Honest;
        world.run(Duration::from_secs(150));
        let pair = world.gateways[0].report(1).current.clone().unwrap();
        assert_eq!(
            pair.sources,
            Some(SourceSet {
                qkd: true,
                kem: true,
                classical: false,
            })
        );
    }
}

#[test]
fn every_mix_of_sources_makes_keys_under_every_combiner() {
    for combiner in [Combiner::Hmac, Combiner::Xor, Combiner::XorHmac] {
        for set in 1..8 {
            let required = |bit| (set & bit != 0).then_some(Need::Required);
            let wish = Wish {
                qkd: required(1),
                kem: required(2),
                classical: required(4),
                combiner,
                ..WISH
            };
            let mut world = up(10, wish);
            world.flow(1, Duration::from_millis(10));
            world.run(Duration::from_secs(150));
            world.ebb();
            assert_eq!((world.traffic.lost, world.traffic.unsent), (0, 0));
            let report = world.gateways[1].report(1);
            assert!(report.rekeys >= 1, "{wish:?}");
            let sources = SourceSet {
                qkd: wish.qkd.is_some(),
                kem: wish.kem.is_some(),
                classical: wish.classical.is_some(),
            };
            assert_eq!(report.current.clone().unwrap().sources, Some(sources));
        }
    }
}

#[test]
fn a_restart_costs_no_packet() {
    for (seed, who) in (20..30).zip([0, 1].into_iter().cycle()) {
        let mut world = up(seed, WISH);
        world.run(Duration::from_secs(5));
        world.flow(1, Duration::from_millis(10));
        world.restart(who, Duration::from_secs(3));
        world.run(Duration::from_secs(60));
        world.ebb();
        assert!(world.is_protected(1));
        assert_eq!((world.traffic.lost, world.traffic.unsent), (0, 0));
        // A re-adopted pair has a successor soon.
        assert!(world.gateways[who].report(1).rekeys >= 1);
        assert!(world.gateways[1 - who].report(1).rekeys >= 1);
    }
}

#[test]
fn a_restart_of_both_costs_no_packet() {
    let mut world = up(31, WISH);
    world.flow(1, Duration::from_millis(10));
    world.restart(0, Duration::from_secs(3));
    world.restart(1, Duration::from_secs(5));
    world.run(Duration::from_secs(60));
    world.ebb();
    assert!(world.is_protected(1));
    assert_eq!((world.traffic.lost, world.traffic.unsent), (0, 0));
}

fn up(seed: u64, wish: Wish) -> World {
    let mut world = World::new(seed, &[(1, wish)]);
    assert!(
        world.run_until(SOON, |world| world.is_protected(1)),
        "no tunnel"
    );
    world
}
