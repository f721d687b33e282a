//! What must not be on the root, whoever put it into the definition.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::BuildError;

/// Programs by which somebody could ask for more than the appliance does.
const PROGRAMS: [&str; 22] = [
    "agetty",
    "ash",
    "awk",
    "bash",
    "busybox",
    "dash",
    "getty",
    "ld",
    "login",
    "lua",
    "modprobe",
    "perl",
    "python",
    "python3",
    "sh",
    "ssh",
    "sshd",
    "su",
    "sudo",
    "sulogin",
    "systemd-sulogin-shell",
    "toybox",
];

/// Walks the root.
pub(crate) fn check(root: &Path) -> Result<(), BuildError> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(BuildError::read(&folder))? {
            let entry = entry.map_err(BuildError::read(&folder))?;
            let path = entry.path();
            let kind = path.symlink_metadata().map_err(BuildError::read(&path))?;
            let inside = path.strip_prefix(root).unwrap_or(&path);
            let broken = |rule| BuildError::Root {
                path: format!("/{}", inside.display()),
                rule,
            };
            let name = entry.file_name();
            if PROGRAMS.iter().any(|program| name == *program) {
                return Err(broken("no shell, no login, no interpreter"));
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                if kind.permissions().mode() & 0o7022 != 0 {
                    return Err(broken("nothing is setuid, setgid, or written by others"));
                }
                if crate::command::read(&path)?.starts_with(b"#!") {
                    return Err(broken("nothing is a script"));
                }
            } else if !kind.is_symlink() {
                return Err(broken("files, folders and links, nothing else"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, content: &[u8], mode: u32) -> Result<(), BuildError> {
        let root = std::env::temp_dir().join(format!(
            "bartizan-root-{}-{name}-{mode}",
            std::process::id()
        ));
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        let file = root.join("usr/bin").join(name);
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let result = check(&root);
        fs::remove_dir_all(&root).unwrap();
        result
    }

    #[test]
    fn what_could_be_asked_for_more_is_refused() {
        checked("bartizan", b"\x7fELF", 0o755).unwrap();
        for (name, content, mode) in [
            ("sh", &b"\x7fELF"[..], 0o755),
            ("mount", b"\x7fELF", 0o4755),
            ("tool", b"\x7fELF", 0o775),
            ("start", b"#!/usr/bin/nothing\n", 0o644),
        ] {
            let error = checked(name, content, mode).unwrap_err();
            assert!(
                error.to_string().starts_with(&format!("/usr/bin/{name}: ")),
                "{error}"
            );
        }
    }
}
