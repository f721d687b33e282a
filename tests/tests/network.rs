//! The site's network: a real systemd-networkd has the ports, and a real DHCP server names the owner.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_model::{
    ownership::{Interface, Port, SiteNetwork},
    report::NetworkState,
};
use bartizan_tests::{
    in_guest,
    pki::Kind,
    testbed::{
        boot::{Boot, Clock},
        fleet::{Fleet, uml},
        flow::let_pass,
        networkd::Networkd,
        process::Running,
        site::{REGISTRAR, Site},
        topology::{Family, Side, Topology, controller},
    },
};

/// As the manual says.
const LIMIT: Duration = Duration::from_mins(1);

/// To find an owner, or to have an address again and be called over it.
const SOON: Duration = Duration::from_secs(40);

const LOOK: Duration = Duration::from_millis(250);

#[test]
fn boxes_are_found_by_dhcp_and_a_bad_network_is_given_back_within_a_minute() {
    let boot = Boot::uml().memory_mib(512).clock(Clock::Virtual);
    in_guest!(boot.limit(Duration::from_secs(50)), || {
        let topology = Arc::new(Topology::new());
        let folder = Path::new("/run/site");
        fs::create_dir_all(folder).unwrap();
        // A's is another address in the same network; B's reaches nobody.
        let networks = [
            network(Side::A.management(Family::V4)),
            network([203, 0, 113, 7].into()),
        ];
        let site = topology.controller.enter(|| {
            let site = Site::with_networks(folder, &uml(), [Kind::Ek; 2], networks);
            for side in Side::BOTH {
                knows_no_server(&site, side);
            }
            site
        });
        let _server = dhcp_server(&topology);
        let _networkds = Side::BOTH.map(|side| Networkd::start(&topology, &site, side));
        let mut fleet = Fleet::start_on(Arc::clone(&topology), site, &uml());

        let mut tried = None;
        let deadline = Instant::now() + SOON * 2 + LIMIT;
        let returned = loop {
            let now = Instant::now();
            let state = fleet.gateway(Side::B).snapshot().map(|known| known.network);
            match state {
                Some(NetworkState::Settled) => panic!("nobody is reached over it"),
                Some(NetworkState::OnTrial) => tried = tried.or(Some(now)),
                Some(NetworkState::RolledBack) => break now,
                _ => {}
            }
            assert!(now < deadline, "{state:?}");
            let_pass(LOOK);
        };
        let took = returned - tried.expect("a trial");
        assert!(took <= LIMIT + LOOK * 2, "{took:?}");

        let shown = fleet
            .controller
            .wait_for(SOON, "both are reached", |status| {
                let mut nodes = status.nodes.iter();
                nodes.all(|node| node.address.is_some() && node.lease_left.is_some())
                    && status
                        .nodes
                        .iter()
                        .filter_map(|node| node.network.as_deref())
                        .eq(["settled", "rolled-back"])
            });
        println!(
            "on trial for {took:?}; reached again after {:?}",
            returned.elapsed()
        );
        let from: Vec<_> = shown
            .nodes
            .iter()
            .filter_map(|node| node.address.clone())
            .collect();
        let own = Side::A.management(Family::V4).to_string();
        assert!(from[0].starts_with(&format!("{own}:")), "{from:?}");
        assert!(from[1].starts_with("198.51.100.1"), "{from:?}");
    });
}

/// An address of its own on mgmt0, and nothing else.
fn network(address: core::net::IpAddr) -> SiteNetwork {
    SiteNetwork {
        interfaces: vec![Interface {
            port: Port::Mgmt0,
            addresses: vec![(address, 24)],
            dhcp: false,
        }],
        ..SiteNetwork::default()
    }
}

/// Its image names no bootstrap server: it must hear of one.
fn knows_no_server(site: &Site, which: Side) {
    let path = site.gateway(which).join("appliance.toml");
    let text = fs::read_to_string(&path).unwrap();
    let named = format!("servers = [\"{}:{REGISTRAR}\"]", controller(Family::V4));
    assert!(text.contains(&named), "{text}");
    fs::write(path, text.replace(&named, "servers = []")).unwrap();
}

/// Beside the controller: addresses, and where the owner's registrar is.
fn dhcp_server(topology: &Topology) -> Running {
    let uri = format!("https://{}:{REGISTRAR}", controller(Family::V4));
    let mut option = String::new();
    let len = u16::try_from(uri.len()).unwrap().to_be_bytes();
    for byte in len.iter().chain(uri.as_bytes()) {
        write!(option, ":{byte:02x}").unwrap();
    }
    let mut command = Command::new("dnsmasq");
    command
        .args([
            "--no-daemon",
            "--conf-file=/dev/null",
            "--user=root",
            "--port=0",
        ])
        .args(["--interface=bridge", "--bind-interfaces", "--no-ping"])
        .args(["--dhcp-range=198.51.100.100,198.51.100.120,1h"])
        .arg(format!(
            "--dhcp-option-force=224{}",
            option.replacen(':', ",", 1)
        ))
        .args(["--dhcp-leasefile=/run/dhcp-leases", "--log-facility=-"])
        .stdin(Stdio::null());
    topology.controller.enter(|| Running::spawn(&mut command))
}
