//! The programs of others that `tests/interop/install` installs.

use std::path::{Path, PathBuf};

/// The Python that has their packages. `None` without them, where a skip is allowed.
pub fn python() -> Option<PathBuf> {
    let cache = std::env::var_os("BARTIZAN_CACHE").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/bartizan"));
    let python = cache.or_else(home)?.join("interop/bin/python");
    if python.exists() {
        return Some(python);
    }
    let skip = std::env::var_os("BARTIZAN_ALLOW_SKIP").is_some();
    assert!(skip, "run tests/interop/install");
    println!("SKIPPED: tests/interop/install was not run");
    None
}
