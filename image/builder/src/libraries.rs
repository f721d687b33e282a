//! The shared libraries that programs are linked with.

use std::{collections::BTreeSet, path::PathBuf};

use crate::{BuildError, command::Program, packages::Packages};

/// Where the dynamic linker finds them on the root.
pub(crate) const FOLDER: &str = "/usr/lib/x86_64-linux-gnu";

/// Everything that `programs` are linked with, by name: where it lies, and from which package it is.
pub(crate) fn needed<'packages>(
    programs: &[PathBuf],
    packages: &'packages Packages,
) -> Result<Vec<(String, &'packages str, PathBuf)>, BuildError> {
    let mut known = BTreeSet::new();
    let mut found = Vec::new();
    let mut next = programs.to_vec();
    while !next.is_empty() {
        let said = Program::new("readelf")
            .args(["-d", "-W"])
            .args(&next)
            .run()?;
        next.clear();
        for name in said.lines().filter_map(name) {
            if !known.insert(name.to_owned()) {
                continue;
            }
            let (package, file) = packages.library(name).ok_or_else(|| BuildError::Root {
                path: name.to_owned(),
                rule: "a program is linked with it, and no package of the image has it",
            })?;
            next.push(file.clone());
            found.push((name.to_owned(), package, file));
        }
    }
    Ok(found)
}

/// The name in ` 0x01 (NEEDED)  Shared library: [libc.so.6]`.
fn name(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("(NEEDED)")?;
    let (_, rest) = rest.split_once('[')?;
    rest.split(']').next()
}
