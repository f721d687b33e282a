//! Why a version cannot be built.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a version cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A file or folder cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A program that the builder needs cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// Which.
        program: &'static str,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A program that the builder needs did not succeed.
    #[error("{program} says: {said}")]
    Program {
        /// Which.
        program: &'static str,
        /// Its error output.
        said: String,
    },
    /// A file of the definition is not what it must be.
    #[error("{path}: {cause}")]
    Definition {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: toml::de::Error,
    },
    /// A package has not what the definition takes from it.
    #[error("package {package}: {what}")]
    Package {
        /// Which.
        package: String,
        /// What is wrong.
        what: String,
    },
    /// Something that must not be, or must be, on the root.
    #[error("{path}: {rule}")]
    Root {
        /// Which file of the root.
        path: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The boot stub has no room, or is none.
    #[error("the boot stub: {0}")]
    Stub(&'static str),
    /// A key cannot be used.
    #[error("{path} is no RSA key in PEM, PKCS #8")]
    Key {
        /// Which.
        path: PathBuf,
    },
    /// What was built cannot be described.
    #[error("cannot describe what was built")]
    Encode(#[source] serde_json::Error),
}

impl BuildError {
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Read { path, cause }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Write { path, cause }
    }

    pub(crate) fn package(package: &str, what: impl Into<String>) -> Self {
        Self::Package {
            package: package.to_owned(),
            what: what.into(),
        }
    }
}
