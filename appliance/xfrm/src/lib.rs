//! The xfrm role: programs the kernel's SAD and SPD as the engine orders.
//!
//! It is the only process with `CAP_NET_ADMIN`, and it reads nothing from a network: orders come
//! from the engine, answers from the kernel. A key exists here in its secret slot and in the locked
//! buffer of one batch, which is wiped when the kernel has it.
//!
//! | layer | modules |
//! |---|---|
//! | orders and events | `programmer`, `plan`, `renewal`, `report` |
//! | what is to stand | `spd` (policies), `table` (SAs), `clock` (ends) |
//! | the kernel | `kernel`, `events`, `socket`, `request`, `reply` (messages) |
//! | bytes | `sa`, `policy`, `selector`, `wire`, `numbers` |
#![forbid(unsafe_code)]

mod clock;
mod events;
mod kernel;
mod numbers;
mod plan;
mod policy;
mod programmer;
mod renewal;
mod reply;
mod report;
mod request;
mod sa;
mod selector;
mod socket;
mod spd;
mod table;
mod wire;

pub use clock::{ClockWatch, Moment};
pub use events::{Events, Heard};
pub use kernel::{BATCH_MAX, Batch, Kernel, Outcome, XfrmError};
pub use policy::{KernelDirection, KernelPolicy, PolicyId, PolicyShown, Template, Verdict};
pub use programmer::{Counts, Programmer};
pub use reply::{Event, Refusal, Replies, Reply, Said, Shown};
pub use request::{Dump, Request};
pub use sa::{KernelSa, Limits, Replay, ReplayWindow, SaCounters, SaKey, SaShown, Used};
pub use selector::{KernelSelector, Owner, Upper};
pub use spd::{block_all, bypasses, program};
pub use wire::NoRoom;
