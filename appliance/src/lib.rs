//! The supervisor of the appliance, and what it shares with its status tool.
//!
//! It starts no process and holds no key. It takes in the roles that the service manager started,
//! hands each the channel ends that [`roles`] grants it in the present state, and ends as soon as
//! one of them does.
#![forbid(unsafe_code)]

pub mod act;
pub mod boot;
pub mod briefing;
pub mod chain;
pub mod config;
pub mod folder;
pub mod lockdown;
pub mod network;
pub mod ownership;
pub mod release;
pub mod roles;
mod rollback;
pub mod roots;
pub mod running;
pub mod sources;
pub mod status;
pub mod store;
pub mod supervisor;
pub mod switchboard;
pub mod table;
pub mod trial;
pub mod users;
