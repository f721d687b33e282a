//! The read-only root: assembled, checked, and sealed by dm-verity.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use crate::{
    BuildError, Sources, Version,
    command::{Program, read, write},
    definition::Definition,
    forbidden, libraries,
    modules::Modules,
    packages::Packages,
};

/// The file systems' ids: they name nothing, the root hash does.
const UUID: &str = "6d1f2f0c-5a43-4f0e-9d53-0d6d0c1a7e01";

/// The hash tree's salt. It keeps nobody from computing anything here: what is hashed is public.
const SALT: &str = "00";

/// What `os-release(5)` says of a version.
pub(crate) fn os_release(version: &Version) -> String {
    format!(
        "NAME=Bartizan\nID=bartizan\nPRETTY_NAME=\"Bartizan {0}\"\nVERSION_ID={0}\nIMAGE_ID=bartizan\nIMAGE_VERSION={0}\n\
         BARTIZAN_EPOCH={1}\n",
        version.number, version.epoch
    )
}

/// Puts everything that the definition names into `stage`, and nothing else; returns the packages of which
/// something is there.
pub(crate) fn assemble(
    definition: &Definition,
    sources: &Sources,
    packages: &Packages,
    modules: &Modules,
    version: &Version,
    stage: &Path,
) -> Result<BTreeSet<String>, BuildError> {
    for folder in &definition.root.folders {
        let folder = inside(stage, folder);
        fs::create_dir_all(&folder).map_err(BuildError::write(&folder))?;
    }
    let mut used = BTreeSet::new();
    for package in &definition.packages.packages {
        for path in &package.files {
            let from = packages.file(&package.name, path.trim_end_matches('/'))?;
            copy(&from, &inside(stage, path))?;
            used.insert(package.name.clone());
        }
    }
    for program in &definition.root.programs {
        let to = inside(stage, &format!("/usr/bin/{program}"));
        copy(&sources.binaries.join(program), &to)?;
    }
    for file in &definition.root.files {
        let from = sources.tree.join(file.from.trim_end_matches('/'));
        copy(&from, &inside(stage, &file.to))?;
    }
    for link in &definition.root.links {
        let at = inside(stage, &link.at);
        if let Some(folder) = at.parent() {
            fs::create_dir_all(folder).map_err(BuildError::write(folder))?;
        }
        symlink(&link.to, &at).map_err(BuildError::write(&at))?;
    }
    for (folder, units) in &definition.root.starts {
        let folder = stage.join("usr/lib/systemd/system").join(folder);
        fs::create_dir_all(&folder).map_err(BuildError::write(&folder))?;
        for unit in units {
            let at = folder.join(unit);
            symlink(Path::new("..").join(unit), &at).map_err(BuildError::write(&at))?;
        }
    }
    copy(&sources.configuration, &stage.join("etc/bartizan"))?;
    // Empty: a new one for each boot, which nothing depends on.
    write(&stage.join("etc/machine-id"), &[])?;
    let release = stage.join("usr/lib/os-release");
    write(&release, os_release(version).as_bytes())?;
    let loaded = modules.with_needs(&definition.packages.kernel.root)?;
    modules.install(&loaded, stage)?;
    let mut list = definition.packages.kernel.root.join("\n");
    list.push('\n');
    let list_at = stage.join("usr/lib/modules-load.d/bartizan.conf");
    write(&list_at, list.as_bytes())?;

    let programs = executables(stage)?;
    for (name, package, file) in libraries::needed(&programs, packages)? {
        copy(
            &file,
            &inside(stage, &format!("{}/{name}", libraries::FOLDER)),
        )?;
        used.insert(package.to_owned());
    }
    users(stage)?;
    forbidden::check_root(stage)?;
    Ok(used)
}

/// Writes `root`, `verity` to `out` and returns the root hash.
pub(crate) fn seal(stage: &Path, out: &Path) -> Result<String, BuildError> {
    let root = out.join("root");
    Program::new("mkfs.erofs")
        .args(["-zlz4hc,9", "-T0", "-x-1", "--all-root", "-U", UUID])
        .arg(&root)
        .arg(stage)
        .run()?;
    let said = Program::new("veritysetup")
        .args(["format", "--hash=sha256", "--data-block-size=4096"])
        .args(["--hash-block-size=4096", "--uuid", UUID, "--salt", SALT])
        .arg(&root)
        .arg(out.join("verity"))
        .run()?;
    let hash = said
        .lines()
        .find_map(|line| line.strip_prefix("Root hash:"));
    hash.map(|hash| hash.trim().to_owned())
        .ok_or(BuildError::Program {
            program: "veritysetup",
            said,
        })
}

/// Accounts, from the sysusers files of the root, with the numbers that they name.
fn users(stage: &Path) -> Result<(), BuildError> {
    Program::new("systemd-sysusers")
        .arg("--root")
        .arg(stage)
        .run()?;
    // There are no passwords, and nothing that would ask for one.
    for name in [
        "shadow",
        "gshadow",
        "shadow-",
        "gshadow-",
        "passwd-",
        "group-",
        ".pwd.lock",
    ] {
        let file = stage.join("etc").join(name);
        if file.exists() {
            fs::remove_file(&file).map_err(BuildError::write(&file))?;
        }
    }
    Ok(())
}

/// Programs and libraries on the root.
fn executables(stage: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let mut found = Vec::new();
    let mut folders = vec![stage.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(BuildError::read(&folder))? {
            let path = entry.map_err(BuildError::read(&folder))?.path();
            let kind = path.symlink_metadata().map_err(BuildError::read(&path))?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file()
                && path.extension().is_none_or(|extension| extension != "ko")
                && read(&path)?.starts_with(b"\x7fELF")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Copies a file, or a folder with everything in it. Whoever may run a file may: there are no other differences.
fn copy(from: &Path, to: &Path) -> Result<(), BuildError> {
    let kind = from.symlink_metadata().map_err(BuildError::read(from))?;
    if kind.is_dir() {
        for entry in fs::read_dir(from).map_err(BuildError::read(from))? {
            let path = entry.map_err(BuildError::read(from))?.path();
            if let Some(name) = path.file_name() {
                copy(&path, &to.join(name))?;
            }
        }
        return Ok(());
    }
    // A link within a folder of units stays one; that of a library becomes what it leads to.
    if kind.is_symlink() && !from.exists() || is_unit_link(from) {
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(BuildError::write(folder))?;
        }
        let target = fs::read_link(from).map_err(BuildError::read(from))?;
        return symlink(target, to).map_err(BuildError::write(to));
    }
    write(to, &read(from)?)?;
    let executable = from.metadata().map_err(BuildError::read(from))?;
    let mode = if executable.permissions().mode() & 0o111 == 0 {
        0o644
    } else {
        0o755
    };
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(BuildError::write(to))
}

fn is_unit_link(path: &Path) -> bool {
    let is_unit = ["service", "conf", "target"].map(Some);
    let extension = path.extension().and_then(|extension| extension.to_str());
    path.is_symlink() && is_unit.contains(&extension)
}

/// A path of the root, in the stage.
fn inside(stage: &Path, path: &str) -> PathBuf {
    stage.join(path.trim_matches('/'))
}
