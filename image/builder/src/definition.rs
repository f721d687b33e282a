//! The definition in `image/`: `packages.toml`, `root.toml` and `cmdline`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};

use crate::{BuildError, command::text};

/// The whole definition.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    /// What is taken from Debian.
    pub(crate) packages: PackageList,
    /// What is taken from the tree.
    pub(crate) root: RootList,
    words: Vec<String>,
}

/// `packages.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PackageList {
    pub(crate) kernel: Kernel,
    #[serde(rename = "package")]
    pub(crate) packages: Vec<Package>,
}

/// The kernel and the modules of it that are taken; what they need comes with them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kernel {
    /// The package that depends on the newest kernel.
    pub(crate) package: String,
    pub(crate) reason: String,
    /// The modules that lead to the root.
    pub(crate) initrd: Vec<String>,
    /// The modules that the root loads.
    pub(crate) root: Vec<String>,
}

/// A package of which something is taken.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) reason: String,
    /// Files and, with a slash at the end, folders; libraries that one of the programs is linked with come by
    /// themselves.
    #[serde(default)]
    pub(crate) files: Vec<String>,
    /// Files of the initrd.
    #[serde(default)]
    pub(crate) initrd: Vec<String>,
    /// For the builder alone: nothing of it is on the root.
    #[serde(default)]
    pub(crate) build_only: bool,
}

/// `root.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RootList {
    /// Empty folders: mount points.
    pub(crate) folders: Vec<String>,
    /// The appliance's programs, for `/usr/bin`.
    pub(crate) programs: Vec<String>,
    pub(crate) files: Vec<Copied>,
    pub(crate) links: Vec<Link>,
    /// What each target starts: the units in its folder.
    pub(crate) starts: BTreeMap<String, Vec<String>>,
}

/// Files of the tree.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Copied {
    /// In the tree; with a slash at the end, everything in that folder.
    pub(crate) from: String,
    /// On the root; with a slash at the end, the folder.
    pub(crate) to: String,
}

/// A symbolic link.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Link {
    pub(crate) at: String,
    pub(crate) to: PathBuf,
}

impl Definition {
    pub(crate) fn read(folder: &Path) -> Result<Self, BuildError> {
        let words = text(&folder.join("cmdline"))?;
        let words = words.lines().map(|line| match line.split_once('#') {
            Some((word, _reason)) => word.trim(),
            None => line.trim(),
        });
        Ok(Self {
            packages: parse(&folder.join("packages.toml"))?,
            root: parse(&folder.join("root.toml"))?,
            words: words
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    }

    /// The kernel's command line.
    pub(crate) fn command_line(&self, roothash: &str) -> String {
        format!("roothash={roothash} {}", self.words.join(" "))
    }
}

impl PackageList {
    /// A package of which nothing is taken has no place in the list, nor in the bill of materials.
    pub(crate) fn check_all_used(&self, used: &BTreeSet<String>) -> Result<(), BuildError> {
        let mut unused = self
            .packages
            .iter()
            .filter(|package| !package.build_only && !used.contains(&package.name));
        unused.next().map_or(Ok(()), |package| {
            Err(BuildError::package(&package.name, "nothing of it is used"))
        })
    }
}

fn parse<T: DeserializeOwned>(path: &Path) -> Result<T, BuildError> {
    toml::from_str(&text(path)?).map_err(|cause| BuildError::Definition {
        path: path.to_owned(),
        cause,
    })
}
