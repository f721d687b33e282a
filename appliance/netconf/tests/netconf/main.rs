//! The gateway's and the owner's end of NETCONF against each other, and the gateway's against what
//! nobody should send.
#![cfg(test)]
#![forbid(unsafe_code)]
#![expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]

mod attestation;
mod bench;
mod documents;
mod edits;
mod filters;
mod keys;
mod limits;
mod notifications;
mod programmable;
mod restart;
mod round_trip;
mod schema;
mod sessions;
mod wrong;
