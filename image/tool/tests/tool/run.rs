//! Runs the tool and the programs of others.

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn scratch(name: &str) -> PathBuf {
    let folder = format!("{}-{name}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// What it printed; what it complained of, if it failed.
pub(crate) fn run(program: &str, folder: &Path, words: &[&str]) -> Result<String, String> {
    #[expect(clippy::disallowed_methods, reason = "the tool under test, and others")]
    let output = Command::new(program)
        .args(words)
        .current_dir(folder)
        .output()
        .unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

pub(crate) fn image(folder: &Path, words: &str) -> Result<String, String> {
    let words: Vec<&str> = words.split_whitespace().collect();
    run(env!("CARGO_BIN_EXE_image"), folder, &words)
}
