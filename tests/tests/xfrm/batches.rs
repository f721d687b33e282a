//! Many orders at once: each has its own fate, and the kernel is kept busy.

use std::{
    collections::BTreeSet,
    net::{IpAddr, UdpSocket},
    time::{Duration, Instant},
};

use bartizan_model::{
    ids::OrderId,
    message::{SaInstall, XfrmToEngine},
    policy::{Direction, Mode, Policy, Prefix},
};
use bartizan_secret::Secret;
use bartizan_tests::{
    in_guest,
    testbed::{
        boot::Boot,
        flow::let_pass,
        topology::{Family, Side, Topology},
    },
};
use bartizan_xfrm::{Outcome, Request};
use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::{
    orders::{Tunnel, UNLIMITED, config, key, seconds},
    renewal::{LEASE, virtual_time},
    station::{
        Make, Station, extend_sa, install_policy, install_sa, kernel, remove_all_sas,
        remove_policy, remove_sa,
    },
};

/// What the role's loop takes off its channel in one round.
const ROUND: usize = 64;

/// The errno of each reply, 0 for a refusal without asking the kernel, `None` if it is done.
fn fates(replies: &[XfrmToEngine]) -> Vec<Option<i32>> {
    replies
        .iter()
        .map(|reply| {
            if let XfrmToEngine::Refused { errno, .. } = reply {
                return Some(*errno);
            }
            assert!(matches!(reply, XfrmToEngine::Done(_)), "{reply:?}");
            None
        })
        .collect()
}

#[test]
fn a_refused_order_does_not_touch_its_neighbours() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let mut station = Station::begin(&topology.a.gateway, &config(Side::A));
        let tunnel = Tunnel::new(Family::V4, Mode::Tunnel);
        let sa = |number: u32| tunnel.sa(Side::A, Side::A, 0x6000 + number, seconds(LEASE));
        let mut orders: Vec<(Make, Option<Secret>)> = Vec::new();
        let mut expected = Vec::new();
        for number in 0..100 {
            let order: (Make, _) = match number % 10 {
                3 => (install_sa(sa(number - 1)), Some(key(number))),
                4 => (
                    install_sa(sa(number)),
                    Some(Secret::from_fn(32, |_| ()).unwrap()),
                ),
                5 => (remove_sa(sa(0xfff).id), None),
                6 => (extend_sa(sa(0xfff)), None),
                7 => (extend_sa(sa(number - 5)), None),
                8 => {
                    let mut entry = tunnel.entry(Side::A, Direction::Outbound);
                    entry.selector.remote = Prefix::ANY_V6;
                    (install_policy(entry), None)
                }
                9 => (
                    remove_policy(tunnel.entry(Side::A, Direction::Inbound)),
                    None,
                ),
                _ => (install_sa(sa(number)), Some(key(number))),
            };
            orders.push(order);
            expected.push(match number % 10 {
                3 => Some(17), // EEXIST
                4 | 8 => Some(0),
                5 | 6 => Some(3), // ESRCH
                9 => Some(2),     // ENOENT
                _ => None,
            });
        }
        let replies = station.orders(orders);
        assert_eq!(fates(&replies), expected);
        for (reply, number) in replies.iter().zip(1..) {
            let (XfrmToEngine::Done(order) | XfrmToEngine::Refused { order, .. }) = reply else {
                panic!("{reply:?}");
            };
            assert_eq!(*order, OrderId(number));
        }
        let standing: BTreeSet<_> = station.list().into_iter().map(|sa| sa.id).collect();
        let ordered: BTreeSet<_> = (0..100)
            .filter(|number| number % 10 < 3)
            .map(|number| sa(number).id)
            .collect();
        assert_eq!(standing, ordered);
        assert_eq!(station.programmer.counts().refused, 60);
    });
}

#[test]
fn half_an_entry_is_none() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let mut station = Station::begin(&topology.a.gateway, &config(Side::A));
        let tunnel = Tunnel::new(Family::V4, Mode::Tunnel);
        let entry = tunnel.entry(Side::A, Direction::Inbound);
        let before = topology.a.gateway.run("ip", &["xfrm", "policy"]);
        // A place that another kind of policy needs.
        let mut far = entry.clone();
        far.priority = 1 << 30;
        let reply = station.order(install_policy(far), None);
        assert!(
            matches!(reply, XfrmToEngine::Refused { errno: 0, .. }),
            "{reply:?}"
        );
        assert_eq!(topology.a.gateway.run("ip", &["xfrm", "policy"]), before);
        // Taking out what stands in parts takes out all of it.
        station.done(install_policy(entry.clone()), None);
        let part = bartizan_xfrm::program(&entry).unwrap()[1].id;
        let outcome = kernel(&topology.a.gateway).carry_out(&Request::DeletePolicy(part));
        assert_eq!(outcome, Outcome::Done);
        station.done(remove_policy(entry), None);
        assert_eq!(topology.a.gateway.run("ip", &["xfrm", "policy"]), before);
    });
}

#[test]
fn ten_thousand_entries_are_programmed() {
    in_guest!(Boot::uml().memory_mib(512), || {
        let topology = Topology::new();
        let mut station = Station::begin(&topology.a.gateway, &config(Side::A));
        let entries: Vec<Policy> = (0..5000_u32)
            .flat_map(|number| {
                [Direction::Outbound, Direction::Inbound].map(|direction| {
                    let family = if number % 2 == 0 {
                        Family::V4
                    } else {
                        Family::V6
                    };
                    let mut entry = Tunnel::new(family, Mode::Tunnel).entry(Side::A, direction);
                    entry.reqid = (number + 1).try_into().unwrap();
                    entry.priority = number;
                    entry.selector.remote = remote(family, number);
                    entry
                })
            })
            .collect();
        let started = Instant::now();
        for round in entries.chunks(ROUND) {
            let orders = round
                .iter()
                .map(|entry| (install_policy(entry.clone()), None));
            let replies = station.orders(orders.collect());
            assert!(fates(&replies).iter().all(Option::is_none));
        }
        let took = started.elapsed();
        println!("10000 entries, 25000 policies: {took:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        let count = topology.a.gateway.run("ip", &["xfrm", "policy", "count"]);
        println!("{count}");
        for round in entries.chunks(ROUND) {
            let orders = round
                .iter()
                .map(|entry| (remove_policy(entry.clone()), None));
            assert!(
                fates(&station.orders(orders.collect()))
                    .iter()
                    .all(Option::is_none)
            );
        }
    });
}

#[test]
fn two_thousand_sas_are_installed_extended_and_taken_out() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let mut station = Station::begin(&topology.a.gateway, &config(Side::A));
        let sas: Vec<SaInstall> = (0..2000).map(|number| nth_sa(number, LEASE)).collect();
        let begun = Instant::now();
        let mut all = |what: &str, make: &dyn Fn(&SaInstall) -> (Make, Option<Secret>)| {
            let started = Instant::now();
            for round in sas.chunks(ROUND) {
                let replies = station.orders(round.iter().map(make).collect());
                assert!(
                    fates(&replies).iter().all(Option::is_none),
                    "{what}: {replies:?}"
                );
            }
            println!("2000 SAs {what}: {:?}", started.elapsed());
        };
        all("installed", &|sa| {
            (install_sa(sa.clone()), Some(key(sa.id.spi.into())))
        });
        all("extended", &|sa| (extend_sa(sa.clone()), None));
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}");
        let listed = station.list();
        assert_eq!(listed.len(), sas.len());
        for sa in &listed {
            assert!(
                (LEASE - 10..=LEASE).contains(&sa.remaining.unwrap()),
                "{sa:?}"
            );
        }
        station.done(remove_all_sas(), None);
        assert_eq!(station.list(), []);
    });
}

#[test]
fn ends_whose_events_the_kernel_dropped_are_reported_all_the_same() {
    in_guest!(virtual_time().memory_mib(512), || {
        let topology = Topology::new();
        let mut station = Station::begin(&topology.a.gateway, &config(Side::A));
        let sas: Vec<SaInstall> = (0..12_000)
            .map(|number| SaInstall {
                soft: seconds(100),
                // The last thousand live on.
                ..nth_sa(number, if number < 11_000 { 200 } else { 2000 })
            })
            .collect();
        for round in sas.chunks(ROUND) {
            let orders = round
                .iter()
                .map(|sa| (install_sa(sa.clone()), Some(key(sa.id.spi.into()))));
            assert!(
                fates(&station.orders(orders.collect()))
                    .iter()
                    .all(Option::is_none)
            );
        }
        station.protect(Side::A, Tunnel::new(Family::V4, Mode::Transport));
        // Soft and hard events of all of them, and nobody takes them off.
        let_pass(Duration::from_mins(5));
        let wish = || {
            topology.a.gateway.enter(|| {
                let socket = UdpSocket::bind((Side::A.wan(Family::V4), 0)).unwrap();
                socket
                    .send_to(b"wish", (Side::B.wan(Family::V4), 9))
                    .unwrap();
            });
        };
        wish();
        let reports = station.attend_for(Duration::from_secs(1));
        assert_eq!(station.programmer.counts().events_lost, 1);
        let mut hard = BTreeSet::new();
        let mut soft = BTreeSet::new();
        for (_, report) in reports {
            let XfrmToEngine::Expired { sa, hard: gone, .. } = report else {
                panic!("{report:?}");
            };
            let first = if gone { &mut hard } else { &mut soft }.insert(sa);
            assert!(first || !gone, "{sa:?} ended twice");
        }
        assert_eq!(hard.len(), 11_000);
        assert!(sas[11_000..].iter().all(|sa| soft.contains(&sa.id)));
        assert_eq!(station.list().len(), 1000);
        // The wish was dropped with the rest; the kernel reports the next one.
        wish();
        let report = station.report(Duration::from_secs(5));
        assert_eq!(report, XfrmToEngine::Acquire { reqid: 13 });
    });
}

#[test]
fn an_order_whose_answer_is_lost_is_not_known() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let mut station = Station::begin(&topology.a.gateway, &config(Side::A));
        let mut kernel = kernel(&topology.a.gateway);
        // Room for a few refusals alone.
        set_socket_recv_buffer_size(&kernel, 2048).unwrap();
        let sas: Vec<_> = (0..64)
            .map(|number| bartizan_xfrm::KernelSa::of(&nth_sa(number, LEASE)).unwrap())
            .collect();
        let mut batch = kernel.batch();
        for sa in &sas {
            batch.push(&Request::DeleteSa(sa.id));
        }
        let outcomes = batch.finish();
        let is_refused = |outcome: &&Outcome| matches!(outcome, Outcome::Refused(_));
        let refused = outcomes.iter().filter(is_refused).count();
        let unknown = outcomes
            .iter()
            .filter(|outcome| **outcome == Outcome::Unknown)
            .count();
        println!("{refused} refused, {unknown} unknown");
        assert_eq!(refused + unknown, 64, "{outcomes:?}");
        assert!(refused > 0 && unknown > 0);
        // The socket is of use again.
        let outcome = kernel.carry_out(&Request::DeleteSa(sas[0].id));
        assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        assert_eq!(station.list(), []);
    });
}

/// SAs of many tunnels: never many with one pair of addresses and reqid.
fn nth_sa(number: u32, hard: u64) -> SaInstall {
    let tunnel = Tunnel::new(Family::V4, Mode::Tunnel);
    let mut sa = tunnel.sa(Side::A, Side::A, 0x1_0000 + number, seconds(hard));
    sa.reqid = (1000 + number).try_into().unwrap();
    sa.soft = UNLIMITED;
    let [_, _, high, low] = number.to_be_bytes();
    sa.id.destination = IpAddr::from([10, 200, high, low]);
    sa
}

fn remote(family: Family, number: u32) -> Prefix {
    let [_, _, high, low] = number.to_be_bytes();
    match family {
        Family::V4 => Prefix::new(IpAddr::from([20, high, low, 0]), 24),
        Family::V6 => Prefix::new(
            IpAddr::from([
                0x2001,
                0xdb8,
                0x99,
                u16::try_from(number).unwrap(),
                0,
                0,
                0,
                0,
            ]),
            64,
        ),
    }
    .unwrap()
}
