//! What crosses a process boundary: identifiers, policies, the appliance's life and every message.
//!
//! Nothing here does anything. A type with a rule checks it once, in its constructor and again when
//! it is decoded, so whoever holds a value may rely on the rule.
#![forbid(unsafe_code)]

pub mod config;
pub mod identity;
pub mod ids;
pub mod lifecycle;
pub mod message;
pub mod ownership;
pub mod policy;
pub mod report;
pub mod time;
