//! The tpm role: `bartizan-tpm TCTI FOLDER`.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use bartizan_model::message::Role;
use bartizan_process::{Exit, Fault, run};
use bartizan_secret::ZeroOnFree;
use bartizan_tpm::{Prepared, serve};

#[global_allocator]
static HEAP: ZeroOnFree = ZeroOnFree;

fn main() -> ExitCode {
    run(Role::Tpm, prepare, serve)
}

fn prepare() -> Result<Prepared, Fault> {
    // libtss2 reads this variable by itself, and above NONE it writes to the journal what passes
    // through it. The unit sets it; started any other way, the role does not run.
    if std::env::var_os("TSS2_LOG").is_none_or(|level| level != "all+NONE") {
        return Err(Fault::new(Exit::Config, "TSS2_LOG is not all+NONE"));
    }
    let mut arguments = std::env::args().skip(1);
    let (Some(tcti), Some(folder), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err(Fault::new(Exit::Usage, "usage: bartizan-tpm TCTI FOLDER"));
    };
    Prepared::open(&tcti, Path::new(&folder))
}
