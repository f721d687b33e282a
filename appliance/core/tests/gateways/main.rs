//! Real engines against models of what is around them: kernels, KMEs, a verifier, a network, all on
//! one virtual clock.
#![cfg(test)]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::unchecked_time_subtraction,
    reason = "an overflow fails the test, as it should"
)]
#![expect(
    clippy::duration_suboptimal_units,
    reason = "a story is told in one unit"
)]

mod cut_everywhere;
mod fault_matrix;
mod gateway;
mod hostile_peer;
mod invariants;
mod kernel;
mod kme;
mod neighbours;
mod network;
mod planted;
mod policies;
mod rng;
mod scale;
mod scarcity;
mod steering;
mod streams;
mod traffic;
mod two_gateways;
mod verifier;
mod whatever_happens;
mod world;
