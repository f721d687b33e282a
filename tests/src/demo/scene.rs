//! What happens, in order, and what is measured on the way.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bartizan_controller::status::{EndReport, Status, TunnelStatus};

use super::{
    machine::{Machine, log},
    progress::Progress,
    report::{Line, Promise, Report, Tunnel},
    tampering,
};
use crate::pki::Kind;
use crate::testbed::{
    boot::Kernel,
    capture::{Capture, Frame, count},
    fleet::{ControllerProcess, KmeProcess, protects},
    flow::{Arrivals, Flow, MARKER, Pace},
    plan::{Covers, Tunnel as Planned, plan},
    site::{Choices, PEER_PORT, Site},
    topology::{Family, Side, Topology},
};

/// How long two machines without KVM may take to come up and to enrol.
pub(super) const BOOT: Duration = Duration::from_mins(4);

/// How long any other step may take.
const STEP: Duration = Duration::from_mins(1);

/// Packets a second, each way, in each tunnel.
const PER_SECOND: u32 = 200;

/// From the port of a flow to that of the one before it, whose last words must not be mistaken.
const EARLY: u16 = 100;

/// The same of one that goes on while a gateway is touched.
const LATE: u16 = 200;

/// How often a gateway attests: often, so that what a touched one loses can be watched.
const CADENCE: Duration = Duration::from_secs(10);

/// How long a lease lives.
const LEASE: Duration = Duration::from_mins(1);

/// Rekeys under load before the KME dies.
const REKEYS: u64 = 3;

/// A tunnel of the demonstration.
struct Act {
    id: u32,
    name: &'static str,
    family: Family,
    qkd: &'static str,
    port: u16,
}

/// One that nothing but QKD and ML-KEM together may key, one that may live on ML-KEM alone.
const ACTS: [Act; 2] = [
    Act {
        id: 1,
        name: "IPv4, QKD required",
        family: Family::V4,
        qkd: "required",
        port: 5001,
    },
    Act {
        id: 2,
        name: "IPv6, QKD optional",
        family: Family::V6,
        qkd: "optional",
        port: 5002,
    },
];

/// What became of a tunnel while the KME was dead.
struct Outage {
    text: [String; 2],
    alarmed: bool,
    went_on: bool,
}

/// Plays the whole of it in `folder`, which is kept if something breaks.
///
/// # Panics
/// If something does not come about; with what is known.
pub fn play(folder: &Path) -> Report {
    let mut progress = Progress::start();
    progress.step("wiring two sites, a line between them, two KMEs and a controller");
    let choices = Choices {
        cadence: CADENCE,
        lease: LEASE,
        ..Choices::usual(Kernel::Vm)
    };
    let topology = Topology::for_guests();
    fs::create_dir_all(folder).expect("make the demonstration's folder");
    let site = Site::from_factory(folder, &choices, [Kind::Idevid, Kind::Ek]);
    let kme = |side: Side| KmeProcess::start(&topology.side(side).kme, &site, side, &choices);
    let [mut kme_a, kme_b] = Side::BOTH.map(|side| Some(kme(side)));
    let controller = ControllerProcess::start(&topology.controller, &site);
    controller.expect_boxes(&site, &choices);
    let capture = Capture::start(&topology, PEER_PORT);

    progress.step(
        "powering on two boxes that nobody owns (QEMU, software TPMs, locked down as they ship)",
    );
    let began = Instant::now();
    let boot = |side| Machine::boot(&topology, &site, side);
    let [a, b] = Side::BOTH.map(boot);
    let mut stage = Stage {
        controller: &controller,
        progress: &mut progress,
        folders: [a.folder(), b.folder()],
    };
    stage.until(
        BOOT,
        "both found their owner by its voucher, enrolled, attested and hold a lease",
        |status| status.nodes.len() == 2 && status.nodes.iter().all(|node| node.leases > 0),
    );
    let factory_to_lease_ms = millis(began.elapsed());

    // The flows run before there is a policy: nothing of them may reach the line in clear.
    let flows = ACTS.map(|act| {
        let ends = Side::BOTH.map(|side| (&topology.side(side).lan, side.lan_host(act.family)));
        let pace = Pace {
            per_second: PER_SECOND,
            size: 400,
        };
        (ends, act.port, pace)
    });
    let early = flows.map(|(ends, port, pace)| Flow::start(ends, port + EARLY, pace));
    stage.step("applying two tunnels while the LANs already send");
    controller.apply(&plan(&ACTS.each_ref().map(Act::planned)), false);
    let first = stage.until(STEP, "both tunnels protect at both ends", |status| {
        status.tunnels.len() == 2 && status.tunnels.iter().all(|tunnel| protects(tunnel, 1))
    });
    for flow in early {
        // What came before the tunnels stood is no promise.
        let _: [Arrivals; 2] = flow.stop();
    }

    let counted = flows.map(|(ends, port, pace)| Flow::start(ends, port, pace));
    stage.step("sending 200 packets/s each way in each tunnel, and rekeying under it");
    let before = stage.until(STEP, "three rekeys of each tunnel", |status| {
        status.tunnels.iter().all(|tunnel| rekeys(tunnel) >= REKEYS)
    });

    stage.step("killing the KME beside gateway A");
    if let Some(kme) = kme_a.take() {
        kme.kill();
    }
    let dead = stage.until(STEP, "an alarm there, ML-KEM alone here", |status| {
        let [strict, lenient] = ACTS.each_ref().map(|act| act.tunnel(status));
        alarm(strict).is_some() && sources(lenient) == "ML-KEM"
    });
    let outage = Outage::of(&before, &dead);

    stage.step("bringing it back");
    kme_a = Some(kme(Side::A));
    let last = stage.until(STEP, "QKD in both keys again, no alarm", |status| {
        ACTS.iter().all(|act| {
            let (tunnel, then) = (act.tunnel(status), act.tunnel(&dead));
            let fresh = rekeys(tunnel) > rekeys(then);
            fresh && sources(tunnel) == "QKD + ML-KEM" && alarm(tunnel).is_none()
        })
    });

    stage.step("counting");
    let arrivals = counted.map(Flow::stop);
    // What is sent while a gateway has no keys must not reach the line.
    let late = flows.map(|(ends, port, pace)| Flow::start(ends, port + LATE, pace));
    let (tampering, b) = tampering::play(&mut stage, &a, b, CADENCE, || boot(Side::B));
    for flow in late {
        let _: [Arrivals; 2] = flow.stop();
    }
    let line = line(&capture.stop());
    drop((kme_a, kme_b, a, b));
    let tunnels = ACTS.each_ref().map(|act| {
        let index = usize::from(act.id > 1);
        act.report(&first, &last, outage.text[index].clone(), arrivals[index])
    });
    progress.step("done");
    let mut promises = promises(&tunnels, &line, &outage);
    promises.push(tampering.promise());
    Report {
        factory_to_lease_ms,
        tunnels: tunnels.into(),
        tampering,
        line,
        promises,
    }
}

/// Where the demonstration stands: who knows how the gateways are, who is told.
pub(super) struct Stage<'a> {
    controller: &'a ControllerProcess,
    progress: &'a mut Progress,
    folders: [PathBuf; 2],
}

impl Stage<'_> {
    /// Tells of a step.
    pub(super) fn step(&mut self, text: &str) {
        self.progress.step(text);
    }

    /// Looks at another machine where it looked at `side`'s before.
    pub(super) fn look_at(&mut self, side: Side, machine: &Machine) {
        let [a, b] = &mut self.folders;
        let folder = match side {
            Side::A => a,
            Side::B => b,
        };
        *folder = machine.folder();
    }

    /// What the controller knows.
    pub(super) fn status(&self) -> Status {
        self.controller.status()
    }

    /// Waits until the status is as wanted, and tells so.
    ///
    /// # Panics
    /// If it does not come so within `limit`; with the status and the gateways' logs.
    pub(super) fn until(
        &mut self,
        limit: Duration,
        what: &str,
        is_it: impl Fn(&Status) -> bool,
    ) -> Status {
        let deadline = Instant::now() + limit;
        let status = self.controller.wait_for(limit, what, |status| {
            self.progress.passing(&passing(status));
            let there = is_it(status);
            if !there && Instant::now() + Duration::from_millis(200) > deadline {
                let [a, b] = self.folders.each_ref().map(|folder| log(folder));
                panic!("{status:#?}\n{what}\ngateway A:\n{a}\ngateway B:\n{b}");
            }
            there
        });
        self.progress.step(what);
        status
    }
}

impl Act {
    fn planned(&self) -> Planned {
        Planned {
            qkd: Some(self.qkd),
            // Soft, then hard: a KME may be dead for half a minute before traffic stops.
            lifetime: (4, 60),
            ..Planned::new(self.id, Covers::Lans(self.family))
        }
    }

    fn tunnel<'status>(&self, status: &'status Status) -> &'status TunnelStatus {
        let mut tunnels = status.tunnels.iter();
        tunnels
            .find(|tunnel| tunnel.id == self.id)
            .expect("a tunnel of the plan")
    }

    fn report(
        &self,
        first: &Status,
        last: &Status,
        outage: String,
        arrivals: [Arrivals; 2],
    ) -> Tunnel {
        let tunnel = self.tunnel(last);
        let spi = |end: usize| {
            let report = tunnel.ends.get(end).and_then(|end| end.report.as_ref());
            report
                .and_then(|report| report.inbound)
                .map_or_else(|| "-".to_owned(), |spi| format!("{spi:#010x}"))
        };
        Tunnel {
            name: self.name.to_owned(),
            apply_to_protected_ms: self.tunnel(first).protected_after.unwrap_or(0),
            sources: sources(tunnel),
            rekeys: rekeys(tunnel),
            spis: [spi(0), spi(1)],
            outage,
            arrivals: [arrivals[1], arrivals[0]],
        }
    }
}

impl Outage {
    fn of(before: &Status, dead: &Status) -> Self {
        let [strict, lenient] = ACTS.each_ref().map(|act| act.tunnel(dead));
        let strict_before = ACTS[0].tunnel(before);
        let reason = alarm(strict).unwrap_or_default();
        Self {
            text: [
                format!("alarm {reason}; the pair at work went on"),
                format!("keyed by {}, reported", sources(lenient)),
            ],
            alarmed: !reason.is_empty() && sources(strict) == "QKD + ML-KEM",
            went_on: strict.protected && strict_before.protected,
        }
    }
}

fn promises(tunnels: &[Tunnel], line: &Line, outage: &Outage) -> Vec<Promise> {
    let lost: u64 = arrivals(tunnels).map(|end| end.lost + end.unsent).sum();
    let received: u64 = arrivals(tunnels).map(|end| end.received).sum();
    let fewest = tunnels.iter().map(|tunnel| tunnel.rekeys).min();
    let promise = |text: &str, held, measured: String| Promise {
        text: text.to_owned(),
        held,
        measured,
    };
    vec![
        promise(
            "nothing of a protected network stands on the line in clear, from the first packet on",
            line.clear == 0 && line.other.is_empty() && line.esp > 0,
            format!(
                "{} in clear, {} not accounted for, {} ESP",
                line.clear,
                line.other.len(),
                line.esp
            ),
        ),
        promise(
            "a rekey loses no packet, nor does a KME that dies",
            lost == 0 && arrivals(tunnels).all(Arrivals::is_whole),
            format!("{lost} lost of {}", lost + received),
        ),
        promise(
            "tunnels rekey under load, again and again",
            fewest >= Some(REKEYS),
            format!("at least {} each", fewest.unwrap_or(0)),
        ),
        promise(
            "where QKD is required no key is made without it, and an alarm says why",
            outage.alarmed && outage.went_on,
            outage.text[0].clone(),
        ),
        promise(
            "where QKD is optional both ends agree on ML-KEM alone, and report it",
            outage.text[1].contains("ML-KEM, reported"),
            outage.text[1].clone(),
        ),
    ]
}

fn arrivals(tunnels: &[Tunnel]) -> impl Iterator<Item = &Arrivals> {
    tunnels.iter().flat_map(|tunnel| &tunnel.arrivals)
}

fn line(frames: &[Frame]) -> Line {
    let counts = count(frames);
    let clear = frames.iter().filter(|frame| {
        frame
            .packet
            .windows(MARKER.len())
            .any(|window| window == MARKER)
    });
    Line {
        clear: clear.count(),
        esp: counts.esp,
        peer: counts.peer,
        neighbours: counts.neighbours,
        path_mtu: counts.path_mtu,
        other: counts.violations,
    }
}

/// The line that a terminal shows while it waits.
fn passing(status: &Status) -> String {
    let tunnels = status.tunnels.iter().map(|tunnel| {
        let ends = reports(tunnel).map(|end| {
            let epoch = end.epoch.unwrap_or(0);
            format!("{} e{epoch}", end.state)
        });
        let ends: Vec<String> = ends.collect();
        format!(
            "tunnel {}: {} [{}]",
            tunnel.id,
            ends.join(" / "),
            sources(tunnel)
        )
    });
    let tunnels: Vec<String> = tunnels.collect();
    let homes = status.nodes.iter().filter(|node| node.address.is_some());
    format!(
        "{} of 2 gateways home  {}",
        homes.count(),
        tunnels.join("  ")
    )
}

/// The sources that both ends name; a question mark where they differ.
fn sources(tunnel: &TunnelStatus) -> String {
    let mut ends = reports(tunnel).map(|end| end.sources.clone().unwrap_or_default());
    let first = ends.next().unwrap_or_default();
    if ends.any(|other| other != first) {
        return "?".to_owned();
    }
    let words = first.iter().map(|source| match source.as_str() {
        "qkd" => "QKD",
        "kem" => "ML-KEM",
        "x25519" => "X25519",
        other => other,
    });
    words.collect::<Vec<_>>().join(" + ")
}

fn rekeys(tunnel: &TunnelStatus) -> u64 {
    reports(tunnel).map(|end| end.rekeys).min().unwrap_or(0)
}

fn alarm(tunnel: &TunnelStatus) -> Option<String> {
    reports(tunnel).find_map(|end| end.alarm.clone())
}

fn reports(tunnel: &TunnelStatus) -> impl Iterator<Item = &EndReport> {
    tunnel.ends.iter().filter_map(|end| end.report.as_ref())
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
