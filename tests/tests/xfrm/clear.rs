//! Nothing that is to be protected is ever seen in clear, and what must pass in clear does.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, SystemTime},
};

use bartizan_model::{
    config::XfrmConfig,
    message::XfrmToEngine,
    policy::{Action, Direction, Mode, TrafficSelector},
};
use bartizan_tests::{
    in_guest,
    testbed::{
        boot::Boot,
        capture::{Capture, Frame, count},
        flow::{Flow, MARKER, Pace, let_pass},
        netns::Netns,
        topology::{Family, Side, Topology},
    },
};
use bartizan_xfrm::Programmer;

use crate::{
    orders::{Covers, FAMILIES, MODES, PEER_PORT, Tunnel, UNLIMITED, any, config, reach, seconds},
    renewal::{LEASE, flow, install, virtual_time},
    station::{
        Station, install_policy, remove_all_sas, remove_other_policies, remove_policy, remove_sa,
    },
};

const PACE: Pace = Pace {
    per_second: 100,
    size: 200,
};

/// Long enough for what is not to come.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

#[test]
fn nothing_is_seen_in_clear_from_the_first_act_on() {
    in_guest!(virtual_time(), || {
        let topology = Topology::new();
        let capture = Capture::start(&topology, PEER_PORT);
        let tunnels: Vec<_> = FAMILIES
            .into_iter()
            .flat_map(|family| MODES.map(|mode| Tunnel::new(family, mode)))
            .collect();
        let flows: Vec<_> = tunnels
            .iter()
            .zip(5000..)
            .map(|(tunnel, port)| flow(&topology, *tunnel, port, PACE))
            .collect();
        let_pass(SHORT);
        let programmers = Side::BOTH.map(|side| {
            let gateway = &topology.side(side).gateway;
            gateway.enter(|| Programmer::block_all().unwrap())
        });
        let blocked = SystemTime::now();
        let_pass(SHORT);
        drop(programmers);

        let mut stations = Station::begin_both(&topology);
        let_pass(SHORT);
        let mut installed = Vec::new();
        for tunnel in &tunnels {
            // Each end of each tunnel comes up at its own moment.
            installed.extend(install(&mut stations, *tunnel, seconds(LEASE)));
            let_pass(SHORT / 4);
        }
        let_pass(SHORT);
        for (place, sa) in &installed {
            stations[*place].done(remove_sa(sa.id), None);
        }
        let_pass(SHORT);
        for (place, sa) in installed {
            stations[place].install(sa);
        }
        let_pass(SHORT);
        for (station, side) in stations.iter_mut().zip(Side::BOTH) {
            for tunnel in &tunnels {
                for direction in [Direction::Outbound, Direction::Inbound] {
                    station.done(remove_policy(tunnel.entry(side, direction)), None);
                }
            }
            station.done(remove_all_sas(), None);
        }
        let_pass(SHORT);
        drop(flows);
        let frames = capture.stop();
        let since = blocked.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let (after, before): (Vec<_>, Vec<_>) =
            frames.into_iter().partition(|frame| frame.time > since);
        assert!(
            count(&before).violations.len() > 100,
            "there was no traffic"
        );
        let counts = count(&after);
        println!("{counts:?}");
        assert!(counts.esp > 100, "{counts:?}");
        assert_eq!(counts.violations, [""; 0]);
        assert!(!after.iter().any(is_marked));
    });
}

#[test]
fn gateways_whose_own_addresses_are_protected_reach_each_other_from_cold() {
    in_guest!(virtual_time(), || {
        let topology = Topology::new();
        let mut stations = Station::begin_both(&topology);
        let capture = Capture::start(&topology, PEER_PORT);
        for family in FAMILIES {
            for (port, mode, covers) in [
                (5000, Mode::Transport, Covers::Gateways),
                (5001, Mode::Tunnel, Covers::Gateways),
                (5002, Mode::Tunnel, Covers::Everything),
            ] {
                let tunnel = Tunnel {
                    covers,
                    ..Tunnel::new(family, mode)
                };
                for (station, side) in stations.iter_mut().zip(Side::BOTH) {
                    station.protect(side, tunnel);
                }
                converse(&topology, Side::A, Side::B, family);
                converse(&topology, Side::B, Side::A, family);
                let flow = flow(&topology, tunnel, port, PACE);
                let_pass(SHORT);
                let installed = install(&mut stations, tunnel, seconds(LEASE));
                let_pass(SHORT);
                for arrivals in flow.stop() {
                    assert!(arrivals.complete && arrivals.received > 20, "{arrivals:?}");
                    assert!(arrivals.lost + arrivals.unsent > 20, "{arrivals:?}");
                }
                for (place, sa) in installed {
                    stations[place].done(remove_sa(sa.id), None);
                }
                for (station, side) in stations.iter_mut().zip(Side::BOTH) {
                    for direction in [Direction::Outbound, Direction::Inbound] {
                        station.done(remove_policy(tunnel.entry(side, direction)), None);
                    }
                }
            }
        }
        let counts = count(&capture.stop());
        println!("{counts:?}");
        assert!(counts.esp > 100 && counts.peer > 20, "{counts:?}");
        assert_eq!(counts.violations, [""; 0]);
    });
}

#[test]
fn the_gateway_talks_to_itself() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let gateway = &topology.a.gateway;
        let _station = Station::begin(gateway, &config(Side::A));
        for own in [
            IpAddr::from([127, 0, 0, 1]),
            Side::A.wan(Family::V4),
            "::1".parse().unwrap(),
        ] {
            gateway.enter(|| {
                let listener = TcpListener::bind((own, 0)).unwrap();
                exchange(listener, &|address| TcpStream::connect(address).unwrap());
            });
        }
        gateway.run("ip", &["addr", "show"]);
    });
}

#[test]
fn no_entry_widens_or_shadows_what_is_built_in() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let mut stations = Station::begin_both(&topology);
        let built_in = policies(&topology.a.gateway);
        let capture = Capture::start(&topology, PEER_PORT);
        let mut entries = Vec::new();
        for (number, family) in FAMILIES.into_iter().enumerate() {
            for (further, action) in [
                Action::Discard,
                Tunnel::new(family, Mode::Tunnel)
                    .entry(Side::A, Direction::Outbound)
                    .action,
            ]
            .into_iter()
            .enumerate()
            {
                for direction in [Direction::Outbound, Direction::Inbound] {
                    let mut entry = Tunnel::new(family, Mode::Tunnel).entry(Side::A, direction);
                    entry.action = action.clone();
                    entry.priority = 0;
                    entry.reqid = u32::try_from(100 + number * 2 + further)
                        .unwrap()
                        .try_into()
                        .unwrap();
                    entry.selector = TrafficSelector {
                        local: any(family),
                        remote: any(family),
                        protocol: None,
                        local_port: None,
                        remote_port: None,
                    };
                    entries.push(entry);
                }
            }
        }
        for entry in &entries {
            stations[0].done(install_policy(entry.clone()), None);
            let now = policies(&topology.a.gateway);
            assert!(built_in.iter().all(|policy| now.contains(policy)));
        }
        for family in FAMILIES {
            topology.a.gateway.ip(&["neigh flush all"]);
            converse(&topology, Side::A, Side::B, family);
            converse(&topology, Side::B, Side::A, family);
            let lans = Flow::start(
                Side::BOTH.map(|side| (&topology.side(side).lan, side.lan_host(family))),
                5000,
                PACE,
            );
            let_pass(SHORT);
            drop(lans);
        }
        for entry in entries {
            stations[0].done(remove_policy(entry), None);
        }
        assert_eq!(policies(&topology.a.gateway), built_in);
        let counts = count(&capture.stop());
        assert!(counts.peer > 10, "{counts:?}");
        assert_eq!(counts.esp, 0);
        assert_eq!(counts.violations, [""; 0]);
    });
}

#[test]
fn a_second_start_blocks_again_and_takes_out_what_was_not_ordered_again() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let mut stations = Station::begin_both(&topology);
        let built_in = policies(&topology.a.gateway);
        let kept = Tunnel::new(Family::V4, Mode::Tunnel);
        let gone = Tunnel::new(Family::V6, Mode::Tunnel);
        for tunnel in [kept, gone] {
            install(&mut stations, tunnel, UNLIMITED);
        }
        // Another configuration: what only the first one let pass is blocked.
        let mut narrower = reach(Side::A);
        narrower.services.truncate(1);
        narrower.peer_port = Some(9999);
        drop(stations);
        let mut second = Station::begin(&topology.a.gateway, &XfrmConfig::Owned(narrower));
        let shown = policies(&topology.a.gateway);
        assert!(!shown.iter().any(|line| line.contains("9061")), "{shown:?}");
        assert!(shown.iter().any(|line| line.contains("9999")), "{shown:?}");
        drop(second);

        second = Station::begin(&topology.a.gateway, &config(Side::A));
        let inbound = kept.entry(Side::A, Direction::Inbound);
        second.done(install_policy(inbound), None);
        second.done(remove_other_policies(), None);
        let mut left = policies(&topology.a.gateway);
        left.retain(|policy| !built_in.contains(policy));
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(
            left.iter().all(|policy| policy.contains("uid 11")),
            "{left:?}"
        );
        assert_eq!(second.list().len(), 4);
        second.done(remove_all_sas(), None);
        assert_eq!(second.list(), []);
        let nothing = second.attend_for(Duration::from_millis(10));
        assert_eq!(nothing, Vec::<(Duration, XfrmToEngine)>::new());
    });
}

/// One policy a line, without what the kernel chooses.
pub(crate) fn policies(gateway: &Netns) -> Vec<String> {
    let shown = gateway.run("ip", &["-s", "xfrm", "policy"]);
    let mut policies: Vec<String> = Vec::new();
    for line in shown.lines() {
        if line.starts_with("src ") {
            policies.push(line.to_owned());
        } else if let Some((before, after)) = line.split_once(" index ") {
            let (_index, after) = after.split_once(' ').unwrap();
            let policy = policies.last_mut().unwrap();
            policy.push_str(before);
            policy.push(' ');
            policy.push_str(after);
        }
    }
    policies.sort();
    policies
}

pub(crate) fn is_marked(frame: &Frame) -> bool {
    frame
        .packet
        .windows(MARKER.len())
        .any(|part| part == MARKER)
}

/// A TCP connection to the peer role's port, a word each way.
fn converse(topology: &Topology, dialling: Side, dialled: Side, family: Family) {
    let to = SocketAddr::new(dialled.wan(family), PEER_PORT);
    let listener = topology
        .side(dialled)
        .gateway
        .enter(|| TcpListener::bind(to).unwrap());
    let gateway = &topology.side(dialling).gateway;
    exchange(listener, &|address| {
        gateway.enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(10)).unwrap())
    });
}

fn exchange(listener: TcpListener, connect: &dyn Fn(SocketAddr) -> TcpStream) {
    let address = listener.local_addr().unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).unwrap();
        stream.write_all(&word).unwrap();
    });
    let mut stream = connect(address);
    stream.write_all(b"word").unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"word");
    answering.join().unwrap();
}
