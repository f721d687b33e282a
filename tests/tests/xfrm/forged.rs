//! What others forge, or an entry claims, does not pass in clear; PMTU errors between gateways do.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use bartizan_model::policy::{Direction, Mode};
use bartizan_tests::{
    in_guest,
    testbed::{
        boot::Boot,
        capture::{Capture, count},
        flow::{MARKER, let_pass},
        netns::Netns,
        topology::{Family, Side, Topology},
    },
};
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, bind, connect, ipproto, sendto, socket_with,
};

use crate::{
    clear::{SHORT, is_marked},
    orders::{FAMILIES, PEER_PORT, Tunnel, any, config, seconds},
    renewal::{LEASE, install},
    station::{Station, install_policy},
};

#[test]
fn what_a_lan_forges_does_not_pass_in_clear() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let mut stations = Station::begin_both(&topology);
        let capture = Capture::start(&topology, PEER_PORT);
        for family in FAMILIES {
            let tunnel = Tunnel::new(family, Mode::Tunnel);
            install(&mut stations, tunnel, seconds(LEASE));
            // The LAN may send from anywhere.
            let mut wide = tunnel.entry(Side::A, Direction::Outbound);
            wide.selector.local = any(family);
            wide.priority += 50;
            wide.reqid = (tunnel.reqid + 50).try_into().unwrap();
            stations[0].done(install_policy(wide), None);
        }
        let lan = &topology.a.lan;
        let (v4, v6) = (Side::B.lan_host(Family::V4), Side::B.lan_host(Family::V6));
        // Neighbour discovery and PMTU errors pass in clear only between gateways.
        for kind in 133..=137 {
            send_icmp(lan, v6, [kind, 0]);
        }
        send_icmp(lan, v6, [2, 0]);
        send_icmp(lan, v4, [3, 4]);
        // The gateway's own address as a source opens no bypass, from where the peer listens either.
        for (family, to) in [(Family::V4, v4), (Family::V6, v6)] {
            let own = Side::A.wan(family);
            lan.ip(&[format!("addr add {own} dev lo")]);
            for port in [PEER_PORT, 4335] {
                lan.enter(|| begin_connection(own, SocketAddr::new(to, port)));
            }
        }
        let_pass(SHORT);
        let frames = capture.stop();
        let counts = count(&frames);
        println!("{counts:?}");
        assert_eq!(counts.violations, [""; 0]);
        assert_eq!(counts.peer, 0);
        assert_eq!(counts.path_mtu, 0);
        assert!(!frames.iter().any(is_marked));
        // The PMTU errors did pass, protected.
        assert!(counts.esp >= 2, "{counts:?}");
    });
}

#[test]
fn what_an_entry_claims_does_not_come_in_clear() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let mut station = Station::begin(&topology.a.gateway, &config(Side::A));
        let mut listeners = Vec::new();
        for family in FAMILIES {
            // The LAN against the rest of the world, which the LAN's own addresses are part of.
            for direction in [Direction::Outbound, Direction::Inbound] {
                let mut entry = Tunnel::new(family, Mode::Tunnel).entry(Side::A, direction);
                entry.selector.remote = any(family);
                station.done(install_policy(entry), None);
            }
            let host = SocketAddr::new(Side::A.lan_host(family), 5000);
            let listener = topology.a.lan.enter(|| UdpSocket::bind(host).unwrap());
            listener.set_nonblocking(true).unwrap();
            // From the line, with an address of the far LAN and one of the near LAN.
            let width = match family {
                Family::V4 => 32,
                Family::V6 => 128,
            };
            let forged = near_address(family);
            let gateway = &topology.b.gateway;
            gateway.ip(&[format!("addr add {forged}/{width} dev lo")]);
            for from in [Side::B.lan_gateway(family), forged] {
                gateway.enter(|| {
                    let socket = UdpSocket::bind((from, 0)).unwrap();
                    socket.send_to(&MARKER, host).unwrap();
                });
            }
            listeners.push(listener);
        }
        let_pass(SHORT);
        for listener in &listeners {
            let heard = listener.recv(&mut [0; 64]).map_err(|error| error.kind());
            assert_eq!(heard, Err(std::io::ErrorKind::WouldBlock));
        }
        // An entry that wants an SA has dropped each of them.
        assert_eq!(dropped(&topology.a.gateway, "XfrmInTmplMismatch"), 4);
    });
}

#[test]
fn pmtu_errors_pass_between_gateways_where_no_entry_claims_them() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let mut stations = Station::begin_both(&topology);
        let capture = Capture::start(&topology, PEER_PORT);
        let send_both = |topology: &Topology| {
            send_icmp(&topology.b.gateway, Side::A.wan(Family::V4), [3, 4]);
            send_icmp(&topology.b.gateway, Side::A.wan(Family::V6), [2, 0]);
        };
        let before = blocked_in(&topology.a.gateway);
        send_both(&topology);
        let_pass(SHORT);
        assert_eq!(blocked_in(&topology.a.gateway), before);
        for family in FAMILIES {
            let tunnel = Tunnel::new(family, Mode::Transport);
            install(&mut stations, tunnel, seconds(LEASE));
        }
        send_both(&topology);
        let_pass(SHORT);
        assert_eq!(blocked_in(&topology.a.gateway), before);
        let counts = count(&capture.stop());
        assert_eq!((counts.path_mtu, counts.esp), (2, 2), "{counts:?}");
        assert_eq!(counts.violations, [""; 0]);
    });
}

/// How many packets the gateway has dropped by policy on their way in.
fn blocked_in(gateway: &Netns) -> u64 {
    ["XfrmInPolBlock", "XfrmInNoPols", "XfrmInTmplMismatch"]
        .map(|name| dropped(gateway, name))
        .iter()
        .sum()
}

/// A counter of the kernel for dropped packets.
fn dropped(gateway: &Netns, name: &str) -> u64 {
    let counters =
        gateway.enter(|| std::fs::read_to_string("/proc/thread-self/net/xfrm_stat").unwrap());
    let line = counters.lines().find(|line| line.starts_with(name));
    let value = line.unwrap().split_whitespace().nth(1);
    value.unwrap().parse().unwrap()
}

/// An address of A's LAN that nobody has.
fn near_address(family: Family) -> IpAddr {
    match family {
        Family::V4 => [10, 1, 0, 77].into(),
        Family::V6 => "2001:db8:1::77".parse().unwrap(),
    }
}

/// Sends the first packet of a TCP connection.
fn begin_connection(from: IpAddr, to: SocketAddr) {
    let family = if from.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
    bind(&socket, &SocketAddr::new(from, 0)).unwrap();
    let begun = connect(&socket, &to);
    assert_eq!(begun, Err(rustix::io::Errno::INPROGRESS));
}

/// Sends an ICMP or ICMPv6 message of a type and code, with the mark in it.
fn send_icmp(namespace: &Netns, to: IpAddr, kind: [u8; 2]) {
    let (family, protocol) = match to {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let mut message = [0; 8 + MARKER.len()];
    message[..2].copy_from_slice(&kind);
    message[8..].copy_from_slice(&MARKER);
    // The kernel fills it in for ICMPv6.
    let sum: u32 = message
        .as_chunks()
        .0
        .iter()
        .map(|pair| u32::from(u16::from_be_bytes(*pair)))
        .sum();
    let sum = u16::try_from(sum % 0xffff).unwrap();
    message[2..4].copy_from_slice(&(!sum).to_be_bytes());
    namespace.enter(|| {
        let socket = socket_with(
            family,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(protocol),
        )
        .unwrap();
        sendto(
            &socket,
            &message,
            SendFlags::empty(),
            &SocketAddr::new(to, 0),
        )
        .unwrap();
    });
}
