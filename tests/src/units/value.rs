//! The forms that values of directives have.

use std::time::Duration;

use super::{UnitError, file::Assignment};

/// Of `[Unit]` only what changes nothing here is taken: every file system is mounted and every socket listens
/// before the first service starts, all services start at once, and each is started again for itself.
pub(super) fn check_unit(assignment: &Assignment) -> Result<(), UnitError> {
    let value = assignment.value.as_str();
    let sockets = || {
        value
            .split_whitespace()
            .all(|unit| unit.ends_with(".socket"))
    };
    match assignment.key.as_str() {
        "Description" | "Documentation" => Ok(()),
        "PartOf" if value.ends_with(".target") => Ok(()),
        "Before" | "Wants" if value == "network-pre.target" => Ok(()),
        "Requires" | "After" if sockets() => Ok(()),
        "StartLimitIntervalSec" if value == "0" => Ok(()),
        "RequiresMountsFor" if value.starts_with('/') => Ok(()),
        _ => Err(assignment.refused()),
    }
}

pub(super) fn words(value: &str) -> Vec<String> {
    value.split_whitespace().map(str::to_owned).collect()
}

/// An empty assignment resets the list.
pub(super) fn append(list: &mut Vec<String>, value: &str) {
    if value.is_empty() {
        list.clear();
    }
    list.extend(words(value));
}

pub(super) fn boolean(value: &str) -> Option<bool> {
    match value {
        "yes" | "true" | "1" | "on" => Some(true),
        "no" | "false" | "0" | "off" => Some(false),
        _ => None,
    }
}

/// Bytes, or a plain number.
pub(super) fn size(value: &str) -> Option<u64> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &value[digits.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// Seconds, or a number with one unit.
pub(super) fn time(value: &str) -> Option<Duration> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number = digits.parse().ok()?;
    match &value[digits.len()..] {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "min" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}
