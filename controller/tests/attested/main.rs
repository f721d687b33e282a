//! The controller as a process, with boxes that enrol at it and are attested by it: their protocol ends are those that
//! ship, their TPM is a model, and so is what their engine says.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a test: small numbers, a process and its time, and what is not expected fails it"
)]

#[cfg(test)]
mod asking;
#[cfg(test)]
mod attestation;
#[cfg(test)]
mod boxes;
#[cfg(test)]
mod certified;
#[cfg(test)]
mod crowd;
#[cfg(test)]
mod enrolment;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod lapsed;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod owner;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod tpm;
