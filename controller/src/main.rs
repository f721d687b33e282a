//! `bartizan-controller serve | check | apply | status | device | voucher`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    bartizan_controller::command::run(std::env::args().skip(1))
}
