//! One KME that does not do its part, at either end, beside a tunnel that requires QKD and one that can do without.
//!
//! | the KME | the tunnel that requires QKD | the one that can do without |
//! |---|---|---|
//! | any row of [`NO_KEY`] or [`BAD_KEY`], either end | no new SA at either end; the present pair works up to its hard lifetime, then nothing passes; the end that knows alarms with the row's reason | both ends agree on ML-KEM alone, and say so |
//! | honest again | protects again, by both sources | the next key is made of both sources |

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_model::{
    ids::TunnelId,
    report::{Alarm, QkdRefusal, SourceSet, TunnelReport},
};
use bartizan_tests::{
    in_guest,
    testbed::{
        boot::{Boot, Clock},
        capture::{Capture, assert_nothing_clear},
        fleet::{Fleet, uml},
        flow::{Arrivals, Flow, Pace, let_pass},
        kernel::sas,
        plan::{Covers, Tunnel, plan},
        site::PEER_PORT,
        topology::{Family, Side},
    },
};

/// An order to the KME (see `src/kme/README.md`), and what the gateway beside it says is wrong: where it asks for a new
/// key (A), and where it asks for the one that the other end named (B).
type Row = (&'static str, [QkdRefusal; 2]);

const NO_KEY: [Row; 2] = [
    ("refuse", [QkdRefusal::Unavailable; 2]),
    ("hang", [QkdRefusal::TimedOut; 2]),
];

const BAD_KEY: [Row; 2] = [
    ("zero-key", [QkdRefusal::ZeroKey; 2]),
    ("repeated-key", [QkdRefusal::RepeatedKey; 2]),
];

/// The tunnel that requires QKD, and the one that can do without.
const STRICT: TunnelId = TunnelId(1);
const LENIENT: TunnelId = TunnelId(2);

const BOTH_SOURCES: SourceSet = SourceSet {
    qkd: true,
    kem: true,
    classical: false,
};
const KEM_ALONE: SourceSet = SourceSet {
    qkd: false,
    kem: true,
    classical: false,
};

/// Seconds until a successor is wanted, and until the pair is dead.
const LIFETIME: (u64, u64) = (5, 16);

/// More than the longest wait between two attempts.
const LIMIT: Duration = Duration::from_mins(2);

/// Between two looks at what has no event to wait for.
const LOOK: Duration = Duration::from_millis(250);

#[test]
fn a_kme_that_gives_no_key_blocks_what_requires_it_and_nothing_else() {
    in_guest!(guest(), || play(&NO_KEY));
}

#[test]
fn a_kme_that_gives_bad_keys_blocks_what_requires_it_and_nothing_else() {
    in_guest!(guest(), || play(&BAD_KEY));
}

fn guest() -> Boot {
    Boot::uml()
        .memory_mib(512)
        .limit(Duration::from_mins(5))
        .clock(Clock::Virtual)
}

fn play(rows: &[Row]) {
    let fleet = Fleet::start(&uml());
    let topology = Arc::clone(&fleet.topology);
    let capture = Capture::start(&topology, PEER_PORT);
    let tunnel = |id: TunnelId, family, need| Tunnel {
        qkd: Some(need),
        lifetime: LIFETIME,
        ..Tunnel::new(id.0, Covers::Lans(family))
    };
    let tunnels = [
        tunnel(STRICT, Family::V4, "required"),
        tunnel(LENIENT, Family::V6, "optional"),
    ];
    fleet.controller.apply(&plan(&tunnels), true);
    for &(order, reasons) in rows {
        for (side, reason) in Side::BOTH.into_iter().zip(reasons) {
            misbehave(&fleet, side, order, reason);
        }
    }
    println!("{:?}", assert_nothing_clear(&capture.stop()));
}

fn misbehave(fleet: &Fleet, side: Side, order: &str, reason: QkdRefusal) {
    let what = format!("{order} at {side:?}");
    let begun = Instant::now();
    // Right after a generation came up, so that none is on its way when the KME turns.
    let old = wait(fleet, &what, |fleet| ends(fleet, STRICT)).map(|end| epoch(&end));
    wait(fleet, &what, |fleet| {
        let ends = ends(fleet, STRICT)?;
        let young = ends.iter().zip(old).all(|(end, old)| epoch(end) > old);
        young.then_some(())
    });
    fleet.kme(side).order(order);
    let flow = flow(fleet);

    wait(fleet, &what, |fleet| {
        let ends = ends(fleet, STRICT)?;
        let mut alarms = ends.iter().filter_map(|end| end.alarm);
        alarms
            .any(|alarm| alarm == Alarm::Qkd(reason))
            .then_some(())
    });
    // What was fetched ahead, when the KME was honest, may have made a pair until now; from here on there is none.
    let last = spis(fleet);
    for arrivals in flow.stop() {
        assert!(arrivals.is_whole(), "{what}: {arrivals:?}");
    }
    let notice = format!("alarm: {:?}", Alarm::Qkd(reason));
    fleet.controller.wait_for(LIMIT, &what, |status| {
        let mut events = status.nodes.iter().flat_map(|node| &node.events);
        events.any(|event| event.event.ends_with(&notice))
    });
    wait(fleet, &what, |fleet| agreed(fleet, LENIENT, KEM_ALONE));

    wait(fleet, &what, |fleet| {
        let now = spis(fleet);
        assert!(now.is_subset(&last), "{what}: a new SA: {now:?}");
        now.is_empty().then_some(())
    });
    let _: [Arrivals; 2] = flow_of_nothing(fleet, &what);

    fleet.kme(side).order("honest");
    for tunnel in [STRICT, LENIENT] {
        wait(fleet, &what, |fleet| agreed(fleet, tunnel, BOTH_SOURCES));
    }
    println!("{what}: {reason:?}, {:?}", begun.elapsed());
}

/// Waits until there is what `look` looks for.
fn wait<T>(fleet: &Fleet, what: &str, look: impl Fn(&Fleet) -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look(fleet) {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: it does not come about: {:#?}",
            fleet.controller.status()
        );
        let_pass(LOOK);
    }
}

/// What both gateways say of a tunnel.
fn ends(fleet: &Fleet, tunnel: TunnelId) -> Option<[TunnelReport; 2]> {
    let [a, b] = fleet.gateways.each_ref().map(|gateway| {
        let tunnels = gateway.snapshot()?.tunnels;
        tunnels.into_iter().find(|report| report.tunnel == tunnel)
    });
    Some([a?, b?])
}

fn epoch(end: &TunnelReport) -> u64 {
    end.current.as_ref().map_or(0, |pair| pair.epoch.0)
}

/// Both ends protect by the same pair, made of these sources.
fn agreed(fleet: &Fleet, tunnel: TunnelId, sources: SourceSet) -> Option<()> {
    let [a, b] = ends(fleet, tunnel)?.map(|end| end.current);
    let (a, b) = (a?, b?);
    let same = a.epoch == b.epoch && a.inbound == b.outbound && a.outbound == b.inbound;
    (same && a.sources == Some(sources) && b.sources == Some(sources)).then_some(())
}

/// The SAs of the strict tunnel at both gateways.
fn spis(fleet: &Fleet) -> BTreeSet<u32> {
    let sides = Side::BOTH.into_iter();
    let all = sides.flat_map(|side| sas(&fleet.topology.side(side).gateway));
    all.filter(|sa| sa.source.is_ipv4() && sa.reqid == reqid(fleet))
        .map(|sa| sa.spi)
        .collect()
}

fn reqid(fleet: &Fleet) -> u32 {
    let ends = ends(fleet, STRICT).expect("a tunnel");
    ends[0].reqid.into()
}

fn flow(fleet: &Fleet) -> Flow {
    let pace = Pace {
        per_second: 20,
        size: 64,
    };
    let ends = Covers::Lans(Family::V4).hosts(&fleet.topology);
    Flow::start(ends, 5001, pace)
}

/// Sends for a while where nothing may pass.
fn flow_of_nothing(fleet: &Fleet, what: &str) -> [Arrivals; 2] {
    let flow = flow(fleet);
    let_pass(Duration::from_secs(1));
    flow.stop().map(|arrivals| {
        assert_eq!(arrivals.received, 0, "{what}: {arrivals:?}");
        arrivals
    })
}
