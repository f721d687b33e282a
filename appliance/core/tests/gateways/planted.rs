//! Each invariant catches what it is there for.

use core::time::Duration;

use bartizan_model::message::{PeerMessage, SaId};
use bartizan_model::policy::Direction;
use bartizan_model::report::TunnelState;

use crate::policies::WISH;
use crate::world::World;

const SOON: Duration = Duration::from_secs(30);

fn up() -> World {
    let mut world = World::new(40, &[(1, WISH)]);
    assert!(world.run_until(SOON, |world| world.is_protected(1)));
    world
}

fn sa(world: &World, who: usize, direction: Direction) -> SaId {
    let mut sas = world.gateways[who].kernel.sas.values();
    let found = sas.find(|sa| sa.install.direction == direction);
    found.unwrap().install.id
}

#[test]
#[should_panic(expected = "I1: ")]
fn i1_finds_an_inbound_sa_that_went_too_early() {
    let mut world = up();
    let id = sa(&world, 1, Direction::Inbound);
    world.gateways[1].kernel.remove(id).unwrap();
    world.run(Duration::from_secs(200));
}

#[test]
#[should_panic(expected = "I2: the keys of")]
fn i2_finds_keys_that_differ() {
    let mut world = up();
    let id = sa(&world, 1, Direction::Inbound);
    world.gateways[1].kernel.sas.get_mut(&id).unwrap().key[0] ^= 1;
    world.run(Duration::from_secs(200));
}

#[test]
#[should_panic(expected = "I2: a key was handed over twice")]
fn i2_finds_a_key_that_is_installed_again() {
    let mut world = up();
    let id = sa(&world, 0, Direction::Outbound);
    let sa = world.gateways[0].kernel.sas[&id].clone();
    world.invariants.install(0, &sa.install, &sa.key);
}

#[test]
#[should_panic(expected = "I2: both directions share a key")]
fn i2_finds_directions_that_share_a_key() {
    let mut world = up();
    let id = sa(&world, 0, Direction::Outbound);
    let mut sa = world.gateways[0].kernel.sas[&id].clone();
    sa.install.direction = Direction::Inbound;
    world.invariants.install(0, &sa.install, &sa.key);
}

#[test]
#[should_panic(expected = "I3: two generations of 1 send")]
fn i3_finds_an_old_sender_that_stays() {
    let mut world = up();
    for (who, direction) in [(0, Direction::Outbound), (1, Direction::Inbound)] {
        let id = sa(&world, who, direction);
        let kernel = &mut world.gateways[who].kernel;
        let mut older = kernel.sas[&id].clone();
        older.install.id.spi = 0x0011_2233.try_into().unwrap();
        kernel.sas.insert(older.install.id, older);
        kernel.touch();
    }
    world.run(Duration::from_secs(200));
}

#[test]
#[should_panic(expected = "I4: ")]
fn i4_finds_a_secret_that_nothing_needs() {
    let mut world = World::new(41, &[(1, WISH)]);
    let offered = |world: &World| {
        let mut said = world.said.iter();
        said.any(|(_, message)| matches!(message, PeerMessage::Offer(_)))
    };
    assert!(world.run_until(SOON, offered));
    // A report that is not true: the key exchange is under way.
    world.gateways[0]
        .reports
        .get_mut(&1.try_into().unwrap())
        .unwrap()
        .state = TunnelState::Protected;
    world.invariants.reported(0);
    world.check();
}

#[test]
#[should_panic(expected = "I5: time stands still")]
fn i5_finds_a_deadline_that_never_goes_away() {
    let mut world = up();
    world.frozen = true;
    world.run(Duration::from_secs(200));
}

#[test]
#[should_panic(expected = "I6: ")]
fn i6_finds_a_way_in_clear() {
    let mut world = up();
    world.gateways[0].kernel.blocks = false;
    world.gateways[0].kernel.policies.clear();
    world.run(Duration::from_secs(200));
}

#[test]
#[should_panic(expected = "after the lease at")]
fn i7_finds_an_sa_that_outlives_the_lease() {
    let mut world = up();
    let id = sa(&world, 0, Direction::Inbound);
    world.gateways[0].kernel.sas.get_mut(&id).unwrap().end += Duration::from_secs(301);
    world.gateways[0].kernel.touch();
    world.run(Duration::from_secs(200));
}

#[test]
#[should_panic(expected = "without a lease")]
fn i7_finds_what_is_done_without_a_lease() {
    let mut world = up();
    // Renewals are not noted, so the next rekey is taken for one without a lease.
    for _ in 0..30 {
        for gateway in &mut world.gateways {
            gateway.lease_end = Duration::ZERO;
        }
        world.run(Duration::from_secs(5));
    }
}
