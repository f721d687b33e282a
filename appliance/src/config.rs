//! `appliance.toml`: one file, read once, every key known and checked.
//!
//! It lies on the verity root and is measured, so it is trusted; it is checked all the same, because
//! a wrong value is an operator's error and must be found before the first role starts.

use core::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use bartizan_model::config::{Groups, Unattested, XfrmConfig};
use bartizan_model::ids::{NodeId, SaeId};
use bartizan_model::message::Memory;
use serde::Deserialize;

/// The TCP port of the peer role unless the file says otherwise.
const PEER_PORT: u16 = 9061;

/// The most addresses a gateway has.
const ADDRESSES_MAX: usize = 16;

/// The only key delivery interface so far: ETSI GS QKD 014.
const INTERFACE: &str = "014";

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
#[non_exhaustive]
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
#[non_exhaustive]
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
#[non_exhaustive]
pub struct Verifier {
    /// ECDSA P-384, SEC 1 uncompressed, 97 bytes.
    pub es384: PathBuf,
    /// ML-DSA-65, 1952 bytes.
    pub ml_dsa_65: PathBuf,
}

/// The KME.
#[derive(Clone, Debug)]
#[non_exhaustive]
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
#[non_exhaustive]
pub struct Required {
    /// The least Landlock version; 0 on a kernel without.
    pub landlock: u8,
    /// Whether a seccomp filter must be in force.
    pub seccomp: bool,
    /// What must back the secrets, at the least.
    #[serde(deserialize_with = "memory")]
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
    pub fn read(path: &std::path::Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Read {
            path: path.to_owned(),
            cause,
        })?;
        let mut config = Self::parse(&text)?;
        let directory = path.parent().unwrap_or(std::path::Path::new(""));
        config.resolve(directory);
        Ok(config)
    }

    /// Parses and checks a document; reads no other file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with the key at fault.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let document: Document = toml::from_str(text).map_err(|error| ConfigError::Document {
            line: line_of(text, error.span()),
            text: error.message().to_owned(),
        })?;
        document.check()
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

    fn resolve(&mut self, directory: &std::path::Path) {
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    node: NodeTable,
    controller: RemoteTable,
    verifier: Verifier,
    peer: PeerTable,
    #[serde(default)]
    kme: Vec<KmeTable>,
    lease: LeaseTable,
    required: Required,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeTable {
    id: String,
    addresses: Vec<IpAddr>,
    ldevid: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoteTable {
    address: SocketAddr,
    name: String,
    anchors: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerTable {
    #[serde(default = "peer_port")]
    port: u16,
    listen: Option<Vec<IpAddr>>,
    anchors: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KmeTable {
    interface: String,
    address: SocketAddr,
    name: String,
    anchors: PathBuf,
    sae: String,
    chain: PathBuf,
    groups: Groups,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaseTable {
    unattested: Unattested,
}

impl Document {
    fn check(self) -> Result<Config, ConfigError> {
        let node = node_id("node.id", &self.node.id)?;
        check_addresses("node.addresses", &self.node.addresses)?;
        let controller = self.controller.check("controller")?;
        if self.peer.port == 0 {
            return Err(value("peer.port", "a port is 1 to 65535"));
        }
        let peer_listen = match self.peer.listen {
            None => self.node.addresses.clone(),
            Some(listen) => {
                check_listen(&listen, &self.node.addresses)?;
                listen
            }
        };
        let mut kmes = self.kme.into_iter();
        let kme = kmes.next().map(KmeTable::check).transpose()?;
        if kmes.next().is_some() {
            return Err(value("kme", "there is one KME beside a gateway, not more"));
        }
        Ok(Config {
            node,
            addresses: self.node.addresses,
            ldevid: self.node.ldevid,
            controller,
            verifier: self.verifier,
            peer_port: self.peer.port,
            peer_listen,
            peer_anchors: self.peer.anchors,
            kme,
            unattested: self.lease.unattested,
            required: self.required,
        })
    }
}

impl RemoteTable {
    fn check(self, table: &str) -> Result<Remote, ConfigError> {
        let key = |name| format!("{table}.{name}");
        let ip = self.address.ip();
        if self.address.port() == 0 || ip.is_unspecified() || ip.is_multicast() {
            return Err(value(key("address"), "not the address of a server"));
        }
        let name = node_id(&key("name"), &self.name)?;
        Ok(Remote {
            address: self.address,
            name,
            anchors: self.anchors,
        })
    }
}

impl KmeTable {
    fn check(self) -> Result<Kme, ConfigError> {
        if self.interface != INTERFACE {
            return Err(value("kme.interface", "the only interface is \"014\""));
        }
        let sae = SaeId::try_from(self.sae).map_err(|error| value("kme.sae", error.to_string()))?;
        let remote = RemoteTable {
            address: self.address,
            name: self.name,
            anchors: self.anchors,
        };
        let remote = remote.check("kme")?;
        Ok(Kme {
            remote,
            sae,
            chain: self.chain,
            groups: self.groups,
        })
    }
}

fn node_id(key: &str, text: &str) -> Result<NodeId, ConfigError> {
    NodeId::try_from(text).map_err(|error| value(key, error.to_string()))
}

fn check_addresses(key: &str, addresses: &[IpAddr]) -> Result<(), ConfigError> {
    if addresses.is_empty() || addresses.len() > ADDRESSES_MAX {
        return Err(value(
            key,
            format!("a gateway has 1 to {ADDRESSES_MAX} addresses"),
        ));
    }
    for (place, address) in addresses.iter().enumerate() {
        if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
            return Err(value(
                key,
                format!("{address} is not the address of a gateway"),
            ));
        }
        if addresses
            .iter()
            .skip(place.saturating_add(1))
            .any(|other| other == address)
        {
            return Err(value(key, format!("{address} is there twice")));
        }
    }
    Ok(())
}

fn check_listen(listen: &[IpAddr], addresses: &[IpAddr]) -> Result<(), ConfigError> {
    if listen.is_empty() || listen.len() > ADDRESSES_MAX {
        return Err(value(
            "peer.listen",
            format!("1 to {ADDRESSES_MAX} addresses"),
        ));
    }
    match listen
        .iter()
        .find(|address| !address.is_unspecified() && !addresses.contains(address))
    {
        Some(other) => Err(value(
            "peer.listen",
            format!("{other} is not in node.addresses"),
        )),
        None => Ok(()),
    }
}

fn value(key: impl Into<String>, rule: impl Into<String>) -> ConfigError {
    ConfigError::Value {
        key: key.into(),
        rule: rule.into(),
    }
}

const fn peer_port() -> u16 {
    PEER_PORT
}

fn memory<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Memory, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Backing {
        MemfdSecret,
        Mlock,
    }
    Ok(match Backing::deserialize(from)? {
        Backing::MemfdSecret => Memory::Secret,
        Backing::Mlock => Memory::Locked,
    })
}

fn line_of(text: &str, span: Option<core::ops::Range<usize>>) -> usize {
    let before = span
        .and_then(|span| text.get(..span.start))
        .unwrap_or_default();
    before.matches('\n').count().saturating_add(1)
}
