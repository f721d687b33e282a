//! The configuration: what is wrong is named by its key.
#![cfg(test)]
#![forbid(unsafe_code)]

use bartizan::config::{Config, ConfigError, Required};
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
}

#[test]
fn paths_are_relative_to_the_file() {
    let folder = std::env::temp_dir().join(format!("bartizan-config-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("appliance.toml"), SHIPPED).unwrap();
    let config = Config::read(&folder.join("appliance.toml")).unwrap();
    assert_eq!(config.manufacturer.es384, folder.join("voucher-root.pem"));
    assert_eq!(config.state, std::path::Path::new("/var/lib/bartizan"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_server_has_a_name_or_an_address_and_a_port() {
    let servers = "servers = [\"a.example:1\", \"192.0.2.1:443\", \"[2001:db8::1]:8443\"]";
    let config = changed("servers = [\"bootstrap.example:443\"]", servers).unwrap();
    let servers = config.discovery.servers.iter();
    let servers: Vec<_> = servers.map(|at| (at.host.as_str(), at.port)).collect();
    let expected = [("a.example", 1), ("192.0.2.1", 443), ("2001:db8::1", 8443)];
    assert_eq!(servers, expected);
}

#[test]
fn a_value_that_breaks_a_rule_is_named_by_its_key() {
    let nine = format!("[{}]", ["\"a:1\""; 9].join(", "));
    for (key, from, to) in [
        ("platform.hw-model", "\"Bartizan 1\"", "\"\""),
        ("platform.hw-model", "\"Bartizan 1\"", "\"B\\n\""),
        ("platform.os-name", "\"bartizan\"", "\"\u{fc}\""),
        ("platform.os-version", "\"0.1.0\"", "\"\""),
        ("platform.os-version", "\"0.1.0\"", "\"1..2\""),
        ("platform.os-version", "\"0.1.0\"", "\"1.x\""),
        ("platform.os-version", "\"0.1.0\"", "\"+1\""),
        ("discovery.dhcp-option", "= 224", "= 143"),
        ("discovery.dhcp-option", "= 224", "= 255"),
        (
            "discovery.servers",
            "bootstrap.example:443",
            "bootstrap.example",
        ),
        (
            "discovery.servers",
            "bootstrap.example:443",
            "bootstrap.example:0",
        ),
        (
            "discovery.servers",
            "bootstrap.example:443",
            "2001:db8::1:443",
        ),
        ("discovery.servers", "bootstrap.example:443", "[::x]:443"),
        ("discovery.servers", "bootstrap.example:443", "a b:443"),
        ("discovery.servers", "[\"bootstrap.example:443\"]", &nine),
    ] {
        match changed(from, to) {
            Err(ConfigError::Value { key: named, .. }) => assert_eq!(named, key, "{to}"),
            other => panic!("{key} {to}: {other:?}"),
        }
    }
}

#[test]
fn an_unknown_a_missing_or_a_mistyped_key_is_named_with_its_line() {
    for (from, to, named) in [
        ("[platform]", "[platform]\nspeed = 1", "speed"),
        ("[state]", "[state]\nkey = 1", "key"),
        (
            "[state]",
            "[lease]\nunattested = \"accept\"\n[state]",
            "lease",
        ),
        ("[required]", "[required]\nyama = true", "yama"),
        ("[discovery]", "[discover]", "discover"),
        ("servers = [\"bootstrap.example:443\"]", "", "servers"),
        ("seccomp = true", "", "seccomp"),
        ("seccomp = true", "seccomp = 1", "boolean"),
        ("landlock = 7", "landlock = -1", "-1"),
        ("memory = \"memfd-secret\"", "memory = \"none\"", "none"),
        (
            "os-name = \"bartizan\"",
            "os-name = \"bartizan\"\nos-name = \"b\"",
            "duplicate key",
        ),
    ] {
        match changed(from, to) {
            Err(ConfigError::Document { line, text }) => {
                assert!(text.contains(named), "{to}: {text}");
                assert!(line > 1 || text.contains("missing"), "{to}");
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
