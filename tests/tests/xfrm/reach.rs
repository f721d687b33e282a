//! What a gateway reaches outside of tunnels: nobody's its own search, an owner's what is listed.

use bartizan_model::{
    config::XfrmConfig,
    policy::{Direction, Mode},
};
use bartizan_tests::{
    in_guest,
    testbed::{
        boot::Boot,
        topology::{Family, Side, Topology},
    },
};
use bartizan_xfrm::Programmer;

use crate::{
    clear::policies,
    orders::{Tunnel, config, reach},
    station::{Station, install_policy},
};

#[test]
fn without_an_owner_a_gateway_speaks_for_itself_and_forwards_nothing() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let gateway = &topology.a.gateway;
        // What an owner of before has left must not stand.
        let mut station = Station::begin(gateway, &config(Side::A));
        let tunnel = Tunnel::new(Family::V4, Mode::Tunnel);
        station.done(
            install_policy(tunnel.entry(Side::A, Direction::Inbound)),
            None,
        );
        drop(station);

        let mut programmer = gateway.enter(Programmer::block_all).unwrap();
        gateway.enter(|| {
            programmer.begin(&XfrmConfig::Unowned).unwrap();
            programmer.forget_orders().unwrap();
        });
        let shown = policies(gateway);
        for line in &shown {
            let forwards = line.contains("dir fwd");
            let passes = line.contains("action allow");
            assert!(!(forwards && passes), "{line}");
            assert!(!line.contains("uid 11"), "{line}");
        }
        for protocol in ["tcp", "udp"] {
            let both = ["dir in ", "dir out "].map(|direction| {
                let passes = |line: &&String| {
                    line.contains(&format!("proto {protocol} ")) && line.contains(direction)
                };
                shown.iter().filter(passes).count()
            });
            assert_eq!(both, [2, 2], "{protocol}: {shown:#?}");
        }
    });
}

#[test]
fn dns_time_and_dhcp_pass_where_the_site_has_them_and_only_there() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let gateway = &topology.a.gateway;
        let without = reach(Side::A);
        let mut with = without.clone();
        with.datagrams = vec!["192.0.2.53:53".parse().unwrap()];
        with.dhcp = true;
        let mut shown = Vec::new();
        for reach in [without, with] {
            drop(Station::begin(gateway, &XfrmConfig::Owned(reach)));
            shown.push(policies(gateway));
        }
        for port in ["dport 53 ", "dport 67 ", "dport 547 "] {
            let passes = |line: &&String| {
                let line = format!("{line} ");
                line.contains(port) && line.contains("dir out") && !line.contains("action block")
            };
            let counts: Vec<_> = shown
                .iter()
                .map(|lines| lines.iter().filter(passes).count())
                .collect();
            assert_eq!(counts.first(), Some(&0), "{port}");
            assert!(counts.last() > Some(&0), "{port}: {shown:#?}");
        }
        // A host of the LAN that sends what looks like it is not let through, nor one that knows the owner's port.
        let last = shown.last().unwrap();
        for port in ["dport 67", "dport 4335"] {
            let forwarded = last.iter().filter(|line| line.contains(port));
            let forwarded: Vec<_> = forwarded.filter(|line| line.contains("dir fwd")).collect();
            assert!(!forwarded.is_empty(), "{port}: {last:#?}");
            for line in forwarded {
                assert!(line.contains("action block"), "{line}");
            }
        }
    });
}
