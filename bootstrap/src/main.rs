//! The bootstrap role's process.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use bartizan_model::message::Role;

fn main() -> ExitCode {
    bartizan_process::run(Role::Bootstrap, || Ok(()), bartizan_bootstrap::work)
}
