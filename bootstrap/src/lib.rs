//! The bootstrap role: finds whose the box is, and enrols with that owner.
//!
//! Who the owner is, signed data alone says (RFC 8572, RFC 8366): a voucher that the maker signed
//! twice and what its owner signed twice. Whoever brought it is not trusted, so the box asks
//! everybody who might know. It asks for ever, at growing intervals, and never takes less.
//!
//! The role parses what strangers say and holds no key: keys are in the TPM, behind the tpm edge.
#![forbid(unsafe_code)]

mod certificate;
mod discover;
mod dns;
mod enrol;
mod error;
mod http;
mod identity;
mod lookup;
mod role;
mod seek;
mod tpm;

pub use role::{work, work_unbound};
