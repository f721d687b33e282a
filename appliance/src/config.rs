//! `appliance.toml`: what the image says of the box; one file, read once, every key known and
//! checked.
//!
//! It lies on the verity root and is measured, so it is trusted; it is checked all the same, because
//! a wrong value must be found before the first role starts. What the owner says is not here: it is
//! learned by enrolling and kept as [`ownership`](crate::ownership).

use std::path::{Path, PathBuf};

use bartizan_model::config::BootstrapServer;
use bartizan_model::message::Memory;
use serde::Deserialize;

mod document;

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// It is no TOML, a key is unknown or missing, or a value has the wrong type.
    #[error("line {line}: {text}")]
    Document {
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        text: String,
    },
    /// A value breaks a rule.
    #[error("{key}: {rule}")]
    Value {
        /// The path of the key.
        key: String,
        /// The rule.
        rule: String,
    },
}

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the box is.
    pub platform: Platform,
    /// Who signs its vouchers.
    pub manufacturer: Manufacturer,
    /// Where an owner is looked for.
    pub discovery: Discovery,
    /// The folder in which ownership is kept; the supervisor alone writes it.
    pub state: PathBuf,
    /// Which of the owner's networks networkd has read: a file of who tells it.
    pub applied_network: PathBuf,
    /// What every lock-down must achieve.
    pub required: Required,
}

/// The box and its image, as the input of `get-bootstrapping-data` names them (RFC 8572, 7.3).
#[derive(Clone, Debug)]
pub struct Platform {
    /// `hw-model`.
    pub hw_model: String,
    /// `os-name`.
    pub os_name: String,
    /// `os-version`: dotted numbers.
    pub os_version: String,
}

/// The two roots that a voucher must verify under.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manufacturer {
    /// A root certificate with an ECDSA P-384 key, PEM.
    pub es384: PathBuf,
    /// An ML-DSA-65 public key, 1952 bytes.
    pub ml_dsa_65: PathBuf,
}

/// Where an owner is looked for (RFC 8572, 4).
#[derive(Clone, Debug)]
pub struct Discovery {
    /// The folder in which signed data from removable media or the site shows up.
    pub media: PathBuf,
    /// The folder of networkd's leases.
    pub leases: PathBuf,
    /// The private DHCP option that stands for option 143: networkd keeps no other of them.
    pub dhcp_option: u8,
    /// The image's own bootstrap servers, asked last.
    pub servers: Vec<BootstrapServer>,
}

/// What every process must have achieved. The rest of a lock-down is required without a key:
/// no process runs with privileges, dumpable, or with capabilities of another.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Required {
    /// The least Landlock version; 0 on a kernel without.
    pub landlock: u8,
    /// Whether a seccomp filter must be in force.
    pub seccomp: bool,
    /// What must back the secrets, at the least.
    #[serde(deserialize_with = "document::memory")]
    pub memory: Memory,
}

impl Required {
    /// Everything that the newest kernel known here can do.
    pub const ALL: Self = Self {
        landlock: 7,
        seccomp: true,
        memory: Memory::Secret,
    };
}

impl Config {
    /// Reads a file; paths in it are relative to it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with the key at fault.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Read {
            path: path.to_owned(),
            cause,
        })?;
        let mut config = Self::parse(&text)?;
        config.resolve(path.parent().unwrap_or(Path::new("")));
        Ok(config)
    }

    /// Parses and checks a document; reads no other file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with the key at fault.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        document::parse(text)
    }

    fn resolve(&mut self, directory: &Path) {
        for path in [
            &mut self.manufacturer.es384,
            &mut self.manufacturer.ml_dsa_65,
            &mut self.discovery.media,
            &mut self.discovery.leases,
            &mut self.state,
            &mut self.applied_network,
        ] {
            *path = directory.join(&path);
        }
    }
}
