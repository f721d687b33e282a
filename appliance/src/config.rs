//! `appliance.toml`: one file, read once, every key known and checked.
//!
//! It lies on the verity root and is measured, so it is trusted; it is checked all the same, because
//! a wrong value is an operator's error and must be found before the first role starts.

use core::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use bartizan_model::config::{Groups, Unattested, XfrmConfig};
use bartizan_model::ids::{NodeId, SaeId};
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
    /// This gateway.
    pub node: NodeId,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// The LDevID certificate and its chain, PEM, the leaf first.
    pub ldevid: PathBuf,
    /// Where to call home, and what its certificate names.
    pub controller: Remote,
    /// The pinned verifier.
    pub verifier: Verifier,
    /// The TCP port of the peer role.
    pub peer_port: u16,
    /// Where the peer role listens.
    pub peer_listen: Vec<IpAddr>,
    /// Who may have signed a peer's certificate, PEM.
    pub peer_anchors: PathBuf,
    /// The KME beside this gateway.
    pub kme: Option<Kme>,
    /// Whether a lease without attestation counts.
    pub unattested: Unattested,
    /// What every lock-down must achieve.
    pub required: Required,
}

/// A TLS server that this gateway dials.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Where it listens.
    pub address: SocketAddr,
    /// The `dNSName` of its certificate.
    pub name: NodeId,
    /// Who may have signed it, PEM.
    pub anchors: PathBuf,
}

/// The verifier's public keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Verifier {
    /// ECDSA P-384, SEC 1 uncompressed, 97 bytes.
    pub es384: PathBuf,
    /// ML-DSA-65, 1952 bytes.
    pub ml_dsa_65: PathBuf,
}

/// The KME.
#[derive(Clone, Debug)]
pub struct Kme {
    /// Its REST server.
    pub remote: Remote,
    /// Our name there.
    pub sae: SaeId,
    /// The certificate that it knows us by, PEM, the leaf first.
    pub chain: PathBuf,
    /// The key agreement it may offer.
    pub groups: Groups,
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
        let directory = path.parent().unwrap_or(Path::new(""));
        config.resolve(directory);
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

    /// What xfrm must let pass beside the policies.
    pub fn xfrm(&self) -> XfrmConfig {
        let kme = self.kme.iter().map(|kme| kme.remote.address);
        XfrmConfig {
            addresses: self.addresses.clone(),
            peer_port: self.peer_port,
            services: core::iter::once(self.controller.address)
                .chain(kme)
                .collect(),
        }
    }

    fn resolve(&mut self, directory: &Path) {
        let own = [
            &mut self.ldevid,
            &mut self.controller.anchors,
            &mut self.verifier.es384,
            &mut self.verifier.ml_dsa_65,
            &mut self.peer_anchors,
        ];
        let kme = self
            .kme
            .as_mut()
            .map(|kme| [&mut kme.remote.anchors, &mut kme.chain]);
        for path in own.into_iter().chain(kme.into_iter().flatten()) {
            *path = directory.join(&path);
        }
    }
}
