//! The controller as a process, with gateways that call home to it: their NETCONF end is the one
//! that ships, what their engine says is scripted.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test: small numbers, and what is not expected fails it"
)]

#[cfg(test)]
mod gateway;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod owner;
#[cfg(test)]
mod steering;
