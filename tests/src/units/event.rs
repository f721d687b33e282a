//! What the service manager tells.

use serde::{Deserialize, Serialize};

/// Something that happened; printed as one line of JSON.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// To which unit.
    pub unit: String,
    /// What.
    pub what: What,
}

/// What can happen to a service.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// Its process was made.
    Started {
        /// The process.
        pid: i32,
    },
    /// It said that it is ready.
    Ready,
    /// It said what it does.
    Status(String),
    /// It has a descriptor stored under this name.
    Stored(String),
    /// It did not say in time that it is ready.
    StartTimedOut,
    /// It did not say in time that it lives, and is aborted.
    WatchdogExpired,
    /// Its process ended.
    Ended {
        /// With this code.
        code: Option<i32>,
        /// By this signal.
        signal: Option<i32>,
    },
    /// It is not started again.
    Failed,
}
