//! The testbeds: guests to boot, gateways to wire up in them, traffic to send through and to watch.
//!
//! A test that needs a kernel of its own is one function: [`in_guest!`] boots the kernel and runs the same test again
//! inside it, where the body is PID 1's only work.
#![forbid(unsafe_code)]

pub mod demo;
pub mod interop;
pub mod kme;
pub mod pki;
pub mod played;
pub mod testbed;
pub mod units;
