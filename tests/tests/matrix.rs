//! Every mix of sources, with every combiner, over every interface of a KME: each brings a tunnel up and rekeys it
//! under a steady flow. What must come of it stands in `matrix.txt`; the interface matters only where QKD is in.

use core::fmt::Write as _;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_model::{
    config::KmeInterface,
    ids::TunnelId,
    report::{SourceSet, TunnelReport},
};
use bartizan_tests::{
    in_guest,
    testbed::{
        boot::{Boot, Clock},
        capture::{Capture, assert_nothing_clear},
        fleet::{Fleet, uml},
        flow::{Arrivals, Flow, Pace, let_pass},
        plan::{Covers, Tunnel, plan},
        site::{Choices, PEER_PORT},
    },
};

/// What must come of it, and over which interface each row is played.
const TABLE: &str = include_str!("matrix.txt");

const COMBINERS: [&str; 3] = ["hmac", "xor", "xorhmac"];

const PACE: Pace = Pace {
    per_second: 20,
    size: 64,
};

/// The line's delay: packets are on their way whenever a key changes.
const DELAY: Duration = Duration::from_millis(7);

/// More than all tunnels need for their rekeys.
const LIMIT: Duration = Duration::from_mins(5);

/// Between two looks at what has no event to wait for.
const LOOK: Duration = Duration::from_millis(500);

/// The first flow's port: each tunnel has its own.
const PORT: u16 = 5000;

/// A row of the table.
#[derive(Clone, Copy, Debug)]
struct Row {
    sources: SourceSet,
    combiner: &'static str,
}

#[test]
fn every_mix_rekeys_without_loss_over_014() {
    in_guest!(guest(), || play(
        KmeInterface::Etsi014,
        &["014", "no KME"],
        &rows()
    ));
}

#[test]
fn every_mix_with_qkd_rekeys_without_loss_over_004_in_binary() {
    in_guest!(guest(), || play(
        KmeInterface::Etsi004Binary,
        &["004 binary"],
        &rows_with_qkd()
    ));
}

#[test]
fn every_mix_with_qkd_rekeys_without_loss_over_004_in_json() {
    in_guest!(guest(), || play(
        KmeInterface::Etsi004Json,
        &["004 JSON"],
        &rows_with_qkd()
    ));
}

fn guest() -> Boot {
    Boot::uml()
        .memory_mib(512)
        .clock(Clock::Virtual)
        .limit(Duration::from_mins(4))
}

/// Every set of sources but the empty one, with every combiner.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for bits in 1..8_u8 {
        for combiner in COMBINERS {
            let sources = SourceSet {
                qkd: bits & 4 != 0,
                kem: bits & 2 != 0,
                classical: bits & 1 != 0,
            };
            rows.push(Row { sources, combiner });
        }
    }
    rows
}

fn rows_with_qkd() -> Vec<Row> {
    rows().into_iter().filter(|row| row.sources.qkd).collect()
}

fn play(interface: KmeInterface, names: &[&str], rows: &[Row]) {
    let choices = Choices { interface, ..uml() };
    let fleet = Fleet::start(&choices);
    let topology = Arc::clone(&fleet.topology);
    topology.degrade(DELAY, 0);
    let capture = Capture::start(&topology, PEER_PORT);
    let tunnels: Vec<Tunnel> = (1..).zip(rows).map(|(id, row)| row.tunnel(id)).collect();
    fleet.controller.apply(&plan(&tunnels), true);
    let flows: Vec<Flow> = tunnels
        .iter()
        .zip(PORT..)
        .map(|(tunnel, port)| Flow::start(tunnel.covers.hosts(&topology), port, PACE))
        .collect();

    let rekeys = |end: &TunnelReport| end.rekeys;
    let before: Vec<u64> = wait(&fleet, &tunnels, |_, _| true)
        .iter()
        .map(|ends| ends.iter().map(rekeys).max().unwrap_or_default())
        .collect();
    let ends = wait(&fleet, &tunnels, |place, end| end.rekeys > before[place]);
    let arrivals: Vec<[Arrivals; 2]> = flows.into_iter().map(Flow::stop).collect();
    let counts = assert_nothing_clear(&capture.stop());
    // Whatever came has been on the line, and there was nothing but ESP.
    let came: u64 = arrivals.iter().flatten().map(|end| end.received).sum();
    let on_the_line = u64::try_from(counts.esp).expect("a 64-bit machine");
    assert!(on_the_line >= came, "{came} came: {counts:?}");

    let mut measured = String::new();
    for ((row, ends), arrivals) in rows.iter().zip(&ends).zip(&arrivals) {
        let interface = if row.sources.qkd { names[0] } else { "no KME" };
        let made_of = ends.each_ref().map(|end| {
            let pair = end
                .current
                .as_ref()
                .expect("a pair that both ends agree on");
            pair.sources.map_or("unknown".to_owned(), text)
        });
        let lost: u64 = arrivals.iter().map(|end| end.lost + end.unsent).sum();
        let whole = arrivals.iter().all(Arrivals::is_whole);
        writeln!(
            measured,
            "{interface} | {} | {} | {} | {} | {}",
            text(row.sources),
            row.combiner,
            made_of.join(" = "),
            if whole { "yes" } else { "no" },
            lost,
        )
        .expect("write to memory");
        println!(
            "{} {}: {} rekeys, {} packets",
            text(row.sources),
            row.combiner,
            ends[0].rekeys,
            arrivals[0].sent + arrivals[1].sent
        );
    }
    let is_ours = |line: &&str| {
        names
            .iter()
            .any(|name| line.starts_with(&format!("{name} |")))
    };
    let stated: Vec<&str> = TABLE.lines().filter(is_ours).collect();
    let mut lines: Vec<&str> = measured.lines().collect();
    lines.sort_unstable();
    let mut expected = stated.clone();
    expected.sort_unstable();
    assert_eq!(lines, expected, "--- measured:\n{measured}");
    println!("{measured}{counts:?}");
}

impl Row {
    /// A tunnel of its own ports that rekeys as often as it may.
    fn tunnel(self, id: u32) -> Tunnel {
        let need = |wanted: bool| wanted.then_some("required");
        let port = PORT + u16::try_from(id).expect("few tunnels") - 1;
        Tunnel {
            qkd: need(self.sources.qkd),
            kem: need(self.sources.kem),
            x25519: need(self.sources.classical),
            combiner: self.combiner,
            lifetime: (2, 120),
            ..Tunnel::new(id, Covers::Port(port))
        }
    }
}

/// Waits until both ends of each tunnel agree and are as wanted, each once; what they say then.
fn wait(
    fleet: &Fleet,
    tunnels: &[Tunnel],
    is_it: impl Fn(usize, &TunnelReport) -> bool,
) -> Vec<[TunnelReport; 2]> {
    let deadline = Instant::now() + LIMIT;
    let mut all = Vec::new();
    for (place, tunnel) in tunnels.iter().enumerate() {
        loop {
            let ends = ends(fleet, TunnelId(tunnel.id));
            let good =
                |ends: &[TunnelReport; 2]| agreed(ends) && ends.iter().all(|end| is_it(place, end));
            if let Some(ends) = ends.clone().filter(good) {
                all.push(ends);
                break;
            }
            assert!(Instant::now() < deadline, "{tunnel:?}: {ends:#?}");
            let_pass(LOOK);
        }
    }
    all
}

/// What both gateways say of a tunnel.
fn ends(fleet: &Fleet, tunnel: TunnelId) -> Option<[TunnelReport; 2]> {
    let [a, b] = fleet.gateways.each_ref().map(|gateway| {
        let tunnels = gateway.snapshot()?.tunnels;
        tunnels.into_iter().find(|report| report.tunnel == tunnel)
    });
    Some([a?, b?])
}

/// Both ends protect by the same pair, and none complains.
fn agreed([a, b]: &[TunnelReport; 2]) -> bool {
    let quiet = a.alarm.is_none() && b.alarm.is_none();
    let same = a.current.as_ref().zip(b.current.as_ref());
    quiet
        && same.is_some_and(|(a, b)| {
            a.epoch == b.epoch && a.inbound == b.outbound && a.outbound == b.inbound
        })
}

fn text(sources: SourceSet) -> String {
    let names = [
        (sources.qkd, "QKD"),
        (sources.kem, "ML-KEM"),
        (sources.classical, "X25519"),
    ];
    let names: Vec<&str> = names
        .into_iter()
        .filter_map(|(is_in, name)| is_in.then_some(name))
        .collect();
    names.join("+")
}
