//! The man page says what the code does.
#![cfg(test)]
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use bartizan::roles::ROLES;
use bartizan::status;
use bartizan_model::lifecycle::Lifecycle;
use bartizan_process::{Exit, SWITCHBOARD};

const PAGE: &str = include_str!("../man/bartizan.8.md");
const CONFIG: &str = include_str!("../appliance.toml");

#[test]
fn every_state_is_there_in_the_order_of_life() {
    let states: Vec<_> = Lifecycle::ALL
        .iter()
        .map(|state| format!("{state:?}"))
        .collect();
    assert_eq!(first_column("## STATES"), states);
}

#[test]
fn every_role_is_there() {
    let roles: Vec<_> = ROLES
        .iter()
        .map(|row| format!("{:?}", row.role).to_lowercase())
        .collect();
    assert_eq!(first_column("## DESCRIPTION"), roles);
}

#[test]
fn every_exit_code_is_there() {
    let codes: BTreeSet<String> = first_column("## EXIT STATUS")
        .into_iter()
        .filter(|code| code != "0")
        .collect();
    let known = [
        Exit::Usage,
        Exit::Unavailable,
        Exit::Software,
        Exit::OsErr,
        Exit::IoErr,
        Exit::TempFail,
        Exit::Protocol,
        Exit::NoPerm,
        Exit::Config,
    ];
    assert_eq!(
        codes,
        known.iter().map(|exit| exit.code().to_string()).collect()
    );
}

#[test]
fn every_key_is_there() {
    let mut keys = BTreeSet::new();
    let mut table = "";
    for line in CONFIG.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_start_matches('[').split(']').next().unwrap();
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.insert(format!("{table}.{key}"));
        }
    }
    let described: BTreeSet<String> = first_column("## CONFIGURATION").into_iter().collect();
    assert_eq!(described, keys);
}

#[test]
fn the_sockets_are_where_the_page_and_the_units_say() {
    let files = first_column("## FILES");
    for (socket, unit) in [
        (
            SWITCHBOARD,
            include_str!("../units/bartizan-switchboard.socket"),
        ),
        (
            status::SOCKET,
            include_str!("../units/bartizan-status.socket"),
        ),
    ] {
        assert!(files.iter().any(|file| file == socket), "{socket}");
        assert!(
            unit.lines()
                .any(|line| line.ends_with(&format!("={socket}"))),
            "{socket}"
        );
    }
}

#[test]
fn each_role_has_a_unit_that_starts_it_as_its_user() {
    let users = include_str!("../units/bartizan.sysusers");
    for row in ROLES {
        let role = format!("{:?}", row.role).to_lowercase();
        let path = format!(
            "{}/units/bartizan-{role}.service",
            env!("CARGO_MANIFEST_DIR")
        );
        let unit = std::fs::read_to_string(&path).unwrap();
        assert!(unit.contains(&format!("\nUser={}\n", row.user)), "{path}");
        assert!(
            unit.contains(&format!("\nExecStart=/usr/bin/bartizan-{role}")),
            "{path}"
        );
        let capability = unit.contains("\nCapabilityBoundingSet=\n");
        assert_eq!(capability, role != "xfrm", "{path}");
        assert!(
            users
                .lines()
                .any(|line| line.starts_with(&format!("u {} ", row.user))),
            "{path}"
        );
    }
}

/// The cells of the first column of the first table after a heading.
fn first_column(heading: &str) -> Vec<String> {
    let (_, rest) = PAGE.split_once(heading).unwrap();
    rest.lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.split('|').nth(1).unwrap().trim().to_owned())
        .collect()
}
