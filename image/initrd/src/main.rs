//! PID 1 of the initrd: from the kernel to the read-only root.
//!
//! It knows one way: the slot whose PARTUUIDs are the halves of the measured `roothash=`, opened by dm-verity. There is
//! no shell, no rescue and no other root; what cannot be done ends in a restart, and the boot loader counts it.
#![forbid(unsafe_code)]

mod command_line;
mod gpt;
mod handover;
mod kernel;
mod phase;
mod root;
mod slot;

use std::process::ExitCode;

use command_line::RootHash;

/// What could not be done.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("cannot {what} {path}: {cause}")]
    Path {
        what: &'static str,
        path: String,
        cause: rustix::io::Errno,
    },
    #[error("cannot {what}: {cause}")]
    Io {
        what: &'static str,
        cause: std::io::Error,
    },
    #[error("the kernel command line has no root hash")]
    RootHash,
    #[error("no disk has the slot {0}")]
    Slot(String),
    #[error("the TPM refuses to measure: {0}")]
    Tpm(&'static str),
    #[error("the root does not belong to its root hash")]
    Verity,
}

fn main() -> ExitCode {
    let Err(fault) = boot();
    kernel::say(&format!("initrd: {fault}; restart"));
    kernel::restart()
}

/// Returns only if it cannot go on.
fn boot() -> Result<core::convert::Infallible, Fault> {
    kernel::mount_interfaces()?;
    kernel::load_modules()?;
    phase::measure("enter-initrd")?;
    let root_hash = RootHash::of_this_boot()?;
    let slot = slot::find(&root_hash)?;
    root::open(&slot, &root_hash)?;
    handover::leave_measurements()?;
    phase::measure("leave-initrd")?;
    root::enter()
}
