//! The qkd role: gets keys from the KMEs beside this gateway (ETSI GS QKD 014 V1.1.1 and 004 V2.1.1).
//!
//! The engine orders, a KME answers, a key goes to the engine in the secret slot, at once where one
//! was fetched ahead. What a KME gets wrong is a refusal with its reason, counted and held against its
//! link, never the end of the process. A key is in clear only in locked memory.
#![forbid(unsafe_code)]

mod dispatch;
pub mod document;
mod health;
mod json;
mod kme;
mod line;
mod pool;
mod request;
pub mod response;
mod role;
mod seen;
mod session;
pub mod stream;
mod streams;
mod worker;

pub use role::work;
