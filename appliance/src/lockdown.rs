//! What a process's lock-down must achieve.

use bartizan_model::message::{Achieved, Memory};

use crate::config::Required;

/// Names what a process's lock-down lacks of what is required.
pub fn missing(
    required: &Required,
    keeps_secrets: bool,
    achieved: &Achieved,
) -> Option<&'static str> {
    let memory = match (keeps_secrets, required.memory, achieved.memory) {
        (true, _, Memory::Secret) | (true, Memory::Locked, Memory::Locked) => true,
        (false, _, memory) => memory == Memory::NoSecrets,
        (true, _, _) => false,
    };
    let facts = [
        (achieved.landlock >= required.landlock, "landlock"),
        (achieved.seccomp || !required.seccomp, "seccomp"),
        (achieved.no_new_privs, "no_new_privs"),
        (achieved.undumpable, "undumpable"),
        (achieved.capabilities, "capabilities"),
        (memory, "memory"),
    ];
    facts
        .iter()
        .find(|(holds, _)| !holds)
        .map(|(_, name)| *name)
}
