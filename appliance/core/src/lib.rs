//! What the engine decides, without doing it: no socket, no clock, no thread.
#![forbid(unsafe_code)]

pub mod hybrid;
pub mod kem;
pub mod lease;
