//! The link between the gateways is cut in the place of every message of a first keying, and of every
//! message of a rekey under a steady flow.

use core::time::Duration;

use crate::policies::{WISH, Wish};
use crate::world::World;

const SOON: Duration = Duration::from_secs(60);

/// The rekey begins between 27 and 30 seconds after the pair before it.
const SHORT: Wish = Wish {
    soft: 30,
    hard: 300,
    ..WISH
};

fn starting(seed: u64) -> World {
    World::new(seed, &[(1, SHORT)])
}

fn protected(world: &World) -> bool {
    world.is_protected(1)
}

#[test]
fn a_first_keying_survives_a_cut_at_every_message() {
    for seed in 50..54 {
        let mut whole = starting(seed);
        assert!(whole.run_until(SOON, protected));
        let messages = whole.said.len();
        assert!(messages >= 12);
        for cut in 0..messages {
            let mut world = starting(seed);
            world.cut_at = Some(cut);
            assert!(world.run_until(SOON, protected), "cut at {cut}");
            assert!(world.said.len() > cut, "never cut at {cut}");
            world.run(Duration::from_secs(10));
            only_one_pair_stands(&world);
        }
    }
}

#[test]
fn a_rekey_survives_a_cut_at_every_message() {
    for seed in 60..64 {
        let before = |seed| {
            let mut world = starting(seed);
            assert!(world.run_until(SOON, protected));
            world.run(Duration::from_secs(20));
            world
        };
        let mut whole = before(seed);
        let first = whole.said.len();
        let rekeyed = |world: &World| {
            world.gateways.iter().all(|g| g.report(1).rekeys >= 1) && world.is_protected(1)
        };
        assert!(whole.run_until(SOON, rekeyed));
        whole.run(Duration::from_secs(8));
        let messages = whole.said.len() - first;
        assert!(messages >= 7);
        for cut in 0..messages {
            let mut world = before(seed);
            world.cut_at = Some(first + cut);
            world.flow(1, Duration::from_millis(5));
            assert!(world.run_until(SOON, rekeyed), "cut at {cut}");
            world.run(Duration::from_secs(15));
            world.ebb();
            let traffic = &world.traffic;
            assert_eq!((traffic.lost, traffic.unsent), (0, 0), "cut at {cut}");
            assert!(traffic.sent > 1000);
        }
    }
}

/// Nothing is left of attempts that the cut ended.
fn only_one_pair_stands(world: &World) {
    for gateway in &world.gateways {
        assert_eq!(gateway.kernel.sas.len(), 2);
        assert_eq!(gateway.report(1).alarm, None);
    }
}
