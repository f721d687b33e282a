//! The peer role: carries what the engines of two gateways say to each other.
//!
//! One TLS connection a pair, with mutual certificates; who is at the other end stands in the
//! certificate, and the engine is told only that name. What a peer says is data: it is handed on
//! whatever it is, and what cannot be read ends the link, never the process.
#![forbid(unsafe_code)]

mod connection;
mod door;
pub mod frame;
mod links;
mod listen;
mod outbox;
mod pace;
mod role;
mod tls;

pub use role::work;
