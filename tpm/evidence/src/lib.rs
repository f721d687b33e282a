//! What the verifier says about a gateway, and how anybody checks that it said so.
//!
//! A [`lease`] is an EAT attestation result in a COSE envelope ([`cose`]) with two signatures, both
//! required. Pure Rust without I/O or clock: the gateway, its peers and the controller use the same
//! code.
#![forbid(unsafe_code)]

mod cbor;
pub mod cose;
pub mod lease;
