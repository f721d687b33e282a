//! Ten thousand entries, and a thousand tunnels with their two thousand SAs at each end.

use core::time::Duration;

use bartizan_core::{ENTRIES_MAX, WINDOW};
use bartizan_model::message::{EditRefusal, PeerMessage};
use bartizan_model::policy::{Action, Combiner, Need, Policy};
use bartizan_model::report::Notice;

use crate::policies::{Wish, entries};
use crate::world::World;

/// One urgent order may pass a full window.
const MOST_OUTSTANDING: usize = WINDOW + 1;

const LONG: Wish = Wish {
    qkd: None,
    standing: (3, 0),
    kem: Some(Need::Required),
    classical: None,
    combiner: Combiner::Hmac,
    soft: 1000,
    hard: 3000,
};

#[test]
fn a_thousand_tunnels_come_up_and_are_rekeyed() {
    let tunnels: Vec<_> = (1..=1000).map(|tunnel| (tunnel, LONG)).collect();
    let mut world = World::new(80, &tunnels);
    world.look_every = 5000;
    let up = |world: &World| (1..=1000).all(|tunnel| world.is_protected(tunnel));
    for _ in 0..60 {
        world.run(Duration::from_secs(1));
        if up(&world) {
            break;
        }
    }
    assert!(up(&world));
    for gateway in &world.gateways {
        assert_eq!(gateway.kernel.sas.len(), 2000);
        assert!(gateway.most_outstanding <= MOST_OUTSTANDING);
        assert_eq!(gateway.closed, 0);
        assert!(gateway.counters.keys().all(|name| name == "peer-stale"));
    }

    // Through several leases and a rekey of all.
    world.look_every = 20_000;
    world.run(Duration::from_secs(1100));
    let rekeyed =
        |gateway: &crate::gateway::Gateway| gateway.reports.values().all(|r| r.rekeys == 1);
    for gateway in &world.gateways {
        assert!(rekeyed(gateway));
        assert_eq!(gateway.closed, 0);
        assert_eq!(gateway.kernel.sas.len(), 2000);
    }

    // A restart of everything at one end adopts them all.
    world.restart(1, Duration::from_secs(3));
    world.run(Duration::from_secs(60));
    assert!(up(&world));
    assert!(world.gateways.iter().all(|gateway| gateway.closed == 0));
}

/// The initiator is through long before the responder, and waits for it to have room.
#[test]
fn no_offer_is_refused_for_want_of_a_place_however_slow_the_responder_is() {
    let tunnels: Vec<_> = (1..=400).map(|tunnel| (tunnel, LONG)).collect();
    let mut world = World::new(83, &tunnels);
    world.look_every = 5000;
    world.weather.network = Duration::from_millis(1);
    world.weather.kernel = Duration::from_millis(20);
    let up = |world: &World| (1..=400).all(|tunnel| world.is_protected(tunnel));
    for _ in 0..60 {
        world.run(Duration::from_secs(1));
    }
    assert!(up(&world));
    let refused =
        |(_, message): &&(usize, PeerMessage)| matches!(message, PeerMessage::Abandoned { .. });
    assert_eq!(world.said.iter().filter(refused).count(), 0);
    for gateway in &world.gateways {
        assert!(gateway.counters.is_empty(), "{:?}", gateway.counters);
    }
}

#[test]
fn ten_thousand_entries_are_programmed_in_a_window() {
    let mut world = World::new(81, &[]);
    world.look_every = 1000;
    world.run(Duration::from_secs(10));
    let all: Vec<_> = (1..=5000)
        .flat_map(|tunnel| entries(0, tunnel, LONG))
        .map(|policy| (policy.name.clone(), Some(policy)))
        .collect();
    world.edit(0, all);
    let programmed = |world: &World| {
        let told = Notice::Programmed { entries: 10_000 };
        world.gateways[0].notices.contains(&told)
    };
    assert!(world.run_until(Duration::from_secs(120), programmed));
    assert_eq!(world.gateways[0].kernel.policies.len(), 10_000);
    assert!(world.gateways[0].most_outstanding <= MOST_OUTSTANDING);
}

#[test]
fn one_entry_more_than_the_gateway_holds_is_refused_and_changes_nothing() {
    let mut world = World::new(82, &[]);
    world.look_every = 1000;
    world.run(Duration::from_secs(10));
    let discards = |count: usize| {
        let pairs = (1..)
            .flat_map(|tunnel| entries(0, tunnel, LONG))
            .take(count);
        let discards = pairs.map(|policy| Policy {
            action: Action::Discard,
            ..policy
        });
        discards
            .map(|policy| (policy.name.clone(), Some(policy)))
            .collect()
    };
    world.edit(0, discards(ENTRIES_MAX + 1));
    world.run(Duration::from_secs(60));
    let refusals: Vec<_> = world.gateways[0]
        .edit_refusals
        .iter()
        .map(|(_, why)| *why)
        .collect();
    assert_eq!(refusals, [EditRefusal::TooMany]);
    assert!(world.gateways[0].kernel.policies.is_empty());
    world.edit(0, discards(ENTRIES_MAX));
    world.run(Duration::from_secs(120));
    assert_eq!(world.gateways[0].kernel.policies.len(), ENTRIES_MAX);
}
