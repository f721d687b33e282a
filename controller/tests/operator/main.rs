//! What an operator does with devices and vouchers: the controller and its commands as processes.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test: strings are joined, and what is not expected fails it"
)]

#[cfg(test)]
mod devices;
#[cfg(test)]
mod office;
#[cfg(test)]
mod rest;
#[cfg(test)]
mod vouchers;
