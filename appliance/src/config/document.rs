//! The file as it is written, and the rules that make a [`Config`] of it.

use core::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use bartizan_model::config::{Groups, Unattested};
use bartizan_model::ids::{NodeId, SaeId};
use bartizan_model::message::Memory;
use serde::Deserialize;

use super::{Config, ConfigError, Kme, Remote, Required, Verifier};

/// The TCP port of the peer role unless the file says otherwise.
const PEER_PORT: u16 = 9061;

/// The most addresses a gateway has.
const ADDRESSES_MAX: usize = 16;

/// The only key delivery interface so far: ETSI GS QKD 014.
const INTERFACE: &str = "014";

/// Parses and checks.
pub(super) fn parse(text: &str) -> Result<Config, ConfigError> {
    let document: Document = toml::from_str(text).map_err(|error| ConfigError::Document {
        line: line_of(text, error.span()),
        text: error.message().to_owned(),
    })?;
    document.check()
}

/// Reads what must back the secrets.
pub(super) fn memory<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Memory, D::Error> {
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

fn line_of(text: &str, span: Option<core::ops::Range<usize>>) -> usize {
    let before = span
        .and_then(|span| text.get(..span.start))
        .unwrap_or_default();
    before.matches('\n').count().saturating_add(1)
}
