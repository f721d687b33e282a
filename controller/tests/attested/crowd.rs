//! A fleet on one controller, as the bench has it, in its short form.

use core::time::Duration;

use bartizan_controller::device::State;

use crate::fleet::Fleet;
use crate::owner::Pace;

/// Gateways, and how often each is attested beyond the first lease.
const GATEWAYS: usize = 50;
const ROUNDS: usize = 3;

#[test]
fn a_fleet_enrols_and_is_attested_in_turn_by_one_controller() {
    let (mut fleet, enrolling) = Fleet::enrolled(GATEWAYS);
    assert_eq!(enrolling.took.len(), GATEWAYS);
    fleet.call_home(Pace::FAST);
    let watched = fleet.watch(ROUNDS);
    assert!(watched.took.len() >= GATEWAYS * ROUNDS, "{watched:?}");
    assert!(watched.percentile(50) <= watched.percentile(99));
    assert!(watched.percentile(100) <= watched.lasted, "{watched:?}");
    assert!(watched.cpu > Duration::ZERO, "{watched:?}");
    assert!(watched.resident > enrolling.resident / 2, "{watched:?}");
    fleet.owner.stop();
    for serial in fleet.serials() {
        let device = fleet.owner.device(&serial);
        assert_eq!(device.state(), State::Enrolled);
        let attestations = u64::try_from(ROUNDS + 1).unwrap();
        assert!(device.totals().passed >= attestations, "{device:?}");
    }
}
