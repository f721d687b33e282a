//! The site document: every rule of it, and where it is broken.

use bartizan_bootstrap_protocol::site::{Site, SiteError};
use serde_json::{Value, json};

use crate::documents::changed;
use crate::parties::{Party, site};

fn set(json: &[u8], pointer: &str, value: Value) -> Vec<u8> {
    changed(json, pointer, |place| *place = value)
}

#[test]
fn every_rule_of_a_site_says_where_it_is_broken() {
    let good = site(&Party::new("owner", 2)).encode().unwrap();
    for (place, expected, value) in broken_network().into_iter().chain(broken_ends()) {
        let document = set(&good, &format!("/bartizan-site:site{place}"), value.clone());
        match Site::decode(&document) {
            Err(SiteError::Rule { path, .. }) => assert_eq!(path, expected, "{place} {value}"),
            other => panic!("{place} {value}: {other:?}"),
        }
    }
}

#[test]
fn a_site_is_written_only_as_it_is_read() {
    let owner = Party::new("owner", 2);
    let good = site(&owner).encode().unwrap();
    assert_eq!(Site::decode(&good).unwrap(), site(&owner));
    let unknown = changed(&good, "/bartizan-site:site/network", |place| {
        place["script"] = json!(1);
    });
    assert!(matches!(
        Site::decode(&unknown),
        Err(SiteError::Malformed(_))
    ));
    let mut twice = site(&owner);
    let first = twice.network.interfaces[0].clone();
    twice.network.interfaces.push(first);
    assert!(matches!(twice.encode(), Err(SiteError::Rule { .. })));
}

#[test]
fn a_router_behind_dhcp_or_on_the_link_needs_no_prefix() {
    let good = site(&Party::new("owner", 2)).encode().unwrap();
    for route in [
        route("0.0.0.0/0", "203.0.113.1", "mgmt0"),
        route("::/0", "fe80::1", "lan0"),
    ] {
        let routes = set(&good, "/bartizan-site:site/network/route", json!([route]));
        assert_eq!(Site::decode(&routes).unwrap().network.routes.len(), 1);
    }
}

/// What to put where, and the path of the rule that it breaks.
type Case = (&'static str, &'static str, Value);

fn broken_ends() -> Vec<Case> {
    let call_home = "/controller/call-home";
    let registrar = "/controller/registrar";
    vec![
        ("/controller/name", "/controller/name", json!("Upper")),
        ("/controller/call-home/port", call_home, json!(0)),
        ("/controller/registrar/address", registrar, json!("0.0.0.0")),
        ("/controller/registrar/address", registrar, json!("ff02::1")),
        ("/trust-anchor", "/trust-anchor", json!([])),
        ("/trust-anchor", "/trust-anchor", json!(vec!["AAAA"; 9])),
        ("/trust-anchor/0", "/trust-anchor/0", json!("AAAA")),
        ("/verifier/es384", "/verifier", json!("AAAA")),
        ("/verifier/ml-dsa-65", "/verifier", json!("AAAA")),
    ]
}

fn broken_network() -> Vec<Case> {
    let lan = "/network/interface/1";
    let addresses = "/network/interface/1/address";
    let address = "/network/interface/1/address/0";
    let next = "/network/interface/1/address/1";
    let routes = "/network/route";
    let first = "/network/route/0";
    let gateway = "/network/route/0/gateway";
    let destination = "/network/route/0/destination";
    let interface = "/network/route/0/interface";
    let good = route("10.2.0.0/16", "10.1.0.254", "lan0");
    let nine: Vec<_> = (1..=9).map(|host| format!("10.1.0.{host}/24")).collect();
    vec![
        ("/network/interface/0/name", lan, json!("lan0")),
        ("/network/interface/1/dhcp", lan, json!(true)),
        (addresses, addresses, json!(nine)),
        (address, address, json!("10.1.0.1")),
        (address, address, json!("10.1.0.1/33")),
        (address, address, json!("10.1.0.1/0")),
        (address, address, json!("10.1.0.1/+8")),
        (address, address, json!("127.0.0.1/8")),
        (address, address, json!("239.0.0.1/8")),
        (address, address, json!("0.0.0.0/8")),
        (next, next, json!("10.1.0.1/16")),
        (routes, routes, json!(vec![good; 65])),
        (
            first,
            destination,
            route("10.2.0.1/16", "10.1.0.254", "lan0"),
        ),
        (
            first,
            gateway,
            route("10.2.0.0/16", "2001:db8:1::2", "lan0"),
        ),
        (first, gateway, route("10.2.0.0/16", "10.3.0.1", "lan0")),
        (first, gateway, route("10.2.0.0/16", "127.0.0.1", "mgmt0")),
        (first, interface, route("10.2.0.0/16", "10.1.0.254", "wan0")),
        ("/network/dns", "/network/dns", json!(vec!["192.0.2.1"; 5])),
        ("/network/dns/0", "/network/dns/0", json!("255.255.255.255")),
        ("/network/ntp", "/network/ntp/0", json!(["::"])),
    ]
}

fn route(destination: &str, gateway: &str, interface: &str) -> Value {
    json!({"destination": destination, "gateway": gateway, "interface": interface})
}
