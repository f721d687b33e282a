//! What a role reports whose lock-down succeeded in all.

use bartizan::roles::ROLES;
use bartizan_model::message::{Achieved, Memory, Role};

pub(crate) fn achieved(role: Role) -> Achieved {
    let secrets = ROLES.iter().any(|row| row.role == role && row.secrets);
    Achieved {
        landlock: 7,
        seccomp: true,
        no_new_privs: true,
        undumpable: true,
        capabilities: true,
        memory: if secrets {
            Memory::Secret
        } else {
            Memory::NoSecrets
        },
    }
}
