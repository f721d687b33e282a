//! What a gateway's TPM says, what the verifier makes of it, and how anybody checks that it did.
//!
//! Upwards: [`structures`] of the TPM, the [`quote`] over PCRs, the logs that explain them, the
//! reference values they must have, the [`verdict`]. Downwards: a [`lease`] is an EAT attestation
//! result in a COSE envelope ([`cose`]) with two signatures, both required. Pure Rust without I/O or
//! clock: the gateway, its peers and the controller use the same code.
#![forbid(unsafe_code)]

pub mod appraisal;
pub mod binding;
pub mod cbor;
pub mod cose;
pub mod firmware_log;
pub mod hex;
pub mod ima_log;
pub mod lease;
pub mod order;
pub mod pcr_key;
pub mod quote;
pub mod reference;
pub mod replay;
pub mod structures;
pub mod userspace_log;
pub mod verdict;
