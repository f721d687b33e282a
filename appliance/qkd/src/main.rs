//! The qkd role's process.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use bartizan_model::message::Role;
use bartizan_secret::ZeroOnFree;

/// What rustls has held of a key is wiped when it is freed.
#[global_allocator]
static HEAP: ZeroOnFree = ZeroOnFree;

fn main() -> ExitCode {
    bartizan_process::run(Role::Qkd, || Ok(()), bartizan_qkd::work)
}
