//! Several KMEs beside a gateway: which one is asked, and what another one's trouble costs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bartizan_model::config::{KmeInterface, KmeTransport};
use bartizan_model::report::{LinkReason, LinkState, QkdRefusal};
use bartizan_tests::kme::{Door, Form, Kme};

use crate::link::{Gateway, SEED, Setup};

/// Two links, `north` by 014 and `south` by 004; each with a KME at either end.
struct Links {
    setup: Setup,
    north: [Kme; 2],
    south: [Kme; 2],
}

impl Links {
    fn new() -> Self {
        let setup = Setup::new();
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let kme = |name: &str, link: u64| {
            let mut options = setup.kme_options(name, anywhere);
            options.seed = SEED + link;
            options.doors = vec![Door {
                listen: anywhere,
                form: Form::Json,
                tls: true,
            }];
            Kme::start(options).unwrap()
        };
        let north = ["north-a", "north-b"].map(|name| kme(name, 0));
        let south = ["south-a", "south-b"].map(|name| kme(name, 1));
        Self {
            setup,
            north,
            south,
        }
    }

    fn gateway(&self, sae: &str, end: usize) -> Gateway {
        let tls = KmeTransport::Tls;
        let north = self.north[end].address();
        let south = self.south[end].doors()[0];
        self.setup.gateway_beside(
            sae,
            &[
                (north, KmeInterface::Etsi014, tls, Some("north")),
                (south, KmeInterface::Etsi004Json, tls, Some("south")),
            ],
        )
    }
}

#[test]
fn the_next_kme_is_asked_and_a_keys_name_says_whose_it_is() {
    let links = Links::new();
    let (mut a, mut b) = (links.gateway("sae-a", 0), links.gateway("sae-b", 1));
    let (name, key) = a.new_key("sae-b").unwrap();
    assert!(name.as_str().starts_with("north:"), "{name}");
    let (_, same) = b.same_key("sae-a", name.as_str()).unwrap();
    assert_eq!(key.expose(), same.expose());

    for order in ["refuse", "bad-request", "drop", "zero-key", "hang"] {
        links.north[0].order("honest");
        links.north[0].order(&format!("{order} on=all"));
        let begun = Instant::now();
        let (name, key) = a.new_key("sae-b").expect(order);
        assert!(begun.elapsed() < Duration::from_secs(3), "{order}");
        assert!(name.as_str().starts_with("south:"), "{order}: {name}");
        let (_, same) = b.same_key("sae-a", name.as_str()).unwrap();
        assert_eq!(key.expose(), same.expose(), "{order}");
    }
    links.north[0].order("honest");
    for unknown in ["west:1", "1", "south:not-a-place"] {
        assert!(b.same_key("sae-a", unknown).is_err(), "{unknown}");
    }
    let unknown = b.same_key("sae-a", "west:1");
    assert_eq!(unknown.unwrap_err(), QkdRefusal::Unreachable);
}

#[test]
fn a_refused_link_is_reported_left_alone_and_used_again_when_it_is_good() {
    let links = Links::new();
    let mut a = links.gateway("sae-a", 0);
    links.north[0].order("zero-key");
    let orders: Vec<_> = (0..5).map(|_| a.order_new_key("sae-b")).collect();
    for _ in orders {
        assert!(a.reply().1.unwrap().as_str().starts_with("south:"));
    }
    let report = a.report(|report| {
        report.interface == KmeInterface::Etsi014 && report.state == LinkState::Refused
    });
    assert_eq!(report.reason, Some(LinkReason::ZeroKeys));
    assert!(
        report.counts.zero >= 4 && report.counts.given == 0,
        "{report:?}"
    );
    let before = links.north[0].count("enc_keys");
    for _ in 0..10 {
        let (name, _) = a.new_key("sae-b").unwrap();
        assert!(name.as_str().starts_with("south:"));
    }
    assert!(
        links.north[0].count("enc_keys") <= before + 1,
        "it is left alone"
    );
    links.north[0].order("honest");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !a.new_key("sae-b").unwrap().0.as_str().starts_with("north:") {
        assert!(Instant::now() < deadline, "never tried again");
        a.stream_or_rest(Duration::from_millis(100));
    }
}

/// One KME drips and the other is flooded with nothing: orders are served, in bounded memory.
#[test]
fn a_kme_that_drips_or_floods_costs_the_other_links_nothing() {
    let links = Links::new();
    let mut a = links.gateway("sae-a", 0);
    for order in ["drip 200 on=all", "oversize on=all", "not-http on=all"] {
        links.north[0].order("honest");
        links.north[0].order(order);
        let begun = Instant::now();
        let orders: Vec<_> = (0..60)
            .map(|peer| a.order_new_key(&format!("sae-{peer}")))
            .collect();
        for _ in &orders {
            let (_, outcome) = a.reply();
            assert!(outcome.unwrap().as_str().starts_with("south:"), "{order}");
        }
        assert!(begun.elapsed() < Duration::from_secs(6), "{order}");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", a.role.pid().as_raw_pid()));
    let status = status.unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
        .unwrap();
    let resident: u64 = resident.trim().parse().unwrap();
    assert!(resident < 64 * 1024, "{resident} KiB");
}
