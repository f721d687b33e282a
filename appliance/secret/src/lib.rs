//! Key material in locked memory, and the few calls that no safe crate offers.
//!
//! A [`Secret`] lives in one 64-byte slot of an arena of locked pages between guard pages: never
//! swapped, in no core dump, not inherited by a child, wiped on drop. It has no `Clone`, no
//! `Serialize`, no `PartialEq` and no way to print its bytes, so a copy is always visible in the
//! code that makes it. [`LockedBuffer`] is the same for more bytes, [`ZeroOnFree`] and
//! [`clobber_stack`] take care of the copies that foreign code leaves behind.
//!
//! There is no way to hold a secret in memory that is not locked: where neither `memfd_secret` nor
//! `mlock` works, [`LockError`] says so and the caller ends.
//!
//! This is the only crate of the workspace with unsafe code.

mod allocator;
mod arena;
mod buffer;
mod inherited;
mod mapping;
mod netlink;
mod secret;
mod stack;

pub use allocator::ZeroOnFree;
pub use buffer::LockedBuffer;
pub use inherited::{InheritedFd, take_inherited_fds};
pub use mapping::{Backing, LockError, backing};
pub use netlink::{netlink_fd, set_netlink_cap_ack};
pub use secret::{EmptySlot, SECRET_MAX, Secret};
pub use stack::clobber_stack;
