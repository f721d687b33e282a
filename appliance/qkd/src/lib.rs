//! The qkd role: gets keys from the KME beside this gateway (ETSI GS QKD 014 V1.1.1).
//!
//! The engine orders, the KME answers over TLS, a key goes to the engine in the secret slot. What
//! the KME gets wrong is a refusal with its reason, counted, never the end of the process. A key is
//! in clear only in locked buffers on its way from the record to the slot.
#![forbid(unsafe_code)]

mod dispatch;
pub mod document;
mod json;
mod request;
pub mod response;
mod role;
mod seen;
mod session;
mod worker;

pub use role::work;
