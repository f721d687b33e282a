//! What the engine decides, without doing it: no socket, no clock, no thread.
//!
//! [`engine::Engine`] takes what its neighbours say, and the time, and says what is to be done. Read
//! [`generation`] for the life of one pair of SAs, [`wheel`] for the three of a tunnel, [`resume`] for
//! what two ends make of each other after a cut, [`hybrid`] for what a key is bound to and [`lease`]
//! for what everything rests on.
#![forbid(unsafe_code)]

pub mod budget;
pub mod classical;
pub mod counters;
mod desk;
mod edit;
pub mod engine;
pub mod exchange;
pub mod generation;
mod handshake;
pub mod hybrid;
pub mod kem;
mod kernel;
pub mod lease;
mod life;
mod lifetime;
mod orders;
mod outbox;
mod pacing;
pub mod pair;
mod peering;
mod peers;
mod qkd;
mod renewal;
mod replies;
mod report;
pub mod resume;
mod sources;
mod spd;
mod spis;
mod steering;
mod streams;
mod succession;
mod timers;
mod times;
mod tunnel;
pub mod wheel;
mod words;

pub use desk::KEYING_MAX;
pub use edit::ENTRIES_MAX;
pub use orders::WINDOW;
pub use peers::{NONSENSE_MAX, REFUSALS_SPAN};
pub use times::{DRAIN, SETTLE};
