//! An SA outlives its first lease, and none outlives its end. Hours pass in virtual time.

use std::time::{Duration, Instant};

use bartizan_model::{
    message::{SaInstall, XfrmToEngine},
    policy::{Lifetime, Mode},
};
use bartizan_tests::{
    in_guest,
    testbed::{
        boot::{Boot, Clock},
        flow::{Flow, Pace, let_pass},
        netns::Netns,
        topology::{Family, Side, Topology},
    },
};
use bartizan_xfrm::{Outcome, Request, SaShown, Shown};

use crate::{
    orders::{Covers, MODES, Tunnel, UNLIMITED, seconds},
    station::{Station, kernel, remove_sa},
};

/// What a lease gives an SA.
pub(crate) const LEASE: u64 = 300;

/// How far a kernel's timer may strike before the end: it counts whole seconds.
pub(crate) const EARLY: Duration = Duration::from_millis(1010);

/// What a loop needs to do what is due.
pub(crate) const LATE: Duration = Duration::from_millis(100);

/// A few packets a second, so that hours of them cost little.
pub(crate) const SLOW: Pace = Pace {
    per_second: 4,
    size: 100,
};

pub(crate) fn virtual_time() -> Boot {
    Boot::uml()
        .clock(Clock::Virtual)
        .limit(Duration::from_mins(2))
}

/// Both SAs of a tunnel, at both ends.
pub(crate) fn install(
    stations: &mut [Station; 2],
    tunnel: Tunnel,
    hard: Lifetime,
) -> Vec<(usize, SaInstall)> {
    let mut installed = Vec::new();
    for (place, side) in Side::BOTH.into_iter().enumerate() {
        stations[place].protect(side, tunnel);
        for sender in Side::BOTH {
            let spi = 0x1000 + tunnel.reqid * 2 + u32::from(sender == Side::B);
            let sa = tunnel.sa(side, sender, spi, hard);
            stations[place].install(sa.clone());
            installed.push((place, sa));
        }
    }
    installed
}

pub(crate) fn flow(topology: &Topology, tunnel: Tunnel, port: u16, pace: Pace) -> Flow {
    let end = |side: Side| match tunnel.covers {
        Covers::Lans => (&topology.side(side).lan, side.lan_host(tunnel.family)),
        Covers::Gateways | Covers::Everything => {
            (&topology.side(side).gateway, side.wan(tunnel.family))
        }
    };
    Flow::start(Side::BOTH.map(end), port, pace)
}

pub(crate) fn shown(gateway: &Netns, sa: &SaInstall) -> Option<SaShown> {
    match kernel(gateway).carry_out(&Request::ShowSa(sa.id)) {
        Outcome::Shown(Shown::Sa(shown)) => Some(*shown),
        Outcome::Refused(refusal) => {
            assert_eq!(refusal.errno, 3, "{refusal:?}");
            None
        }
        Outcome::Done | Outcome::Shown(_) | Outcome::Unknown => panic!("the kernel shows no SA"),
    }
}

#[test]
fn an_sa_that_no_lease_renews_ends_with_it_and_is_reported_once() {
    in_guest!(virtual_time(), || {
        let topology = Topology::new();
        let mut stations = Station::begin_both(&topology);
        let tunnel = Tunnel::new(Family::V4, Mode::Tunnel);
        let mut ends = Vec::new();
        // Installed at odd moments of a second.
        for number in 0..20_u32 {
            let sa = tunnel.sa(Side::A, Side::A, 0x2000 + number, seconds(LEASE));
            let before = Instant::now();
            stations[0].install(sa.clone());
            ends.push((sa.id, before + Duration::from_secs(LEASE)));
            stations[0].attend_for(Duration::from_millis(137));
        }
        let started = Instant::now();
        let reports = stations[0].attend_for(Duration::from_secs(LEASE + 10));
        assert_eq!(reports.len(), ends.len(), "{reports:?}");
        for (id, end) in ends {
            let hard = XfrmToEngine::Expired {
                sa: id,
                reqid: tunnel.reqid,
                hard: true,
            };
            let (passed, _) = reports.iter().find(|(_, report)| *report == hard).unwrap();
            let at = started + *passed;
            assert!(at + EARLY >= end, "{id:?} ended {:?} early", end - at);
            assert!(at <= end + LATE, "{id:?} ended {:?} late", at - end);
        }
        assert_eq!(stations[0].list(), []);
    });
}

#[test]
fn three_renewals_carry_an_sa_without_a_packet_lost() {
    in_guest!(virtual_time(), || {
        let topology = Topology::new();
        let mut stations = Station::begin_both(&topology);
        let tunnel = Tunnel::new(Family::V4, Mode::Tunnel);
        let installed = install(&mut stations, tunnel, seconds(LEASE));
        let flow = flow(&topology, tunnel, 5000, SLOW);
        let started = Instant::now();
        for renewal in 1..=3_u64 {
            for station in &mut stations {
                assert_eq!(station.attend_for(Duration::from_secs(LEASE / 4)), []);
            }
            for (place, sa) in &installed {
                let side = topology.side(Side::BOTH[*place]);
                let before = shown(&side.gateway, sa).unwrap();
                assert!(matches!(
                    stations[*place].extend(sa.clone()),
                    XfrmToEngine::Done(_)
                ));
                let after = shown(&side.gateway, sa).unwrap();
                println!(
                    "renewal {renewal}: {:?} -> {:?}",
                    before.limits, after.limits
                );
                // Time still counts from the first installation, nothing else has begun anew.
                assert_eq!(after.used.added, before.used.added);
                assert!(after.used.packets >= before.used.packets);
                let (before, after) = (before.replay.unwrap(), after.replay.unwrap());
                assert!(after.sent >= before.sent && after.received >= before.received);
                assert_eq!(after.window, before.window);
                // Some hundred packets went under each SA since the last renewal.
                assert!(after.sent.max(after.received) > 250 * renewal, "{after:?}");
            }
        }
        let ends = started.elapsed() + Duration::from_secs(LEASE);
        let [first, second] = flow.stop();
        assert!(
            first.is_whole() && second.is_whole(),
            "{first:?} {second:?}"
        );
        assert!(first.received > 4 * 300, "{first:?}");

        for station in &mut stations {
            let rest = ends.saturating_sub(started.elapsed() + EARLY);
            assert_eq!(station.attend_for(rest), []);
            assert_eq!(station.list().len(), 2);
        }
        for station in &mut stations {
            let reports = station.attend_for(Duration::from_secs(3));
            assert_eq!(reports.len(), 2, "{reports:?}");
            assert_eq!(station.list(), []);
        }
    });
}

#[test]
fn the_kernel_ends_an_extended_sa_when_nobody_attends() {
    in_guest!(virtual_time(), || {
        let topology = Topology::new();
        let mut station = Station::begin(&topology.a.gateway, &crate::orders::config(Side::A));
        let tunnel = Tunnel::new(Family::V6, Mode::Tunnel);
        let sa = tunnel.sa(Side::A, Side::A, 0x3000, seconds(LEASE));
        station.install(sa.clone());
        let_pass(Duration::from_millis(100_700));
        station.extend(sa.clone());
        let_pass(Duration::from_secs(LEASE).saturating_sub(EARLY));
        assert!(station.stands(sa.id));
        let_pass(EARLY + LATE);
        assert!(!station.stands(sa.id));
        assert_eq!(station.programmer.counts().overdue, 0);
    });
}

#[test]
fn the_soft_limit_is_reported_again_after_an_extension() {
    in_guest!(virtual_time(), || {
        let topology = Topology::new();
        let mut station = Station::begin(&topology.a.gateway, &crate::orders::config(Side::A));
        let tunnel = Tunnel::new(Family::V4, Mode::Transport);
        let mut sa = tunnel.sa(Side::A, Side::B, 0x3001, seconds(LEASE));
        sa.soft = seconds(100);
        station.install(sa.clone());
        let soft = XfrmToEngine::Expired {
            sa: sa.id,
            reqid: tunnel.reqid,
            hard: false,
        };
        let once = station.attend_for(Duration::from_secs(150));
        assert_eq!(once.len(), 1, "{once:?}");
        assert_eq!(once[0].1, soft);
        assert!(
            once[0].0.abs_diff(Duration::from_secs(100)) < EARLY,
            "{once:?}"
        );
        station.extend(sa.clone());
        let again = station.attend_for(Duration::from_secs(10));
        assert_eq!(again.len(), 1, "{again:?}");
        assert_eq!(again[0].1, soft);
        assert!(station.stands(sa.id));
    });
}

#[test]
fn bytes_and_packets_of_before_an_extension_count() {
    in_guest!(virtual_time(), || {
        let topology = Topology::new();
        for (number, mode) in MODES.into_iter().enumerate() {
            let mut stations = Station::begin_both(&topology);
            let tunnel = Tunnel::new(Family::V4, mode);
            let limits = Lifetime {
                seconds: Some(LEASE),
                packets: Some(40),
                ..UNLIMITED
            };
            let installed = install(&mut stations, tunnel, limits);
            let pace = Pace {
                per_second: 50,
                size: 100,
            };
            let port = 5000 + u16::try_from(number).unwrap();
            let flow = flow(&topology, tunnel, port, pace);
            let_pass(Duration::from_millis(400));
            for (place, sa) in &installed {
                stations[*place].extend(sa.clone());
            }
            let expired = stations[0].report(Duration::from_secs(10));
            assert!(
                matches!(expired, XfrmToEngine::Expired { hard: true, .. }),
                "{expired:?}"
            );
            for arrivals in flow.stop() {
                assert!(arrivals.received <= 40, "{arrivals:?}");
                assert!(arrivals.received > 10, "{arrivals:?}");
            }
        }
    });
}

#[test]
fn an_sa_that_is_gone_cannot_be_extended() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let mut station = Station::begin(&topology.a.gateway, &crate::orders::config(Side::A));
        let tunnel = Tunnel::new(Family::V6, Mode::Transport);
        let sa = tunnel.sa(Side::A, Side::A, 0x3002, seconds(LEASE));
        let never = station.extend(sa.clone());
        assert!(
            matches!(never, XfrmToEngine::Refused { errno: 3, .. }),
            "{never:?}"
        );
        station.install(sa.clone());
        station.done(remove_sa(sa.id), None);
        let gone = station.extend(sa.clone());
        assert!(
            matches!(gone, XfrmToEngine::Refused { errno: 3, .. }),
            "{gone:?}"
        );
        let twice = station.order(remove_sa(sa.id), None);
        assert!(
            matches!(twice, XfrmToEngine::Refused { errno: 3, .. }),
            "{twice:?}"
        );
        for bad in [Some(0), None] {
            let mut sa = sa.clone();
            sa.hard.seconds = bad;
            station.install(tunnel.sa(Side::A, Side::A, 0x3002, seconds(LEASE)));
            let reply = station.extend(sa.clone());
            let expected = bad.is_none();
            assert_eq!(
                matches!(reply, XfrmToEngine::Done(_)),
                expected,
                "{bad:?}: {reply:?}"
            );
            station.done(remove_sa(sa.id), None);
        }
    });
}

#[test]
fn a_larval_sa_takes_the_throw_away_key_and_no_packet() {
    in_guest!(virtual_time(), || {
        let topology = Topology::new();
        let mut stations = Station::begin_both(&topology);
        let tunnel = Tunnel::new(Family::V4, Mode::Transport);
        let installed = install(&mut stations, tunnel, seconds(LEASE));
        // A's inbound SA becomes a larval one of the same SPI.
        let (_, sa) = &installed[1];
        stations[0].done(remove_sa(sa.id), None);
        let model = bartizan_xfrm::KernelSa::of(sa).unwrap();
        let (low, high) = (sa.id.spi, sa.id.spi);
        let request = Request::AllocateSpi {
            sa: &model,
            low,
            high,
        };
        let allocated = kernel(&topology.a.gateway).carry_out(&request);
        let Outcome::Shown(Shown::Sa(larval)) = allocated else {
            panic!("{allocated:?}");
        };
        assert_eq!(larval.id(), Some(sa.id));
        let extended = stations[0].extend(sa.clone());
        assert!(matches!(extended, XfrmToEngine::Done(_)), "{extended:?}");
        let flow = flow(
            &topology,
            tunnel,
            5000,
            Pace {
                per_second: 50,
                size: 100,
            },
        );
        let_pass(Duration::from_millis(500));
        let [from_b, from_a] = flow.stop();
        assert_eq!(from_b.received, 0, "{from_b:?}");
        assert!(from_a.received > 10, "{from_a:?}");
    });
}
