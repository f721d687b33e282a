//! The documents name tests as proof: each of them must exist.
#![expect(
    clippy::unwrap_used,
    reason = "a test file: what goes wrong in a function below fails the test"
)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What of the text stands in backticks and can be nothing but the name of a test.
fn named_tests(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_name = |word: &&str| {
        word.matches('_').count() >= 3
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    quoted.filter(is_name).collect()
}

fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            if !matches!(path.file_name().unwrap().to_str(), Some("target" | ".git")) {
                sources(&path, into);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_test_that_security_md_names_exists() {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let named = named_tests(&text);
    assert!(named.len() > 30, "only {} names found", named.len());
    let mut code = String::new();
    sources(&root(), &mut code);
    let missing: Vec<&str> = named
        .into_iter()
        .filter(|name| !code.contains(&format!("fn {name}(")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
