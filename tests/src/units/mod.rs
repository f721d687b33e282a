//! A service manager that starts the appliance as its unit files say, where there is no systemd.
//!
//! It reads the files that ship: users, capabilities, limits, sockets, watchdog, restart. A directive that it does not
//! know ends it; what it knows and cannot do stands in [`service::NOT_EMULATED`], each with its reason.

pub mod accounts;
mod calls;
pub mod event;
pub mod file;
mod launch;
mod listener;
pub mod manager;
mod notice;
pub mod service;
pub mod shim;
pub mod socket;
mod unit;
mod value;

use std::path::PathBuf;

/// Why the units cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A line is no section, assignment or comment.
    #[error("{unit}: not a line of a unit file: {line}")]
    Line {
        /// Where.
        unit: String,
        /// Which.
        line: String,
    },
    /// A directive that is not known, or has a value that is not.
    #[error("{unit}: cannot do [{section}] {key}={value}")]
    Directive {
        /// Where.
        unit: String,
        /// The section.
        section: String,
        /// The directive.
        key: String,
        /// The value.
        value: String,
    },
    /// A unit lacks what it cannot be without.
    #[error("{unit}: no {key}=")]
    Absent {
        /// Where.
        unit: String,
        /// What.
        key: &'static str,
    },
    /// A socket cannot be listened on.
    #[error("cannot listen on {path}")]
    Listen {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A system call, a group of them or an address family that the machine does not know.
    #[error("no system call, group or address family {0}")]
    Call(String),
    /// A user or group that no file names.
    #[error("no user or group {0}")]
    Account(String),
}
