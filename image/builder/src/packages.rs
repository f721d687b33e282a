//! Debian's packages: fetched and checked by apt, unpacked, nothing of them run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{BuildError, command::Program, definition::Definition};

/// The packages of the definition, each unpacked in a folder of its own.
#[derive(Debug)]
pub(crate) struct Packages {
    unpacked: BTreeMap<String, Unpacked>,
    kernel: String,
}

#[derive(Debug)]
struct Unpacked {
    folder: PathBuf,
    listed: Listed,
    build_only: bool,
}

/// A line of `packages.json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Listed {
    name: String,
    version: String,
    licence: String,
    reason: String,
}

impl Packages {
    /// Fetches those that the cache has not.
    pub(crate) fn fetch(definition: &Definition, cache: &Path) -> Result<Self, BuildError> {
        let list = &definition.packages;
        let kernel = newest_kernel(&list.kernel.package)?;
        let mut wanted: Vec<(&str, &str, bool)> = vec![(&kernel, &list.kernel.reason, false)];
        for package in &list.packages {
            wanted.push((&package.name, &package.reason, package.build_only));
        }
        let names = || wanted.iter().map(|(name, _, _)| *name);
        let uris = Program::new("apt-get").args(["download", "--print-uris"]);
        let uris = uris.args(names()).run()?;
        let missing: Vec<&str> = names()
            .filter(|name| archive(&uris, name).is_none_or(|file| !cache.join(file).exists()))
            .collect();
        if !missing.is_empty() {
            let fetch = Program::new("apt-get").folder(cache);
            fetch.args(["download", "-q"]).args(missing).run()?;
        }
        let mut unpacked = BTreeMap::new();
        for (name, reason, build_only) in wanted.iter().copied() {
            let file = archive(&uris, name)
                .ok_or_else(|| BuildError::package(name, "apt does not know it"))?;
            let package = unpack(name, reason, &cache.join(file), build_only)?;
            unpacked.insert(name.to_owned(), package);
        }
        Ok(Self { unpacked, kernel })
    }

    /// Where a file of a package lies, whichever side of the merged /usr it is on there.
    pub(crate) fn file(&self, package: &str, path: &str) -> Result<PathBuf, BuildError> {
        let found = self.unpacked.get(package).and_then(|unpacked| {
            let relative = path.trim_start_matches('/');
            let unmerged = relative.strip_prefix("usr/").unwrap_or(relative);
            let candidates = [relative, unmerged].map(|path| unpacked.folder.join(path));
            candidates
                .into_iter()
                .find(|path| path.symlink_metadata().is_ok())
        });
        found.ok_or_else(|| BuildError::package(package, format!("has no {path}")))
    }

    /// Where a shared library lies, and in which package; not in one that is only built with.
    pub(crate) fn library(&self, name: &str) -> Option<(&str, PathBuf)> {
        self.unpacked
            .iter()
            .filter(|(_, unpacked)| !unpacked.build_only)
            .find_map(|(package, unpacked)| {
                let folders = LIBRARIES.iter().map(|folder| unpacked.folder.join(folder));
                let mut files = folders.map(|folder| folder.join(name));
                let file = files.find(|file| file.exists())?;
                Some((package.as_str(), file))
            })
    }

    /// The kernel's release.
    pub(crate) fn release(&self) -> &str {
        self.kernel
            .strip_prefix("linux-image-")
            .unwrap_or(&self.kernel)
    }

    /// The kernel.
    pub(crate) fn kernel(&self) -> Result<PathBuf, BuildError> {
        self.file(&self.kernel, &format!("/boot/vmlinuz-{}", self.release()))
    }

    /// The folder above the kernel's `lib/modules`.
    pub(crate) fn kernel_folder(&self) -> Result<&Path, BuildError> {
        let unpacked = self.unpacked.get(&self.kernel);
        unpacked
            .map(|unpacked| unpacked.folder.as_path())
            .ok_or_else(|| BuildError::package(&self.kernel, "is not there"))
    }

    /// What is on the image, by name.
    pub(crate) fn listed(&self) -> Vec<&Listed> {
        let packages = self.unpacked.values();
        packages.map(|unpacked| &unpacked.listed).collect()
    }
}

/// Where libraries lie in a package.
const LIBRARIES: [&str; 4] = [
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/systemd",
    "lib64",
];

/// What the meta package depends on.
fn newest_kernel(package: &str) -> Result<String, BuildError> {
    let said = Program::new("apt-cache")
        .args(["depends", "--important", package])
        .run()?;
    let mut names = said.lines().filter_map(|line| {
        let name = line.trim().strip_prefix("Depends: ")?;
        name.starts_with("linux-image-").then(|| name.to_owned())
    });
    let name = names.next();
    name.ok_or_else(|| BuildError::package(package, "depends on no kernel"))
}

/// The file name in the line `'URI' NAME_VERSION_ARCH.deb SIZE HASH`.
fn archive<'said>(uris: &'said str, package: &str) -> Option<&'said str> {
    uris.lines().find_map(|line| {
        let file = line.split(' ').nth(1)?;
        let (name, _) = file.split_once('_')?;
        (name == package).then_some(file)
    })
}

fn unpack(name: &str, reason: &str, file: &Path, build_only: bool) -> Result<Unpacked, BuildError> {
    let folder = file.with_extension("d");
    if !folder.exists() {
        let half = file.with_extension("half");
        if half.exists() {
            fs::remove_dir_all(&half).map_err(BuildError::write(&half))?;
        }
        Program::new("dpkg-deb")
            .arg("-x")
            .arg(file)
            .arg(&half)
            .run()?;
        fs::rename(&half, &folder).map_err(BuildError::write(&folder))?;
    }
    let version = Program::new("dpkg-deb").arg("-f").arg(file).arg("Version");
    let listed = Listed {
        name: name.to_owned(),
        version: version.run()?.trim().to_owned(),
        licence: licence(&folder, name),
        reason: reason.to_owned(),
    };
    Ok(Unpacked {
        folder,
        listed,
        build_only,
    })
}

/// The licences that the package's machine-readable copyright file names, else `NOASSERTION` as SPDX has it.
fn licence(folder: &Path, name: &str) -> String {
    let file = folder.join("usr/share/doc").join(name).join("copyright");
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let names: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("License:"))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    if names.is_empty() {
        return "NOASSERTION".to_owned();
    }
    let names: Vec<&str> = names.into_iter().collect();
    names.join(" AND ")
}
