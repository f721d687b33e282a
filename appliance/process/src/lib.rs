//! What every process of the appliance has in common: its start, its channels, its end.
//!
//! [`run`] is the `main` of a role. It makes the order unchangeable: first act, connect, lock down,
//! report, ends, `Start`, work. [`Channel`] is one end of an edge. [`Fault`] is why a process ends.
//!
//! A role that polls waits on its channels' descriptors; a role with an event loop of its own
//! wraps each [`Channel`] in that loop's type for descriptors: it never blocks.
#![forbid(unsafe_code)]

mod channel;
mod clock;
mod counters;
mod fault;
mod frame;
pub mod journal;
mod lockdown;
mod notify;
mod start;
mod vocabulary;

pub use channel::{Channel, ChannelError, QUEUE_MAX, QUEUE_ROOM, Received, socket_pair};
pub use clock::boot_time;
pub use counters::Counters;
pub use fault::{Exit, Fault};
pub use lockdown::{Folders, lock_down_supervisor};
pub use notify::{Notifier, Watchdog};
pub use start::{Ends, SWITCHBOARD, Started, SupervisorChannel, run, run_in};
pub use vocabulary::{Beside, Vocabulary};
