//! What the engine decides, without doing it: no socket, no clock, no thread.
#![forbid(unsafe_code)]

pub mod engine;
pub mod exchange;
pub mod generation;
pub mod hybrid;
pub mod kem;
pub mod lease;
pub mod resume;
pub mod wheel;
