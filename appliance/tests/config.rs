//! The configuration: what is wrong is named by its key.
#![cfg(test)]
#![forbid(unsafe_code)]

use std::net::SocketAddr;

use bartizan::config::{Config, ConfigError, Required};
use bartizan_model::config::{Groups, Unattested};
use bartizan_model::message::Memory;

const SHIPPED: &str = include_str!("../appliance.toml");

#[test]
fn the_shipped_configuration_requires_everything() {
    let config = Config::parse(SHIPPED).unwrap();
    let Required {
        landlock,
        seccomp,
        memory,
    } = Required::ALL;
    assert_eq!(config.required.landlock, landlock);
    assert_eq!(config.required.seccomp, seccomp);
    assert_eq!(config.required.memory, memory);
    assert_eq!(memory, Memory::Secret);
    assert_eq!(config.unattested, Unattested::Refuse);
    assert_eq!(config.kme.unwrap().groups, Groups::HybridOnly);
}

#[test]
fn xfrm_lets_the_controller_and_the_kme_pass() {
    let xfrm = Config::parse(SHIPPED).unwrap().xfrm();
    let services: Vec<SocketAddr> = vec![
        "198.51.100.10:4335".parse().unwrap(),
        "192.0.2.20:443".parse().unwrap(),
    ];
    assert_eq!(xfrm.services, services);
    assert_eq!(xfrm.addresses.len(), 2);
    assert_eq!(xfrm.peer_port, 9061);
}

#[test]
fn what_may_be_left_out_has_its_default() {
    let without = SHIPPED.replace("port = 9061\n", "");
    let kme = without.find("[[kme]]").unwrap()..without.find("[lease]").unwrap();
    let mut without = without;
    without.replace_range(kme, "");
    let config = Config::parse(&without).unwrap();
    assert_eq!(config.peer_port, 9061);
    assert_eq!(config.peer_listen, config.addresses);
    assert!(config.kme.is_none());
}

#[test]
fn a_value_that_breaks_a_rule_is_named_by_its_key() {
    for (key, from, to) in [
        ("node.id", "\"gateway.example\"", "\"Gateway\""),
        ("node.addresses", "[\"192.0.2.1\", \"2001:db8::1\"]", "[]"),
        ("node.addresses", "\"192.0.2.1\"", "\"0.0.0.0\""),
        ("node.addresses", "\"192.0.2.1\"", "\"224.0.0.1\""),
        ("node.addresses", "\"192.0.2.1\"", "\"::1\""),
        ("node.addresses", "\"192.0.2.1\"", "\"2001:db8::1\""),
        (
            "controller.address",
            "198.51.100.10:4335",
            "198.51.100.10:0",
        ),
        ("controller.address", "198.51.100.10:4335", "0.0.0.0:4335"),
        ("controller.name", "controller.example", ""),
        ("peer.port", "9061", "0"),
        ("peer.listen", "port = 9061", "listen = []"),
        ("peer.listen", "port = 9061", "listen = [\"192.0.2.9\"]"),
        ("kme.interface", "\"014\"", "\"004\""),
        ("kme.address", "192.0.2.20:443", "192.0.2.20:0"),
        ("kme.name", "kme.example", "KME"),
        ("kme.sae", "\"gateway\"", "\"a/b\""),
    ] {
        match changed(from, to) {
            Err(ConfigError::Value { key: named, .. }) => assert_eq!(named, key, "{to}"),
            other => panic!("{key} {to}: {other:?}"),
        }
    }
}

#[test]
fn two_kmes_are_one_too_many() {
    let start = SHIPPED.find("[[kme]]").unwrap();
    let end = SHIPPED.find("[lease]").unwrap();
    let twice = SHIPPED.replace("[lease]", &format!("{}\n[lease]", &SHIPPED[start..end]));
    assert!(matches!(Config::parse(&twice), Err(ConfigError::Value { key, .. }) if key == "kme"));
}

#[test]
fn an_unknown_a_missing_or_a_mistyped_key_is_named_with_its_line() {
    for (from, to, named) in [
        ("[peer]", "[peer]\nspeed = 1", "speed"),
        ("[lease]", "[lease]\nattested = 1", "attested"),
        ("[required]", "[required]\nyama = true", "yama"),
        ("[node]", "[nodes]", "nodes"),
        ("unattested = \"refuse\"", "", "unattested"),
        ("unattested = \"refuse\"", "unattested = \"maybe\"", "maybe"),
        ("seccomp = true", "", "seccomp"),
        ("seccomp = true", "seccomp = 1", "boolean"),
        ("landlock = 7", "landlock = -1", "-1"),
        ("memory = \"memfd-secret\"", "memory = \"none\"", "none"),
        ("\"hybrid-only\"", "\"classical\"", "classical"),
        (
            "id = \"gateway.example\"",
            "id = \"gateway.example\"\nid = \"b\"",
            "duplicate key",
        ),
        (
            "198.51.100.10:4335",
            "controller.example:4335",
            "socket address",
        ),
    ] {
        match changed(from, to) {
            Err(ConfigError::Document { line, text }) => {
                assert!(text.contains(named), "{to}: {text}");
                assert!(
                    line > 1 || text.contains("nodes") || text.contains("missing"),
                    "{to}"
                );
            }
            other => panic!("{to}: {other:?}"),
        }
    }
}

#[test]
fn the_line_is_the_one_at_fault() {
    let broken = SHIPPED.replace("seccomp = true", "seccomp = 1");
    let line = broken
        .lines()
        .position(|line| line == "seccomp = 1")
        .unwrap()
        .saturating_add(1);
    let Err(ConfigError::Document { line: named, .. }) = Config::parse(&broken) else {
        panic!("a number is no boolean");
    };
    assert_eq!(named, line);
}

/// The shipped configuration with one thing changed.
fn changed(from: &str, to: &str) -> Result<Config, ConfigError> {
    assert!(SHIPPED.contains(from), "{from}");
    Config::parse(&SHIPPED.replacen(from, to, 1))
}
