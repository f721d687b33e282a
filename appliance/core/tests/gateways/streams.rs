//! Streams of keys: told to the peer, and told again when its link is back.

use core::time::Duration;

use bartizan_core::exchange::Input;
use bartizan_model::ids::StreamName;
use bartizan_model::message::QkdToEngine;

use crate::policies::WISH;
use crate::world::World;

const SOON: Duration = Duration::from_secs(30);

fn opened(name: &str) -> Input {
    let stream = StreamName::try_from(name).unwrap();
    let peer = "sae-b".try_into().unwrap();
    Input::Qkd(QkdToEngine::Stream { peer, stream }, None)
}

fn joined(world: &World) -> Vec<(usize, &str)> {
    let joined = world.kmes.joined.iter();
    joined.map(|(who, name)| (*who, name.as_str())).collect()
}

#[test]
fn a_stream_is_told_to_the_peer_and_again_when_its_link_is_back() {
    let mut world = World::new(1, &[(1, WISH)]);
    assert!(world.run_until(SOON, |world| world.is_protected(1)));
    world.tell(0, opened("north:one"));
    world.tell(0, opened("south:two"));
    assert!(world.run_until(SOON, |world| world.kmes.joined.len() == 2));
    assert_eq!(joined(&world), [(1, "north:one"), (1, "south:two")]);

    // The one that took the first one's place is told from then on.
    world.run(Duration::from_secs(1));
    world.tell(0, opened("north:three"));
    assert!(world.run_until(SOON, |world| world.kmes.joined.len() == 3));
    world.cut();
    assert!(world.run_until(SOON, |world| world.kmes.joined.len() == 5));
    assert_eq!(
        joined(&world)[2..],
        [(1, "north:three"), (1, "north:three"), (1, "south:two")]
    );
}

#[test]
fn the_end_that_names_no_keys_opens_no_stream() {
    let mut world = World::new(2, &[(1, WISH)]);
    assert!(world.run_until(SOON, |world| world.is_protected(1)));
    let stream = StreamName::try_from("north:one").unwrap();
    let peer = "sae-a".try_into().unwrap();
    world.tell(1, Input::Qkd(QkdToEngine::Stream { peer, stream }, None));
    assert!(world.run_until(SOON, |world| {
        world.gateways[0]
            .counters
            .get("peer-refused")
            .is_some_and(|count| *count >= 1)
    }));
    assert!(world.kmes.joined.is_empty());
}
