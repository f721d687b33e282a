//! The gateway's end of NETCONF, without I/O.
//!
//! A [`Gateway`] is what outlives a session: the running configuration, what the engine reported,
//! and the one question that the engine has yet to answer. A [`Session`] is one connection. The loop
//! around them carries bytes, orders and verdicts:
//!
//! 1. bytes from the controller into [`Session::receive`];
//! 2. [`Session::advance`], which answers what it can and leaves a question in the gateway;
//! 3. [`Gateway::next_order`] to the engine, while there is one;
//! 4. the engine's words into [`Gateway::heard`]; once that gives a verdict, the new keyless copy to
//!    the supervisor, then [`Session::answer`];
//! 5. [`Session::output`] to the controller.

mod gateway;
mod refusal;
mod session;

pub use gateway::{Gateway, Heard, Verdict};
pub use session::{Ended, Session};
