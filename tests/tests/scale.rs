//! Many tunnels at once.

use std::time::{Duration, Instant};

use bartizan_tests::{
    in_guest,
    testbed::{
        boot::{Boot, Clock},
        fleet::{Fleet, protects, uml},
        kernel::sas,
        plan::{Covers, Tunnel, plan},
        topology::Side,
    },
};

/// How many tunnels the pair keys.
const TUNNELS: u16 = 1000;

/// The first of their ports.
const FIRST: u16 = 10_000;

/// In the guest's time, which stands while anything computes.
const LIMIT: Duration = Duration::from_mins(10);

#[test]
fn a_thousand_tunnels_are_keyed_by_the_pair() {
    let guest = Boot::uml()
        .memory_mib(1536)
        .clock(Clock::Virtual)
        .limit(Duration::from_mins(7));
    in_guest!(guest, || {
        let fleet = Fleet::start(&uml());
        let tunnels: Vec<Tunnel> = (0..TUNNELS)
            .map(|number| Tunnel::new(u32::from(number) + 1, Covers::Port(FIRST + number)))
            .collect();
        let began = Instant::now();
        fleet.controller.apply(&plan(&tunnels), false);
        fleet
            .controller
            .wait_for(LIMIT, "every tunnel protects", |status| {
                status.tunnels.len() == tunnels.len()
                    && status.tunnels.iter().all(|tunnel| protects(tunnel, 1))
            });
        println!(
            "{TUNNELS} tunnels in {:?} of the guest's time",
            began.elapsed()
        );
        for side in Side::BOTH {
            let standing = sas(&fleet.topology.side(side).gateway).len();
            assert_eq!(standing, 2 * usize::from(TUNNELS), "{side:?}");
        }
    });
}
