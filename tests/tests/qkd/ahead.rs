//! Keys that are fetched before they are ordered, and what is told of a link.

use std::time::{Duration, Instant};

use bartizan_model::ids::{KeyId, SaeId};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::EngineToQkd;
use bartizan_model::report::{LinkReason, LinkState, QkdRefusal};

use crate::link::{Gateway, Setup};

/// As many as a pool holds.
const POOL: u32 = 8;

/// Orders keys until the pool is full.
fn demand(gateway: &mut Gateway) {
    for _ in 0..20 {
        gateway.new_key("sae-b").unwrap();
    }
    gateway.report(|report| report.prefetched == POOL);
}

#[test]
fn keys_that_wait_answer_orders_at_once_and_are_the_peers_too() {
    let setup = Setup::new();
    let (kme_a, kme_b) = (setup.kme("kme-a"), setup.kme("kme-b"));
    let mut a = setup.gateway("sae-a", &kme_a);
    let mut b = setup.gateway("sae-b", &kme_b);
    demand(&mut a);
    kme_a.order("hang on=all");
    let begun = Instant::now();
    for _ in 0..POOL {
        let (name, key) = a.new_key("sae-b").unwrap();
        let (_, same) = b.same_key("sae-a", name.as_str()).unwrap();
        assert_eq!(key.expose(), same.expose());
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
    let dry = a.new_key("sae-b");
    assert_eq!(dry.unwrap_err(), QkdRefusal::TimedOut);
}

#[test]
fn a_lone_order_wastes_no_key() {
    let setup = Setup::new();
    let kme = setup.kme("kme-a");
    let mut gateway = setup.gateway("sae-a", &kme);
    for peer in ["sae-b", "sae-c", "sae-d"] {
        gateway.new_key(peer).unwrap();
    }
    assert_eq!(kme.count("enc_keys"), 3);
}

#[test]
fn a_link_that_fails_or_a_quarantine_wipes_what_waits() {
    let setup = Setup::new();
    let kme = setup.kme("kme-a");
    let mut gateway = setup.gateway("sae-a", &kme);
    demand(&mut gateway);
    drop(kme);
    // One is there; the next that is to be fetched shows that the KME is away.
    gateway.new_key("sae-b").unwrap();
    gateway.report(|report| report.prefetched == 0 && report.counts.wasted > 0);

    let kme = setup.kme("kme-a");
    let mut gateway = setup.gateway("sae-a", &kme);
    demand(&mut gateway);
    kme.order("refuse");
    gateway.role.enter(Lifecycle::Quarantined);
    let deadline = Instant::now() + Duration::from_secs(5);
    while gateway.new_key("sae-b").is_ok() {
        assert!(Instant::now() < deadline, "keys outlive the quarantine");
    }
}

#[test]
fn what_a_link_is_worth_is_told() {
    let setup = Setup::new();
    let kme = setup.kme("kme-a");
    let mut gateway = setup.gateway("sae-a", &kme);
    let (name, _) = gateway.new_key("sae-b").unwrap();
    let first = gateway.report(|report| report.counts.given == 1);
    assert_eq!(first.peer.as_str(), "sae-b");
    assert_eq!((first.state, first.reason), (LinkState::Healthy, None));
    assert!(first.stored_keys.unwrap() > 1000);
    assert!(first.latency.unwrap().p50 < 3000);

    kme.order("refuse");
    for _ in 0..7 {
        assert!(gateway.new_key("sae-b").is_err());
    }
    let refused = gateway.report(|report| report.state == LinkState::Refused);
    assert_eq!(refused.reason, Some(LinkReason::Exhausted));
    assert_eq!(refused.said.unwrap().as_str(), "no key is available");

    // The peer's end alone is bad: this one is told by the engine.
    let (peer, other) = ("sae-c", KeyId::try_from(name.as_str()).unwrap());
    kme.order("honest");
    gateway.new_key(peer).unwrap();
    for _ in 0..6 {
        gateway.say(&EngineToQkd::Unused {
            peer: SaeId::try_from(peer).unwrap(),
            key: other.clone(),
        });
    }
    let without =
        gateway.report(|report| report.state == LinkState::Refused && report.peer.as_str() == peer);
    assert_eq!(without.reason, Some(LinkReason::PeerWithout));
    assert_eq!(without.counts.unused, 6);
}

#[test]
fn waiting_orders_share_requests_and_one_bad_name_spoils_no_other() {
    let setup = Setup::new();
    let (kme_a, kme_b) = (setup.kme("kme-a"), setup.kme("kme-b"));
    let mut a = setup.gateway("sae-a", &kme_a);
    let mut b = setup.gateway("sae-b", &kme_b);
    kme_a.order("delay 30");
    kme_b.order("delay 30");
    let orders: Vec<_> = (0..300).map(|_| a.order_new_key("sae-b")).collect();
    let names: Vec<KeyId> = orders.iter().map(|_| a.reply().1.unwrap()).collect();
    assert!(kme_a.count("enc_keys") < 150, "{}", kme_a.count("enc_keys"));

    let mut wanted = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let invented = number % 50 == 49;
        let asked = if invented {
            "no-such-key"
        } else {
            name.as_str()
        };
        wanted.push((b.order_same_key("sae-a", asked), invented));
    }
    for _ in &wanted {
        let (order, outcome) = b.reply();
        let (_, invented) = wanted.iter().find(|(known, _)| *known == order).unwrap();
        assert_eq!(outcome.is_err(), *invented, "{outcome:?}");
    }
    assert!(kme_b.count("dec_keys") < 250, "{}", kme_b.count("dec_keys"));
}
