//! Bootstrap and enrolment through the public door: a maker, an owner, a box.
#![cfg(test)]
#![forbid(unsafe_code)]
#![expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]

mod certificates;
mod documents;
mod interop;
mod message;
mod parties;
mod refusals;
mod sessions;
mod site;
mod tpm;
mod wire;
