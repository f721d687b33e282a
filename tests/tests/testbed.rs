//! The testbed itself: each property that the other tests rest on.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use bartizan_tests::{
    in_guest,
    testbed::{
        boot::{Boot, Clock},
        capture::{Capture, count},
        esp::{passed, protect, spi},
        flow::{Flow, Pace, let_pass},
        process::run,
        swtpm::Swtpm,
        topology::{Family, Side, Topology, controller},
    },
};

const PEER_PORT: u16 = 9061;
const PACE: Pace = Pace {
    per_second: 200,
    size: 200,
};

fn lan_flow(topology: &Topology, family: Family) -> Flow {
    let ends = Side::BOTH.map(|side| (&topology.side(side).lan, side.lan_host(family)));
    Flow::start(ends, 5000, PACE)
}

#[test]
fn a_guest_runs_the_test_that_booted_it() {
    in_guest!(Boot::uml(), || {
        assert_eq!(run(Command::new("id").arg("-u")), "0\n");
    });
}

#[test]
fn a_failure_in_the_guest_is_a_failure_of_the_test() {
    let name = "fails_in_a_guest";
    let init = Path::new(env!("CARGO_BIN_EXE_guest-init"));
    let outcome = Boot::uml()
        .spawn(
            init,
            &std::env::current_exe().unwrap(),
            &["--exact", name, "--include-ignored"],
        )
        .wait();
    assert_eq!(
        outcome.code,
        Some(101),
        "{}\n{}",
        outcome.log,
        outcome.console
    );
    assert!(
        outcome.log.contains("this one is to fail"),
        "{}",
        outcome.log
    );
}

#[test]
#[ignore = "fails on purpose: it is run by a_failure_in_the_guest_is_a_failure_of_the_test alone"]
fn fails_in_a_guest() {
    panic!("this one is to fail");
}

#[test]
fn a_guest_that_hangs_is_killed_at_the_limit() {
    let init = Path::new(env!("CARGO_BIN_EXE_guest-init"));
    let outcome = Boot::uml()
        .limit(Duration::from_secs(3))
        .spawn(init, Path::new("/usr/bin/tail"), &["-f", "/dev/null"])
        .wait();
    assert_eq!(outcome.code, None, "{}", outcome.log);
    assert!(
        outcome.console.contains("killed: not done within 3s"),
        "{}",
        outcome.console
    );
}

#[test]
fn every_address_of_the_topology_is_reached() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        for family in [Family::V4, Family::V6] {
            for side in Side::BOTH {
                let gateway = topology.side(side);
                let ping = |from: &bartizan_tests::testbed::netns::Netns, to: std::net::IpAddr| {
                    from.run("ping", &["-c", "1", "-W", "5", &to.to_string()]);
                };
                ping(&gateway.lan, side.other().lan_host(family));
                ping(&gateway.gateway, side.other().wan(family));
                ping(&gateway.gateway, controller(family));
                ping(&gateway.gateway, side.kme(family));
                ping(&gateway.kme, side.other().quantum(family));
            }
        }
    });
}

#[test]
fn packets_between_the_lans_pass_through_esp_alone() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        protect(&topology, "");
        let capture = Capture::start(&topology, PEER_PORT);
        for family in [Family::V4, Family::V6] {
            let flow = lan_flow(&topology, family);
            let_pass(Duration::from_millis(500));
            for arrivals in flow.stop() {
                println!("{arrivals:?}");
                assert!(arrivals.is_whole(), "{arrivals:?}");
            }
            for side in Side::BOTH {
                let (_, packets) = passed(&topology.side(side).gateway, spi(side, family));
                assert!(packets > 50, "{packets} packets of {side:?} in {family:?}");
            }
        }
        let counts = count(&capture.stop());
        println!("{counts:?}");
        assert!(counts.esp > 200, "{counts:?}");
        assert_eq!(counts.violations, [""; 0]);
    });
}

#[test]
fn clear_traffic_is_a_violation() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let capture = Capture::start(&topology, PEER_PORT);
        topology.a.lan.run(
            "ping",
            &[
                "-c",
                "1",
                "-W",
                "5",
                &Side::B.lan_host(Family::V4).to_string(),
            ],
        );
        let counts = count(&capture.stop());
        assert_eq!(counts.esp, 0);
        assert_eq!(counts.violations.len(), 2, "{counts:?}");
        assert!(counts.violations[0].starts_with("from A: "), "{counts:?}");
    });
}

#[test]
fn a_cut_line_loses_packets_and_a_healed_one_does_not() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let flow = lan_flow(&topology, Family::V4);
        let_pass(Duration::from_millis(200));
        topology.cut();
        let_pass(Duration::from_millis(200));
        topology.heal();
        let_pass(Duration::from_millis(200));
        for arrivals in flow.stop() {
            println!("{arrivals:?}");
            assert!(arrivals.complete, "{arrivals:?}");
            assert!(arrivals.lost >= 20, "{arrivals:?}");
            assert!(arrivals.longest_gap_ms >= 150, "{arrivals:?}");
        }
        let flow = lan_flow(&topology, Family::V4);
        let_pass(Duration::from_millis(200));
        for arrivals in flow.stop() {
            assert!(arrivals.is_whole(), "{arrivals:?}");
        }
        topology.degrade(Duration::from_millis(100), 0);
        let started = Instant::now();
        topology.a.gateway.run(
            "ping",
            &["-c", "1", "-W", "5", &Side::B.wan(Family::V4).to_string()],
        );
        assert!(started.elapsed() >= Duration::from_millis(200));
    });
}

#[test]
fn two_gateways_have_a_tpm_each() {
    in_guest!(Boot::uml(), || {
        let tpms = ["a", "b"].map(|name| Swtpm::start(&Path::new("/run/tpm").join(name)));
        assert_ne!(tpms[0].tcti(), tpms[1].tcti());
        for tpm in &tpms {
            let folder = Path::new("/tmp").join(tpm.resource_manager().file_name().unwrap());
            std::fs::create_dir(&folder).unwrap();
            let tool = |name: &str, arguments: &str| {
                run(Command::new(name)
                    .args(arguments.split(' '))
                    .current_dir(&folder)
                    .env("TPM2TOOLS_TCTI", tpm.tcti())
                    .env("TSS2_LOG", "all+none"))
            };
            tool("tpm2_createek", "-Q -G ecc -c ek.ctx");
            tool(
                "tpm2_createak",
                "-Q -C ek.ctx -c ak.ctx -G ecc -g sha256 -s ecdsa -u ak.pub -n ak.name",
            );
            tool(
                "tpm2_quote",
                "-Q -c ak.ctx -l sha256:0,4,7 -q abcd -m quote -s signature -o pcrs",
            );
            tool(
                "tpm2_checkquote",
                "-Q -u ak.pub -m quote -s signature -f pcrs -q abcd",
            );
        }
    });
}

#[test]
fn an_sa_dies_at_its_hard_lifetime_in_virtual_time() {
    let boot = Boot::uml().clock(Clock::Virtual);
    in_guest!(boot, || {
        let topology = Topology::new();
        protect(&topology, "limit time-soft 1800 limit time-hard 3600");
        let count = || topology.a.gateway.run("ip", &["xfrm", "state", "count"]);
        let_pass(Duration::from_mins(59));
        assert!(count().contains("SAD count 4"), "{}", count());
        let started = Instant::now();
        let_pass(Duration::from_mins(2));
        assert!(started.elapsed() >= Duration::from_mins(2));
        assert!(count().contains("SAD count 0"), "{}", count());
        let flow = lan_flow(&topology, Family::V4);
        let_pass(Duration::from_millis(500));
        for arrivals in flow.stop() {
            assert_eq!(arrivals.received, 0, "{arrivals:?}");
        }
    });
}

#[test]
fn tokio_lives_in_the_guests_virtual_time() {
    let boot = Boot::uml()
        .clock(Clock::Virtual)
        .limit(Duration::from_secs(30));
    in_guest!(boot, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let started = Instant::now();
            let answer =
                tokio::time::timeout(Duration::from_hours(1), std::future::pending::<()>()).await;
            assert!(answer.is_err());
            assert!(started.elapsed() >= Duration::from_hours(1));
            assert!(started.elapsed() < Duration::from_secs(3602));
        });
    });
}
