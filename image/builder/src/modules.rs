//! The kernel's modules with what they need.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    BuildError,
    command::{Program, text, write},
    packages::Packages,
};

/// The modules of the kernel, by their table of needs.
#[derive(Debug)]
pub(crate) struct Modules {
    folder: PathBuf,
    release: String,
    table: String,
    built_in: String,
}

impl Modules {
    /// Has `depmod` make the table.
    pub(crate) fn read(packages: &Packages) -> Result<Self, BuildError> {
        let release = packages.release().to_owned();
        let base = packages.kernel_folder()?;
        let folder = base.join("lib/modules").join(&release);
        Ok(Self {
            table: depmod(base, &release, &["-n"])?,
            built_in: text(&folder.join("modules.builtin"))?,
            folder,
            release,
        })
    }

    /// The files of some modules and of all that they need, those first; relative to the modules' folder.
    pub(crate) fn with_needs(&self, names: &[String]) -> Result<Vec<&str>, BuildError> {
        let mut files: Vec<&str> = Vec::new();
        for name in names {
            if self.built_in.lines().any(|file| stem(file) == *name) {
                continue;
            }
            let lines = self
                .table
                .lines()
                .filter(|line| line.starts_with("kernel/"));
            let mut lines = lines.filter_map(|line| line.split_once(':'));
            let (file, needs) = lines
                .find(|(file, _)| stem(file) == *name)
                .ok_or_else(|| BuildError::package(&self.release, format!("no module {name}")))?;
            // The table lists the deepest need last.
            for file in needs.split_whitespace().rev().chain([file]) {
                if !files.contains(&file) {
                    files.push(file);
                }
            }
        }
        Ok(files)
    }

    /// Where a module's file lies.
    pub(crate) fn file(&self, relative: &str) -> PathBuf {
        self.folder.join(relative)
    }

    /// Copies modules to a root, with the tables by which they are found there.
    pub(crate) fn install(&self, files: &[&str], root: &Path) -> Result<(), BuildError> {
        let to = root.join("usr/lib/modules").join(&self.release);
        for name in [
            "modules.builtin",
            "modules.builtin.modinfo",
            "modules.order",
        ] {
            write(&to.join(name), &crate::read(&self.folder.join(name))?)?;
        }
        for file in files {
            write(&to.join(file), &crate::read(&self.file(file))?)?;
        }
        depmod(&root.join("usr"), &self.release, &[])?;
        // For people, not for libkmod, which reads the .bin files.
        for name in [
            "modules.alias",
            "modules.symbols",
            "modules.order",
            "modules.builtin",
        ] {
            let file = to.join(name);
            fs::remove_file(&file).map_err(BuildError::write(&file))?;
        }
        Ok(())
    }
}

/// Makes the tables of the modules below `base`, or with `-n` prints them.
fn depmod(base: &Path, release: &str, options: &[&str]) -> Result<String, BuildError> {
    let depmod = Program::new("depmod").args(options).arg("-b").arg(base);
    depmod.arg(release).run()
}

/// `a/b/dm-mod.ko` as `dm_mod`: the kernel takes the one for the other.
fn stem(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    let name = name.split('.').next().unwrap_or(name);
    name.replace('-', "_")
}
