//! NETCONF without I/O, for both ends: framing, documents, errors, sessions.
//!
//! The gateway's end is [`server`]: bytes in, bytes and orders to the engine out. The owner's end is
//! [`client`]. Between them lie the documents of RFC 9061's IKE-less case and of RFC 9684's remote
//! attestation with our augmenting modules (`yang/`), decoded by a streaming reader that knows no DTD
//! and no entity of its own, and that refuses one more than each of [`limits`].
#![forbid(unsafe_code)]

mod attestation;
pub mod client;
mod edit;
mod error;
mod filter;
mod framing;
mod hello;
mod library;
pub mod limits;
mod namespace;
mod notification;
mod path;
mod policy;
mod qkd;
mod rpc;
mod running;
mod schema;
pub mod server;
mod state;
mod time;
mod tree;
mod words;
mod xml;

pub use attestation::{Evidence, LogPart};
pub use error::{ErrorInfo, ErrorTag, ErrorType, RpcError};
pub use framing::{Deframer, Frame, Framing, FramingError, frame};
pub use hello::SessionId;
pub use running::{CopyError, Running};
pub use time::UnixTime;
