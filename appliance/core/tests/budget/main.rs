//! A thousand tunnels at one QKD link, through outages, bursts and droughts, on a virtual clock.
#![cfg(test)]
#![expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]

mod link;

use core::time::Duration;

use bartizan_model::policy::Need;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::link::{Link, Member, Weather};

const TUNNELS: u32 = 1000;

/// A store with a key for each and a link that brings what a thousand tunnels take when they are put
/// off as far as they may be: nobody is ever without, and the link is never dry.
#[test]
fn a_thousand_tunnels_never_drain_a_link_that_can_feed_them() {
    let member = |number| Member {
        need: Need::Required,
        priority: u8::try_from(number % 8).unwrap(),
        minimum: 0,
        soft: 600,
        hard: 3000,
    };
    let members = (0..TUNNELS).map(member).collect();
    let mut link = Link::new(members, 2500);
    // At their soft lifetime they would take 6000 an hour; put off to 900 to 1200 seconds at most 4000.
    let weather = Weather {
        seconds: 4 * 3600,
        rate: 4200,
        burst: 60,
    };
    link.run(weather);
    assert_eq!(link.dark, 0, "{link:?}");
    assert!(link.least > 0, "{link:?}");
    assert!(link.put_off > 0, "it was not scarce: {link:?}");
}

/// The same link brings half of what is needed: who stands first notices nothing.
#[test]
fn what_is_missing_is_missing_to_those_who_stand_last() {
    let member = |number: u32| Member {
        need: Need::Required,
        priority: if number < 300 { 7 } else { 1 },
        minimum: 0,
        soft: 600,
        hard: 3000,
    };
    let mut link = Link::new((0..TUNNELS).map(member).collect(), 2500);
    let weather = Weather {
        seconds: 4 * 3600,
        rate: 1700,
        burst: 60,
    };
    link.run(weather);
    assert!(link.dark > 0, "there was enough for all: {link:?}");
    assert!(link.dark_of(|member| member.priority == 7) == 0, "{link:?}");
}

fn members() -> impl Strategy<Value = Vec<Member>> {
    let member = (
        prop_oneof![Just(Need::Required), Just(Need::Optional)],
        0..8_u8,
        prop_oneof![4 => Just(0_u32), 1 => 1..20_u32],
        120..900_u64,
        1..10_u64,
    );
    let member = member.prop_map(|(need, priority, minimum, soft, times)| Member {
        need,
        priority,
        minimum,
        soft,
        hard: soft + soft * times / 2 + 60,
    });
    proptest::collection::vec(member, usize::try_from(TUNNELS).unwrap())
}

fn weathers() -> impl Strategy<Value = Vec<Weather>> {
    let rate = prop_oneof![
        2 => Just(0_u64),
        3 => 100..20_000_u64,
    ];
    let weather = (60..1200_u64, rate, 1..300_u64);
    let weather = weather.prop_map(|(seconds, rate, burst)| Weather {
        seconds,
        rate,
        burst,
    });
    proptest::collection::vec(weather, 1..6)
}

/// `BARTIZAN_LONG` makes it many.
fn cases() -> u32 {
    if std::env::var_os("BARTIZAN_LONG").is_some() {
        500
    } else {
        60
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        rng_seed: RngSeed::Fixed(5),
        max_shrink_time: 30_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// What is checked at each step stands in [`Link`]; after each weather comes a fair one, in which
    /// everybody gets keys again.
    #[test]
    fn keys_are_shared_out_in_order_whatever_the_weather(
        members in members(),
        stored in 0..3000_u64,
        weathers in weathers(),
    ) {
        let mut link = Link::new(members, stored);
        for weather in weathers {
            link.run(weather);
        }
        link.run(Weather { seconds: 2400, rate: 60_000, burst: 1 });
        prop_assert_eq!(link.now_dark(), 0);
        prop_assert_eq!(link.now_without(Duration::from_mins(30)), 0);
    }
}
