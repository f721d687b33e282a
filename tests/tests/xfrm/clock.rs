//! However the clock is set, an SA ends when it was to end. Hours pass in virtual time.

use std::time::{Duration, Instant};

use bartizan_model::{
    message::{SaId, XfrmToEngine},
    policy::Mode,
};
use bartizan_tests::{
    in_guest,
    testbed::{
        flow::let_pass,
        topology::{Family, Side, Topology},
    },
};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

use crate::{
    orders::{Tunnel, config, seconds},
    renewal::{EARLY, LATE, LEASE, SLOW, flow, install, shown, virtual_time},
    station::Station,
};

const HOUR: i64 = 3600;

/// Sets the clock forward, or back by a negative step.
fn step(seconds: i64) {
    let now = clock_gettime(ClockId::Realtime);
    let then = Timespec {
        tv_sec: now.tv_sec + seconds,
        ..now
    };
    clock_settime(ClockId::Realtime, then).unwrap();
}

/// An SA and when it is to end.
struct Due {
    id: SaId,
    soft: Instant,
    hard: Instant,
}

/// Installs SAs with all kinds of limits at odd moments of a second.
fn install_many(station: &mut Station, tunnel: Tunnel) -> Vec<Due> {
    let mut due = Vec::new();
    for number in 0..30_u32 {
        let soft = 20 + 7 * u64::from(number);
        let hard = soft + 10 + u64::from(number % 5) * 13;
        let mut sa = tunnel.sa(Side::A, Side::A, 0x4000 + number, seconds(hard));
        sa.soft = seconds(soft);
        let now = Instant::now();
        station.install(sa.clone());
        due.push(Due {
            id: sa.id,
            soft: now + Duration::from_secs(soft),
            hard: now + Duration::from_secs(hard),
        });
        assert_eq!(station.attend_for(Duration::from_millis(97)), []);
    }
    due
}

/// Every limit was reported in its time, the hard one exactly once.
fn check(due: &[Due], started: Instant, reports: &[(Duration, XfrmToEngine)]) {
    for sa in due {
        let at = |wanted: bool| {
            let matching = reports.iter().filter(|(_, report)| {
                matches!(report, XfrmToEngine::Expired { sa: id, hard, .. }
                    if *id == sa.id && *hard == wanted)
            });
            matching
                .map(|(passed, _)| started + *passed)
                .collect::<Vec<_>>()
        };
        let (soft, hard) = (at(false), at(true));
        assert_eq!(hard.len(), 1, "{:?}", sa.id);
        assert!(!soft.is_empty(), "{:?}", sa.id);
        // The kernel looks at a limit that was set anew one second later.
        for (reported, limit, late) in [
            (soft[0], sa.soft, Duration::from_secs(1) + LATE),
            (hard[0], sa.hard, LATE),
        ] {
            assert!(
                reported + EARLY + Duration::from_secs(1) >= limit,
                "{:?} {:?} early",
                sa.id,
                limit - reported
            );
            assert!(
                reported <= limit + late,
                "{:?} {:?} late",
                sa.id,
                reported - limit
            );
        }
    }
}

fn every_limit_holds_over(steps: &[(u64, i64)]) {
    let topology = Topology::new();
    let mut station = Station::begin(&topology.a.gateway, &config(Side::A));
    let due = install_many(&mut station, Tunnel::new(Family::V4, Mode::Tunnel));
    let started = Instant::now();
    let mut reports = Vec::new();
    let mut attend = |station: &mut Station, until: Instant| {
        let offset = started.elapsed();
        let new = station.attend_for(until.saturating_duration_since(Instant::now()));
        reports.extend(new.into_iter().map(|(at, report)| (offset + at, report)));
    };
    for (after, seconds) in steps {
        attend(&mut station, started + Duration::from_secs(*after));
        step(*seconds);
    }
    attend(&mut station, started + Duration::from_mins(8));
    check(&due, started, &reports);
    assert_eq!(station.list(), []);
    let counts = station.programmer.counts();
    assert_eq!(counts.clock_steps, u64::try_from(steps.len()).unwrap());
}

#[test]
fn no_sa_dies_early_or_late_when_the_clock_goes_an_hour_forward() {
    in_guest!(virtual_time(), || every_limit_holds_over(&[(60, HOUR)]));
}

#[test]
fn no_sa_dies_early_or_late_when_the_clock_goes_an_hour_back() {
    in_guest!(virtual_time(), || every_limit_holds_over(&[(60, -HOUR)]));
}

#[test]
fn no_sa_dies_early_or_late_when_the_clock_goes_to_and_fro() {
    in_guest!(virtual_time(), || {
        every_limit_holds_over(&[
            (0, HOUR),
            (1, -2 * HOUR),
            (30, 5),
            (31, -5),
            (90, -400 * 24 * HOUR),
            (91, 400 * 24 * HOUR),
            (150, 1),
        ]);
    });
}

#[test]
fn renewals_and_steps_of_the_clock_do_not_disturb_each_other() {
    in_guest!(virtual_time(), || {
        let topology = Topology::new();
        let mut stations = Station::begin_both(&topology);
        let tunnel = Tunnel::new(Family::V6, Mode::Tunnel);
        let installed = install(&mut stations, tunnel, seconds(LEASE));
        let flow = flow(&topology, tunnel, 5000, SLOW);
        let mut extended = Instant::now();
        for seconds in [HOUR, -HOUR, -HOUR, HOUR] {
            for station in &mut stations {
                assert_eq!(station.attend_for(Duration::from_secs(70)), []);
            }
            step(seconds);
            for station in &mut stations {
                assert_eq!(station.attend_for(Duration::from_secs(2)), []);
            }
            extended = Instant::now();
            for (place, sa) in &installed {
                let reply = stations[*place].extend(sa.clone());
                assert!(matches!(reply, XfrmToEngine::Done(_)), "{reply:?}");
            }
        }
        let [first, second] = flow.stop();
        assert!(
            first.is_whole() && second.is_whole(),
            "{first:?} {second:?}"
        );
        let end = extended + Duration::from_secs(LEASE);
        for station in &mut stations {
            let rest = end.saturating_duration_since(Instant::now() + EARLY);
            assert_eq!(station.attend_for(rest), []);
        }
        for station in &mut stations {
            assert_eq!(station.attend_for(EARLY + LATE).len(), 2);
            assert_eq!(station.list(), []);
        }
    });
}

#[test]
fn the_kernel_takes_a_limit_that_lies_before_the_beginning() {
    in_guest!(virtual_time(), || {
        let topology = Topology::new();
        let mut station = Station::begin(&topology.a.gateway, &config(Side::A));
        let tunnel = Tunnel::new(Family::V4, Mode::Tunnel);
        let sa = tunnel.sa(Side::A, Side::A, 0x5000, seconds(LEASE));
        station.install(sa.clone());
        let end = Instant::now() + Duration::from_secs(LEASE);
        let_pass(Duration::from_secs(100));
        step(-HOUR);
        station.attend_for(Duration::from_millis(10));
        let limit = shown(&topology.a.gateway, &sa).unwrap().limits.hard_seconds;
        assert!(limit.cast_signed() < -3000, "{limit}");
        // From here on the kernel is alone.
        let_pass(end.saturating_duration_since(Instant::now() + EARLY));
        assert!(shown(&topology.a.gateway, &sa).is_some());
        let_pass(EARLY + LATE);
        assert!(shown(&topology.a.gateway, &sa).is_none());
    });
}

#[test]
fn the_kernel_alone_would_let_an_sa_outlive_its_end() {
    in_guest!(virtual_time(), || {
        let topology = Topology::new();
        let mut station = Station::begin(&topology.a.gateway, &config(Side::A));
        let tunnel = Tunnel::new(Family::V4, Mode::Tunnel);
        let sa = tunnel.sa(Side::A, Side::A, 0x5001, seconds(LEASE));
        station.install(sa.clone());
        step(-HOUR);
        let_pass(Duration::from_secs(LEASE + 60));
        assert!(shown(&topology.a.gateway, &sa).is_some());
        // A process that was stopped all the while makes up for it at once.
        let reports = station.attend_for(LATE);
        assert_eq!(reports.len(), 1, "{reports:?}");
        assert!(shown(&topology.a.gateway, &sa).is_none());
        assert_eq!(station.programmer.counts().overdue, 1);
    });
}

#[test]
fn a_second_start_keeps_the_ends_of_the_first() {
    in_guest!(virtual_time(), || {
        let topology = Topology::new();
        let mut first = Station::begin(&topology.a.gateway, &config(Side::A));
        let due = install_many(&mut first, Tunnel::new(Family::V4, Mode::Transport));
        drop(first);
        let mut second = Station::begin(&topology.a.gateway, &config(Side::A));
        let listed = second.list();
        assert_eq!(listed.len(), due.len());
        let now = Instant::now();
        for sa in &due {
            let listed = listed.iter().find(|listed| listed.id == sa.id).unwrap();
            let left = (sa.hard - now).as_secs();
            assert!((left.saturating_sub(1)..=left + 1).contains(&listed.remaining.unwrap()));
            assert!(listed.age <= 4);
        }
        step(-HOUR);
        let reports = second.attend_for(Duration::from_mins(8));
        check(&due, now, &reports);
        assert_eq!(second.list(), []);
    });
}
