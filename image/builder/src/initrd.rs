//! The initrd: our own PID 1, veritysetup, and the modules that lead to the root.

use std::{collections::BTreeSet, path::Path};

use crate::{
    BuildError, Sources,
    command::{Program, read, write},
    cpio::Archive,
    definition::Definition,
    libraries,
    modules::Modules,
    packages::Packages,
};

/// Writes the archive, compressed so that a processor without acceleration unpacks it fast; returns the packages of
/// which something is there.
pub(crate) fn build(
    definition: &Definition,
    sources: &Sources,
    packages: &Packages,
    modules: &Modules,
    to: &Path,
) -> Result<BTreeSet<String>, BuildError> {
    let mut archive = Archive::default();
    for folder in [
        "dev",
        "proc",
        "sys",
        "run",
        "sysroot",
        "usr/lib/x86_64-linux-gnu",
    ] {
        archive.folder(folder);
    }
    archive.link("lib", "usr/lib");
    archive.link("lib64", "usr/lib/x86_64-linux-gnu");
    let init = sources.binaries.join("bartizan-initrd");
    archive.file("init", read(&init)?);
    let mut programs = vec![init];
    let mut used = BTreeSet::new();
    for package in &definition.packages.packages {
        for path in &package.initrd {
            let file = packages.file(&package.name, path)?;
            archive.file(path, read(&file)?);
            programs.push(file);
            used.insert(package.name.clone());
        }
    }
    for (name, package, file) in libraries::needed(&programs, packages)? {
        archive.file(&format!("{}/{name}", libraries::FOLDER), read(&file)?);
        used.insert(package.to_owned());
    }
    let mut order = String::new();
    for module in modules.with_needs(&definition.packages.kernel.initrd)? {
        let name = module.rsplit('/').next().unwrap_or(module);
        let path = format!("/usr/lib/modules/{name}");
        archive.file(&path, read(&modules.file(module))?);
        order.push_str(&path);
        order.push('\n');
    }
    archive.file("modules.order", order.into_bytes());
    let plain = to.with_extension("cpio");
    write(&plain, &archive.finish())?;
    let zstd = Program::new("zstd").args(["-q", "-f", "-19", "--single-thread", "-o"]);
    zstd.arg(to).arg(&plain).run()?;
    Ok(used)
}
