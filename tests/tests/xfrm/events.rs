//! A packet that wants an SA is reported; what the kernel of this very machine makes of our policies
//! and of ALLOCSPI, for it is younger than the guests' and has no ESP.

use std::{net::UdpSocket, time::Duration};

use bartizan_model::{
    message::XfrmToEngine,
    policy::{Mode, Prefix},
};
use bartizan_tests::{
    in_guest,
    testbed::{
        boot::Boot,
        netns::Netns,
        topology::{Side, Topology},
    },
};
use bartizan_xfrm::{
    KernelSa, KernelSelector, Outcome, Owner, Refusal, Replies, Request, SaKey, Said, Shown, Upper,
};

use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::{
    orders::{FAMILIES, MODES, Tunnel, config, key, seconds},
    output,
    station::{Station, kernel, remove_sa},
};

#[test]
fn a_packet_that_wants_an_sa_is_reported_once() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let mut station = Station::begin(&topology.a.gateway, &config(Side::A));
        for family in FAMILIES {
            for mode in MODES {
                let tunnel = Tunnel::new(family, mode);
                station.protect(Side::A, tunnel);
                let (from, own, other) = match mode {
                    Mode::Tunnel => (
                        &topology.a.lan,
                        Side::A.lan_host(family),
                        Side::B.lan_host(family),
                    ),
                    Mode::Transport => (
                        &topology.a.gateway,
                        Side::A.wan(family),
                        Side::B.wan(family),
                    ),
                };
                from.enter(|| {
                    let socket = UdpSocket::bind((own, 0)).unwrap();
                    for _ in 0..3 {
                        socket.send_to(b"wish", (other, 9)).unwrap();
                    }
                });
                let reports = station.attend_for(Duration::from_millis(200));
                let reports: Vec<_> = reports.into_iter().map(|(_, report)| report).collect();
                let wish = XfrmToEngine::Acquire {
                    reqid: tunnel.reqid,
                };
                assert_eq!(reports, [wish]);
            }
        }
    });
}

#[test]
fn this_kernel_takes_the_policies_as_ordered() {
    on_this_machine("xfrm-policy", |namespace| {
        let mut station = Station::begin(namespace, &config(Side::A));
        output::policies_stand_and_fall(namespace, &mut station);
    });
}

#[test]
fn this_kernel_reports_a_packet_that_wants_an_sa() {
    on_this_machine("xfrm-acquire", |namespace| {
        let (own, other) = (Side::A.wan(FAMILIES[0]), Side::B.wan(FAMILIES[0]));
        namespace.ip(&[
            "link add here type veth peer name there".to_owned(),
            "link set here up".to_owned(),
            "link set there up".to_owned(),
            format!("addr add {own}/24 dev here"),
        ]);
        let mut station = Station::begin(namespace, &config(Side::A));
        let tunnel = Tunnel::new(FAMILIES[0], Mode::Transport);
        station.protect(Side::A, tunnel);
        namespace.enter(|| {
            let socket = UdpSocket::bind((own, 0)).unwrap();
            socket.send_to(b"wish", (other, 9)).unwrap();
        });
        let wish = XfrmToEngine::Acquire {
            reqid: tunnel.reqid,
        };
        assert_eq!(station.report(Duration::from_secs(5)), wish);
    });
}

#[test]
fn this_kernel_allocates_spis() {
    on_this_machine("xfrm-spi", |namespace| {
        let mut station = Station::begin(namespace, &config(Side::A));
        let mut kernel = kernel(namespace);
        for (spi, family) in (0x7000..).zip(FAMILIES) {
            let tunnel = Tunnel::new(family, Mode::Tunnel);
            let order = tunnel.sa(Side::A, Side::B, spi, seconds(60));
            let sa = KernelSa::of(&order).unwrap();
            let (low, high) = (order.id.spi, order.id.spi);
            let shown = kernel.carry_out(&Request::AllocateSpi { sa: &sa, low, high });
            let Outcome::Shown(Shown::Sa(larval)) = shown else {
                panic!("{shown:?}");
            };
            assert_eq!((larval.id(), larval.reqid), (Some(order.id), tunnel.reqid));
            let counted = kernel.carry_out(&Request::CountSa(order.id));
            let Outcome::Shown(Shown::Counters(counters)) = counted else {
                panic!("{counted:?}");
            };
            assert_eq!(counters.used, larval.used);
            // Another SA cannot have the one number of the range.
            let mut other = sa;
            other.reqid += 1;
            let request = Request::AllocateSpi {
                sa: &other,
                low,
                high,
            };
            let refused = kernel.carry_out(&request);
            assert!(matches!(refused, Outcome::Refused(_)), "{refused:?}");
            assert!(station.stands(order.id));
            station.done(remove_sa(order.id), None);
            assert!(!station.stands(order.id));
        }
    });
}

#[test]
fn the_kernel_says_in_words_why_it_refuses() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let tunnel = Tunnel::new(FAMILIES[0], Mode::Transport);
        let order = tunnel.sa(Side::A, Side::A, 0x7100, seconds(60));
        let mut sa = KernelSa::of(&order).unwrap();
        let everything = Prefix::ANY_V6;
        let upper = Upper::default();
        sa.selector = KernelSelector::new(everything, everything, upper, Owner::BuiltIn).unwrap();
        let secret = key(0x7100);
        let request = Request::AddSa(&sa, SaKey::new(&secret, sa.suite).unwrap());
        let outcome = kernel(&topology.a.gateway).carry_out(&request);
        let expected = Refusal {
            errno: 93, // EPROTONOSUPPORT
            text: "Only tunnel modes can accommodate a change of family".to_owned(),
        };
        assert_eq!(outcome, Outcome::Refused(expected));
    });
}

#[test]
fn the_kernel_does_not_echo_the_key_of_an_sa_that_it_refuses() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let tunnel = Tunnel::new(FAMILIES[0], Mode::Tunnel);
        let order = tunnel.sa(Side::A, Side::A, 0x7200, seconds(60));
        let sa = KernelSa::of(&order).unwrap();
        let secret = key(0x7200);
        let request = Request::AddSa(&sa, SaKey::new(&secret, sa.suite).unwrap());
        let mut kernel = kernel(&topology.a.gateway);
        assert_eq!(kernel.carry_out(&request), Outcome::Done);
        // The same once more, to see the very bytes of the answer.
        let mut message = [0; 1024];
        let length = request.encode(&mut message, 1).unwrap();
        send(&kernel, &message[..length], SendFlags::empty()).unwrap();
        let mut answer = [0; 4096];
        let (_, length) = recv(&kernel, &mut answer[..], RecvFlags::empty()).unwrap();
        let said = Replies::of(&answer[..length]).next().unwrap().said;
        assert!(matches!(said, Said::Refused(refusal) if refusal.errno == 17));
        assert!(length < 16 + 20 + 64, "{length} bytes");
        assert!(!answer.windows(8).any(|part| part == &secret.expose()[..8]));
    });
}

/// A namespace of the machine that the tests run on.
fn on_this_machine(name: &str, body: impl FnOnce(&Netns)) {
    if !rustix::process::geteuid().is_root() {
        assert!(
            std::env::var_os("BARTIZAN_ALLOW_SKIP").is_some(),
            "{name} needs a network namespace, so root"
        );
        println!("SKIPPED {name}: not root");
        return;
    }
    let namespace = Netns::new(&format!("{name}-{}", std::process::id()));
    body(&namespace);
}
