//! Random weather, faults, edits and orders: the invariants hold after every step.

use core::time::Duration;

use bartizan_model::identity::Farewell;
use bartizan_model::policy::{Combiner, Need};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::gateway::{KernelFault, Verdict};
use crate::kme::Mode;
use crate::policies::Wish;
use crate::world::{FAIR, Fault, Weather, World};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        rng_seed: seed(),
        ..ProptestConfig::default()
    })]

    /// The invariants are checked after every step, whatever happens; when it is over, both ends
    /// come to rest under one pair.
    #[test]
    fn whatever_happens_the_invariants_hold(
        seed: u64,
        weather in weathers(),
        wish in wishes(),
        plan in plans(),
    ) {
        run_plan(seed, weather, wish, plan);
    }

    /// An end that repeats old words is a liar about its tunnels; everything but I1, which is about
    /// two honest ends, holds in spite of it.
    #[test]
    fn replays_break_nothing_but_their_own_tunnels(
        seed: u64,
        wish in wishes(),
        mut plan in plans(),
        replays in proptest::collection::vec((5_000_u64..390_000, 0_usize..2, 0_usize..1000), 1..40),
    ) {
        plan.extend(replays.into_iter().map(|(at, to, which)| (at, Fault::Replay(to, which))));
        run_plan(seed, FAIR, wish, plan);
    }
}

fn run_plan(seed: u64, weather: Weather, wish: Wish, plan: Vec<(u64, Fault)>) {
    let mut world = World::new(seed, &[(1, wish), (2, wish)]);
    world.weather = weather;
    // A kernel that gives no answer has its SA removed a second later, again and again.
    world.invariants.patience = Duration::from_secs(30);
    for (at, fault) in plan {
        if let Fault::Replay(..) = fault {
            world.invariants.excuse_all(1);
            world.invariants.excuse_all(2);
        }
        world.plan(Duration::from_millis(at), fault);
    }
    world.run(Duration::from_secs(400));

    world.kmes.modes = [Mode::Honest; 2];
    for gateway in &mut world.gateways {
        gateway.verdict = Verdict::Affirming;
        gateway.kernel_faults.clear();
    }
    let rests = |world: &World| world.is_protected(1) && world.is_protected(2);
    assert!(
        world.run_until(Duration::from_secs(200), rests),
        "I5: no rest"
    );
    for looked in world
        .invariants
        .looked
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != 5)
    {
        assert!(
            *looked.1 > 0,
            "an invariant was never looked at: {looked:?}"
        );
    }
}

/// The long form looks somewhere else each time, and says where if it finds something.
fn seed() -> RngSeed {
    if long() {
        RngSeed::Random
    } else {
        RngSeed::Fixed(1)
    }
}

/// Each is about ten virtual minutes.
fn cases() -> u32 {
    if long() { 600 } else { 64 }
}

fn long() -> bool {
    std::env::var_os("BARTIZAN_LONG").is_some_and(|value| value == "1")
}

fn weathers() -> impl Strategy<Value = Weather> {
    let most = |millis: u64| (1..millis).prop_map(Duration::from_millis);
    (
        most(3000),
        most(700),
        most(3500),
        most(20_000),
        most(20_000),
    )
        .prop_map(|(network, kernel, kme, notice, reconnect)| Weather {
            network,
            kernel,
            kme,
            notice,
            reconnect,
        })
}

fn wishes() -> impl Strategy<Value = Wish> {
    let need = || prop_oneof![Just(Need::Required), Just(Need::Optional)];
    (need(), 15_u64..90, 100_u64..400).prop_map(|(need, soft, hard)| Wish {
        qkd: Some(need),
        standing: (3, 0),
        kem: Some(Need::Required),
        classical: Some(Need::Optional),
        combiner: Combiner::XorHmac,
        soft,
        hard,
    })
}

fn plans() -> impl Strategy<Value = Vec<(u64, Fault)>> {
    proptest::collection::vec((3_000_u64..400_000, faults()), 0..30)
}

fn faults() -> impl Strategy<Value = Fault> {
    let who = 0_usize..2;
    let kernel = prop_oneof![
        Just(KernelFault::Refuses),
        Just(KernelFault::DoneUnknown),
        Just(KernelFault::LostUnknown),
    ];
    let kme = prop_oneof![
        3 => Just(Mode::Honest),
        1 => Just(Mode::Refuses),
        1 => Just(Mode::Hangs),
        1 => Just(Mode::ZeroKey),
        1 => Just(Mode::RepeatsKey),
        1 => Just(Mode::RepeatsId),
        1 => Just(Mode::ShortKey),
        1 => Just(Mode::Asymmetric),
        1 => Just(Mode::WrongKey),
    ];
    let verdict = prop_oneof![
        3 => Just(Verdict::Affirming),
        1 => Just(Verdict::Silent),
        1 => Just(Verdict::Contraindicated),
    ];
    let farewell = prop_oneof![Just(Farewell::Release), Just(Farewell::Retire)];
    prop_oneof![
        6 => Just(Fault::Cut),
        2 => (who.clone(), 1_u64..100).prop_map(|(who, down)| {
            Fault::Restart(who, Duration::from_secs(down))
        }),
        4 => (who.clone(), kernel).prop_map(|(who, fault)| Fault::Kernel(who, fault)),
        3 => (who.clone(), kme).prop_map(|(who, mode)| Fault::Kme(who, mode)),
        2 => (who.clone(), verdict).prop_map(|(who, verdict)| Fault::Verdict(who, verdict)),
        2 => (who, farewell).prop_map(|(who, farewell)| Fault::Order(who, farewell)),
        1 => (1_u32..3, wishes()).prop_map(|(tunnel, wish)| Fault::Edit(tunnel, wish)),
    ]
}
