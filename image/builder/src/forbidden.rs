//! What must not be on the root, whoever put it into the definition.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::{BuildError, command::text};

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

/// Where what is mounted can be written to.
const WRITABLE: [&str; 2] = ["var.mount", "tmp.mount"];

/// What nothing that is written may be.
const CLOSED: [&str; 3] = ["nosuid", "nodev", "noexec"];

/// Checks an unpacked root.
///
/// # Errors
///
/// [`BuildError::Root`] names the file and the rule that it breaks.
pub fn check_root(root: &Path) -> Result<(), BuildError> {
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
            // A link has no rights of its own.
            if !kind.is_symlink() && kind.permissions().mode() & 0o7022 != 0 {
                return Err(broken("nothing is setuid, setgid, or written by others"));
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                if crate::command::read(&path)?.starts_with(b"#!") {
                    return Err(broken("nothing is a script"));
                }
                if name.to_string_lossy().ends_with(".mount") {
                    check_mount(&text(&path)?).map_err(broken)?;
                }
            } else if !kind.is_symlink() {
                return Err(broken("files, folders and links, nothing else"));
            }
        }
    }
    for unit in WRITABLE {
        let path = Path::new("usr/lib/systemd/system").join(unit);
        if !root.join(&path).is_file() {
            return Err(BuildError::Root {
                path: format!("/{}", path.display()),
                rule: "what is written has a mount of its own",
            });
        }
    }
    Ok(())
}

/// Nothing that was written is run.
fn check_mount(unit: &str) -> Result<(), &'static str> {
    let mut lines = unit.lines();
    let options = lines.find_map(|line| line.strip_prefix("Options="));
    let given: Vec<&str> = options.unwrap_or_default().split(',').collect();
    if CLOSED.iter().all(|option| given.contains(option)) {
        Ok(())
    } else {
        Err("what is mounted is nosuid, nodev and noexec")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNT: &[u8] = b"[Mount]\nOptions=mode=1777,nosuid,nodev,noexec\n";

    fn checked(name: &str, content: &[u8], mode: u32) -> Result<(), BuildError> {
        let root = std::env::temp_dir().join(format!(
            "bartizan-root-{}-{name}-{mode}",
            std::process::id()
        ));
        let units = root.join("usr/lib/systemd/system");
        fs::create_dir_all(&units).unwrap();
        for unit in WRITABLE {
            fs::write(units.join(unit), MOUNT).unwrap();
        }
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        let file = root.join("usr/bin").join(name);
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let result = check_root(&root);
        fs::remove_dir_all(&root).unwrap();
        result
    }

    #[test]
    fn what_could_be_asked_for_more_is_refused() {
        checked("bartizan", b"\x7fELF", 0o755).unwrap();
        checked("own.mount", MOUNT, 0o644).unwrap();
        for (name, content, mode) in [
            ("sh", &b"\x7fELF"[..], 0o755),
            ("mount", b"\x7fELF", 0o4755),
            ("tool", b"\x7fELF", 0o775),
            ("start", b"#!/usr/bin/nothing\n", 0o644),
            ("run.mount", b"[Mount]\nOptions=nosuid,nodev\n", 0o644),
            ("run.mount", b"[Mount]\nWhat=tmpfs\n", 0o644),
        ] {
            let error = checked(name, content, mode).unwrap_err();
            assert!(
                error.to_string().starts_with(&format!("/usr/bin/{name}: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_folder_that_others_write_and_a_root_without_mounts_are_refused() {
        let root = std::env::temp_dir().join(format!("bartizan-folders-{}", std::process::id()));
        fs::create_dir_all(root.join("opt")).unwrap();
        let error = check_root(&root).unwrap_err().to_string();
        assert!(error.contains("has a mount of its own"), "{error}");
        fs::set_permissions(root.join("opt"), fs::Permissions::from_mode(0o777)).unwrap();
        let error = check_root(&root).unwrap_err().to_string();
        assert!(error.starts_with("/opt: nothing is setuid"), "{error}");
        fs::remove_dir_all(&root).unwrap();
    }
}
