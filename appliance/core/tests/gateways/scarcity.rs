//! Real engines at a QKD link that brings few keys, and at times none.

use core::time::Duration;

use bartizan_core::exchange::Input;
use bartizan_model::config::KmeInterface;
use bartizan_model::ids::{NodeId, SaeId};
use bartizan_model::message::QkdToEngine;
use bartizan_model::policy::Need;
use bartizan_model::report::{LinkCounts, LinkReason, LinkReport, LinkState};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::kme::Mode;
use crate::policies::{WISH, Wish};
use crate::world::World;

const TUNNELS: u32 = 100;
/// Every fifth stands before the others.
const FIRST: u8 = 7;
/// What a tunnel takes whose rekeys are never put off is one key in this many seconds.
const SOFT: u64 = 120;
/// How often the link brings keys and its KMEs tell what they have.
const BURST: Duration = Duration::from_secs(5);
/// How many bursts of keys and of outages a run has.
const BURSTS: u32 = 360;

fn wish(tunnel: u32) -> Wish {
    Wish {
        qkd: Some(Need::Required),
        standing: (if tunnel.is_multiple_of(5) { FIRST } else { 1 }, 0),
        soft: SOFT,
        hard: 1200,
        ..WISH
    }
}

/// The link brings half the keys that the tunnels would take, and the KMEs tell what they have.
fn bring(world: &mut World) {
    let brought = BURST.as_secs() * u64::from(TUNNELS) / 2 / SOFT;
    world.kmes.stored = world.kmes.stored.map(|stored| stored + brought);
    for (who, peer) in ["sae-b", "sae-a"].into_iter().enumerate() {
        let (state, reason) = if world.kmes.modes[who] == Mode::Honest {
            (LinkState::Healthy, None)
        } else {
            (LinkState::Degraded, Some(LinkReason::Exhausted))
        };
        let report = LinkReport {
            kme: NodeId::try_from("kme.example").unwrap(),
            peer: SaeId::try_from(peer).unwrap(),
            interface: KmeInterface::Etsi014,
            state,
            reason,
            said: None,
            stored_keys: world.kmes.stored.map(|keys| u32::try_from(keys).unwrap()),
            prefetched: 0,
            rate: None,
            latency: None,
            counts: LinkCounts::default(),
        };
        world.tell(who, Input::Qkd(QkdToEngine::Link(Box::new(report)), None));
    }
    world.run(BURST);
}

fn dark(world: &World, meant: impl Fn(u32) -> bool) -> Vec<u32> {
    let protects = |tunnel: &u32| {
        let reqid = (*tunnel).try_into().unwrap();
        let report = world.gateways[0].reports.get(&reqid);
        report.is_some_and(|report| report.current.is_some())
    };
    let all = (1..=TUNNELS).filter(|tunnel| meant(*tunnel));
    all.filter(|tunnel| !protects(tunnel)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if long() { 50 } else { 3 },
        failure_persistence: None,
        rng_seed: if long() { RngSeed::Random } else { RngSeed::Fixed(1) },
        ..ProptestConfig::default()
    })]

    /// Few keys, and outages of up to two minutes at either end: no SA sends without a key of its own
    /// at each end, who stands first is never without, and all are protected when it is over.
    #[test]
    fn no_key_serves_twice_and_who_stands_first_is_never_without(
        seed: u64,
        outages in proptest::collection::vec((0..BURSTS, 0_usize..2, 1..24_u32), 0..8),
    ) {
        let tunnels: Vec<_> = (1..=TUNNELS).map(|tunnel| (tunnel, wish(tunnel))).collect();
        let mut world = World::new(seed, &tunnels);
        world.look_every = 500;
        world.kmes.stored = Some(u64::from(TUNNELS) * 3 / 2);
        let up = world.run_until(Duration::from_secs(60), |world| dark(world, |_| true).is_empty());
        prop_assert!(up, "not up: {:?}", dark(&world, |_| true));

        for burst in 0..BURSTS {
            for who in [0, 1] {
                let out = outages.iter().any(|(from, end, bursts)| {
                    *end == who && (*from..from + bursts).contains(&burst)
                });
                world.kmes.modes[who] = if out { Mode::Refuses } else { Mode::Honest };
            }
            bring(&mut world);
            let first = dark(&world, |tunnel| tunnel.is_multiple_of(5));
            prop_assert!(first.is_empty(), "without in burst {burst}: {first:?}");
            for who in [0, 1] {
                let (senders, keys) = (world.invariants.senders[who], world.kmes.given[who]);
                prop_assert!(senders <= keys, "{senders} senders of {keys} keys at {who}");
            }
        }
        world.kmes.modes = [Mode::Honest; 2];
        let rests = (0..120).any(|_| {
            bring(&mut world);
            dark(&world, |_| true).is_empty()
        });
        prop_assert!(rests, "no rest: {:?}", dark(&world, |_| true));
    }
}

fn long() -> bool {
    std::env::var_os("BARTIZAN_LONG").is_some_and(|value| value == "1")
}
