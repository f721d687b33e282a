//! The xfrm role: programs the kernel's SAD and SPD as the engine orders.
//!
//! It is the only process with `CAP_NET_ADMIN`, and it reads nothing from a network: orders come
//! from the engine, answers from the kernel. A key exists here in its secret slot and in the locked
//! buffer of one batch, which is wiped when the kernel has it.
#![forbid(unsafe_code)]

mod events;
mod kernel;
mod numbers;
mod policy;
mod reply;
mod request;
mod sa;
mod selector;
mod wire;

pub use events::{Events, Heard};
pub use kernel::{BATCH_MAX, Batch, Kernel, Outcome, XfrmError};
pub use policy::{KernelDirection, KernelPolicy, PolicyId, PolicyShown, Template, Verdict};
pub use reply::{Event, Refusal, Replies, Reply, Said, Shown};
pub use request::{Dump, Request};
pub use sa::{KernelSa, Limits, Replay, ReplayWindow, SaCounters, SaKey, SaShown, Used};
pub use selector::{KernelSelector, Owner, Upper};
pub use wire::NoRoom;
