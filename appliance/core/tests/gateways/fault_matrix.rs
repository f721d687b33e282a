//! Every way in which a KME misbehaves, at either end, beside a tunnel that requires QKD and one that can
//! do without: the outcome stands in `fault_matrix.txt`, as operators read it. That both ends agree on
//! every key or on none is I2, looked at after every event.

use core::fmt::Write as _;
use core::time::Duration;

use bartizan_model::policy::Need;
use bartizan_model::report::{Alarm, SourceSet};

use crate::kme::Mode;
use crate::policies::{WISH, Wish};
use crate::world::World;

/// Where a new key is asked for, and where the one that the other end named is.
const MODES: [[Mode; 7]; 2] = [
    [
        Mode::Refuses,
        Mode::Hangs,
        Mode::ZeroKey,
        Mode::ShortKey,
        Mode::RepeatsKey,
        Mode::RepeatsId,
        Mode::Asymmetric,
    ],
    [
        Mode::Refuses,
        Mode::Hangs,
        Mode::ZeroKey,
        Mode::ShortKey,
        Mode::RepeatsKey,
        Mode::WrongKey,
        Mode::Asymmetric,
    ],
];

const STRICT: u32 = 1;
const LENIENT: u32 = 2;

/// For the rekey that the misbehaving KME spoils, and a few more attempts.
const WHILE: Duration = Duration::from_secs(200);

/// What an operator sees of one end.
fn seen(world: &World, who: usize, tunnel: u32) -> String {
    let report = world.gateways[who].report(tunnel);
    let sources = report.current.as_ref().and_then(|pair| pair.sources);
    let sources = match sources {
        None => "no pair",
        Some(SourceSet { qkd: true, .. }) => "QKD+KEM",
        Some(SourceSet { qkd: false, .. }) => "KEM alone",
    };
    let alarm = match report.alarm {
        None => String::from("no alarm"),
        Some(Alarm::Qkd(refusal)) => format!("QKD {refusal:?}"),
        Some(alarm) => format!("{alarm:?}"),
    };
    format!("{sources}, {alarm}")
}

#[test]
fn every_misbehaviour_has_its_stated_outcome() {
    let mut table = String::from(
        "KME at | misbehaves | tunnel | the end with it | the other end\n\
         --- | --- | --- | --- | ---\n",
    );
    for who in [0, 1] {
        for mode in MODES[who] {
            let strict = Wish {
                soft: 60,
                hard: 1800,
                ..WISH
            };
            let lenient = Wish {
                qkd: Some(Need::Optional),
                ..strict
            };
            let mut world = World::new(5, &[(STRICT, strict), (LENIENT, lenient)]);
            let up = |world: &World| world.is_protected(STRICT) && world.is_protected(LENIENT);
            assert!(
                world.run_until(Duration::from_secs(90), up),
                "{who} {mode:?}"
            );
            let before = world.gateways[0].report(STRICT).rekeys;
            world.kmes.modes[who] = mode;
            world.run(WHILE);
            for (tunnel, name) in [(STRICT, "requires QKD"), (LENIENT, "can do without")] {
                let end = ["initiator", "responder"][who];
                let (with, other) = (seen(&world, who, tunnel), seen(&world, 1 - who, tunnel));
                writeln!(table, "{end} | {mode:?} | {name} | {with} | {other}").unwrap();
            }
            // What stood goes on, and nothing new came up without what is required. The first key of a
            // KME that then repeats itself is a good one.
            let good = u64::from((who, mode) == (1, Mode::RepeatsKey));
            let report = world.gateways[0].report(STRICT);
            let pair = report.current.as_ref().expect("the pair of before stands");
            assert_eq!(pair.sources.map(|sources| sources.qkd), Some(true));
            assert!(report.rekeys <= before + good, "{who} {mode:?}");
            // Honest again: both rekey by both sources, and no alarm is left.
            world.kmes.modes[who] = Mode::Honest;
            world.run(Duration::from_secs(300));
            for tunnel in [STRICT, LENIENT] {
                for end in [0, 1] {
                    assert_eq!(
                        seen(&world, end, tunnel),
                        "QKD+KEM, no alarm",
                        "{who} {mode:?}"
                    );
                }
            }
        }
    }
    assert_eq!(table, include_str!("fault_matrix.txt"), "--- now:\n{table}");
}
