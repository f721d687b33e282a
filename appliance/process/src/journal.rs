//! Lines for the journal: one a call, to standard error, with the level in front (`sd-daemon(3)`).
//!
//! Never a key, nonce, tag or payload; addresses only at [`Level::Debug`].

use core::fmt;
use std::io::Write;

/// How much a line matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// The process ends.
    Error,
    /// Wake someone.
    Warn,
    /// A state changed.
    Info,
    /// A branch was taken.
    Debug,
}

/// Writes one line: `journal::log(Level::Info, format_args!("lease accepted"))`.
pub fn log(level: Level, line: fmt::Arguments<'_>) {
    let mark = match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug => "<7>",
    };
    // One write, so that lines of several processes do not mix on a shared stream.
    let text = format!("{mark}{line}\n");
    // A journal that takes no lines must not stop the gateway.
    let _written = std::io::stderr().write_all(text.as_bytes());
}
