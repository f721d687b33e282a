//! Lock-down: what a process gives up before it hears the first foreign byte.
//!
//! Every step is tried, none is required here: the supervisor compares what was achieved with what
//! its configuration requires. What was achieved is read from the kernel, not remembered.

mod calls;
mod capabilities;
mod files;
mod filter;
mod status;

use bartizan_model::message::{Achieved, Memory, Role};
use bartizan_secret::{Backing, LockError};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, dumpable_behavior, set_dumpable_behavior, setrlimit,
};

use crate::clock::boot_time;
use crate::fault::{Exit, Fault};
use calls::Who;
pub use files::Folders;
use status::Status;

/// Why a process is not locked down.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockdownError {
    #[error("locked memory")]
    Memory(#[from] LockError),
    #[error("{0}")]
    Kernel(&'static str, #[source] Errno),
    #[error("landlock")]
    Landlock(#[from] landlock::RulesetError),
    #[error("a folder that is to be kept")]
    Folder(#[source] landlock::PathFdError),
    #[error("seccomp filter")]
    Filter(#[source] seccompiler::BackendError),
    #[error("the process has more than one thread")]
    Threads,
}

impl From<LockdownError> for Fault {
    fn from(error: LockdownError) -> Self {
        Self::because(Exit::OsErr, "cannot lock down", error)
    }
}

/// Locks a role down; the folders are all that it keeps of the files.
pub(crate) fn lock_down(role: Role, folders: &Folders) -> Result<Achieved, Fault> {
    let process = match role {
        Role::Engine => Who::ENGINE,
        Role::Xfrm => Who::XFRM,
        Role::Control => Who::CONTROL,
        Role::Peer => Who::PEER,
        Role::Qkd => Who::QKD,
        Role::Tpm => Who::TPM,
        Role::Bootstrap => Who::BOOTSTRAP,
        Role::Updater => Who::UPDATER,
    };
    Ok(give_up(process, folders)?)
}

/// Locks the supervisor down, once it has read its configuration and has its sockets; the folders
/// are all that it keeps of the files.
///
/// # Errors
///
/// [`Fault`] if a step fails that the kernel does have.
pub fn lock_down_supervisor(folders: &Folders) -> Result<Achieved, Fault> {
    Ok(give_up(Who::SUPERVISOR, folders)?)
}

fn give_up(process: Who, folders: &Folders) -> Result<Achieved, LockdownError> {
    // The first reading of the clock asks the kernel where the clock page is; later ones do not.
    let _warm = boot_time();
    // Landlock and seccomp bind the thread that asks: there must be no other.
    if Status::open()?.read()?.threads != 1 {
        return Err(LockdownError::Threads);
    }
    let memory = back_memory(process)?;
    let kept = capabilities::give_up(process)?;
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, no_core).map_err(kernel("RLIMIT_CORE"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(kernel("PR_SET_DUMPABLE"))?;
    let undumpable =
        dumpable_behavior().map_err(kernel("PR_GET_DUMPABLE"))? == DumpableBehavior::NotDumpable;
    rustix::thread::set_no_new_privs(true).map_err(kernel("PR_SET_NO_NEW_PRIVS"))?;
    let outcome = Status::open()?;
    let landlock = files::deny(process, folders)?;
    let filtered = filter::enforce(process)?;
    let facts = outcome.read()?;
    Ok(Achieved {
        landlock,
        seccomp: filtered && facts.filtered,
        no_new_privs: facts.no_new_privs,
        undumpable,
        capabilities: facts.holds_only(kept),
        memory,
    })
}

/// Locks the first arena of a process that will hold secrets, so that a lack shows here.
fn back_memory(process: Who) -> Result<Memory, LockdownError> {
    if !Who::LOCKED.holds(process) {
        return Ok(Memory::NoSecrets);
    }
    Ok(match bartizan_secret::backing()? {
        Backing::MemfdSecret => Memory::Secret,
        Backing::Mlock => Memory::Locked,
    })
}

fn kernel(what: &'static str) -> impl FnOnce(Errno) -> LockdownError {
    move |errno| LockdownError::Kernel(what, errno)
}
