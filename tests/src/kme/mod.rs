//! A KME that serves ETSI GS QKD 014 V1.1.1 and 004 V2.1.1, and misbehaves on order.
//!
//! Two of them with one seed are the two ends of a QKD link: they share no connection. What they
//! must agree on is derived from the seed, and a key's name proves that a KME of this link issued
//! it. See `README.md` beside this file for the command line and the orders.

mod api;
mod certificate;
mod fault;
mod http;
mod key;
mod orders;
mod reply;
mod server;
mod store;
mod stream;

pub use certificate::sae_of;
pub use fault::{Behaviour, Instead, KeyFault, OrderError, Plan, Request, Wire};
pub use key::Link;
pub use server::{Door, Form, Groups, Kme, KmeError, Options};
pub use store::{Outages, Pace, Redeem, Store};
