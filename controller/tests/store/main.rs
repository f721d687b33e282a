//! What the store promises, in both of its places.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test: small numbers, and what overflows fails it"
)]

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod database;
#[cfg(test)]
mod file;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod promises;
