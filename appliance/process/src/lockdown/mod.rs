//! Lock-down.

use bartizan_model::message::{Achieved, Memory, Role};
use bartizan_secret::Backing;

use crate::fault::Fault;

pub(crate) fn lock_down(role: Role) -> Result<Achieved, Fault> {
    Ok(Achieved {
        landlock: 0,
        seccomp: false,
        no_new_privs: false,
        undumpable: false,
        capabilities: false,
        memory: memory(role)?,
    })
}

fn memory(role: Role) -> Result<Memory, Fault> {
    if !matches!(role, Role::Engine | Role::Xfrm | Role::Qkd) {
        return Ok(Memory::NoSecrets);
    }
    Ok(match bartizan_secret::backing()? {
        Backing::MemfdSecret => Memory::Secret,
        Backing::Mlock => Memory::Locked,
    })
}
