//! The gateway's end of NETCONF, without I/O.
//!
//! A [`Gateway`] is what outlives a session: the running configuration, what the engine reported,
//! and the one question that is yet to be answered, by the engine or, as an [`Inquiry`], by whoever
//! holds TPM and certificate. A [`Session`] is one connection. The loop around them carries bytes,
//! orders and verdicts:
//!
//! 1. bytes from the controller into [`Session::receive`];
//! 2. [`Session::advance`], which answers what it can and leaves a question in the gateway;
//! 3. [`Gateway::next_order`] to the engine, while there is one, and [`Gateway::next_inquiry`] to
//!    TPM or certificate;
//! 4. the engine's words into [`Gateway::heard`], what was found into [`Gateway::found`]; once that
//!    gives a verdict, the new keyless copy to the supervisor, then [`Session::answer`];
//! 5. [`Session::output`] to the controller.

mod gateway;
mod inquiry;
mod refusal;
mod session;

pub use gateway::{Gateway, Heard, Verdict};
pub use inquiry::{Finding, Inquiry, Unfound};
pub use session::{Ended, Session};
