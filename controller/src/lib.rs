//! The owner's controller: gateways call home, and it steers them (RFC 9061, IKE-less case) and
//! grants the leases that they work under.
//!
//! One [`plan`] says which tunnels there are; every gateway that calls home is led to its part of
//! it. The controller holds no key of any tunnel: the pairs make their own.
#![forbid(unsafe_code)]

mod attestation;
pub mod authority;
pub mod chains;
mod clock;
pub mod command;
pub mod config;
pub mod credential;
mod descriptors;
mod desk;
pub mod device;
mod fleet;
mod gateway;
mod link;
pub mod local;
pub mod maker;
mod metrics;
pub mod plan;
pub mod reconcile;
mod registrar;
pub mod reqids;
pub mod rest;
pub mod serve;
mod session;
pub mod status;
pub mod store;
pub mod verifier;
