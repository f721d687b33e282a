//! The bootstrap role's process.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use bartizan_model::message::Role;
use bartizan_process::{Exit, Fault, run};

fn main() -> ExitCode {
    run(
        Role::Bootstrap,
        || Ok(()),
        |_started| {
            Err(Fault::new(
                Exit::Software,
                "there is no way to an owner yet",
            ))
        },
    )
}
