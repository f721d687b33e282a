//! The control role: speaks with the owner's controller.
//!
//! It calls home (RFC 8071): opens TCP to the controller, is the server of TLS 1.3 and of NETCONF on
//! it, and tries again for ever. One connection at a time; the next is opened when it has ended.
//! What a controller asks is judged by `bartizan-netconf` and by the engine; what it gets wrong is
//! an error to it, counted, never the end of the process. This loop only carries.
#![forbid(unsafe_code)]

mod connection;
mod copy;
mod home;
mod inquiry;
mod role;

pub use role::{work, work_unbound};
