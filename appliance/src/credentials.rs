//! The files that the configuration names: certificates and public keys, read once.

use std::path::Path;

use bartizan_model::config::{
    ControlConfig, Der, EngineConfig, KmeConfig, PeerConfig, QkdConfig, RoleConfig, VerifierKeys,
};
use bartizan_model::ids::{NodeId, Thumbprint};
use bartizan_model::message::Role;
use core::net::SocketAddr;
use der::Encode;
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::config::Config;

/// The most bytes of one file.
const FILE_MAX: u64 = 64 * 1024;

/// The most certificates of one file.
const CERTIFICATES_MAX: usize = 8;

const ES384_LEN: usize = 97;
const ML_DSA_65_LEN: usize = 1952;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {rule}")]
pub struct CredentialError {
    /// The key of the configuration that names it.
    pub key: &'static str,
    /// The rule that it breaks.
    pub rule: &'static str,
    /// Why it cannot be read, if it cannot.
    #[source]
    pub cause: Option<Box<dyn core::error::Error + Send + Sync>>,
}

/// Certificates and public keys.
#[derive(Clone, Debug)]
pub struct Credentials {
    ldevid: Vec<Der>,
    thumbprint: Thumbprint,
    verifier: VerifierKeys,
    controller_anchors: Vec<Der>,
    peer_anchors: Vec<Der>,
    kme: Option<(Vec<Der>, Vec<Der>)>,
}

impl Credentials {
    /// Reads everything that a configuration names.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] with the key that names the file at fault.
    pub fn read(config: &Config) -> Result<Self, CredentialError> {
        let ldevid = certificates("node.ldevid", &config.ldevid)?;
        let thumbprint = leaf_of(&ldevid, &config.node)?;
        let verifier = VerifierKeys {
            es384: key("verifier.es384", &config.verifier.es384, ES384_LEN)?,
            ml_dsa_65: key(
                "verifier.ml-dsa-65",
                &config.verifier.ml_dsa_65,
                ML_DSA_65_LEN,
            )?,
        };
        let kme = match &config.kme {
            None => None,
            Some(kme) => Some((
                encoded("kme.anchors", &kme.remote.anchors)?,
                encoded("kme.chain", &kme.chain)?,
            )),
        };
        Ok(Self {
            ldevid: to_der("node.ldevid", &ldevid)?,
            thumbprint,
            verifier,
            controller_anchors: encoded("controller.anchors", &config.controller.anchors)?,
            peer_anchors: encoded("peer.anchors", &config.peer_anchors)?,
            kme,
        })
    }

    /// The part of everything that a role is told; `restored` says that control gets a copy of
    /// `running` along.
    pub fn role_config(&self, config: &Config, role: Role, restored: bool) -> RoleConfig {
        match role {
            Role::Engine => RoleConfig::Engine(Box::new(EngineConfig {
                node: config.node.clone(),
                ldevid: self.thumbprint,
                verifier: self.verifier.clone(),
                unattested: config.unattested,
            })),
            Role::Xfrm => RoleConfig::Xfrm(config.xfrm()),
            Role::Control => RoleConfig::Control(ControlConfig {
                node: config.node.clone(),
                controller: config.controller.address,
                controller_name: config.controller.name.clone(),
                anchors: self.controller_anchors.clone(),
                chain: self.ldevid.clone(),
                restored,
            }),
            Role::Peer => RoleConfig::Peer(PeerConfig {
                node: config.node.clone(),
                listen: config
                    .peer_listen
                    .iter()
                    .map(|address| SocketAddr::new(*address, config.peer_port))
                    .collect(),
                anchors: self.peer_anchors.clone(),
                chain: self.ldevid.clone(),
            }),
            Role::Qkd => RoleConfig::Qkd(QkdConfig {
                kme: self.kme_config(config),
            }),
            // Nobody starts bootstrap yet; it refuses another role's configuration.
            Role::Tpm | Role::Bootstrap => RoleConfig::Tpm,
        }
    }

    fn kme_config(&self, config: &Config) -> Option<KmeConfig> {
        let kme = config.kme.as_ref()?;
        let (anchors, chain) = self.kme.clone()?;
        Some(KmeConfig {
            address: kme.remote.address,
            name: kme.remote.name.clone(),
            anchors,
            sae: kme.sae.clone(),
            chain,
            groups: kme.groups,
        })
    }
}

/// Checks that the leaf names this node and no other, and takes the thumbprint of its key.
fn leaf_of(chain: &[Certificate], node: &NodeId) -> Result<Thumbprint, CredentialError> {
    const KEY: &str = "node.ldevid";
    let leaf = chain
        .first()
        .ok_or_else(|| wrong(KEY, "no certificate in it"))?
        .tbs_certificate();
    let names = leaf
        .get_extension::<SubjectAltName>()
        .map_err(|error| because(KEY, "its names cannot be read", error))?
        .map_or_else(Vec::new, |(_, names)| names.0);
    let names: Vec<_> = names
        .iter()
        .filter_map(|name| {
            if let GeneralName::DnsName(name) = name {
                Some(name.as_str())
            } else {
                None
            }
        })
        .collect();
    if names != [node.as_str()] {
        return Err(wrong(KEY, "the only dNSName of its leaf must be node.id"));
    }
    let spki = leaf
        .subject_public_key_info()
        .to_der()
        .map_err(|error| because(KEY, "its key cannot be read", error))?;
    Ok(Thumbprint(Sha256::digest(spki).into()))
}

fn encoded(key: &'static str, path: &Path) -> Result<Vec<Der>, CredentialError> {
    to_der(key, &certificates(key, path)?)
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<Certificate>, CredentialError> {
    let pem = bytes(key, path)?;
    let chain = Certificate::load_pem_chain(&pem)
        .map_err(|error| because(key, "no PEM certificates", error))?;
    if chain.is_empty() || chain.len() > CERTIFICATES_MAX {
        return Err(wrong(key, "1 to 8 certificates"));
    }
    Ok(chain)
}

fn to_der(key: &'static str, chain: &[Certificate]) -> Result<Vec<Der>, CredentialError> {
    chain
        .iter()
        .map(|certificate| certificate.to_der().map(Der))
        .collect::<Result<_, _>>()
        .map_err(|error| because(key, "no DER certificates", error))
}

fn key(key: &'static str, path: &Path, len: usize) -> Result<Vec<u8>, CredentialError> {
    let bytes = bytes(key, path)?;
    if bytes.len() == len {
        Ok(bytes)
    } else {
        Err(wrong(key, "a key of another length"))
    }
}

fn bytes(key: &'static str, path: &Path) -> Result<Vec<u8>, CredentialError> {
    let unreadable = |error| because(key, "the file cannot be read", error);
    if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_MAX {
        return Err(wrong(key, "the file is longer than 64 KiB"));
    }
    std::fs::read(path).map_err(unreadable)
}

fn wrong(key: &'static str, rule: &'static str) -> CredentialError {
    CredentialError {
        key,
        rule,
        cause: None,
    }
}

fn because(
    key: &'static str,
    rule: &'static str,
    cause: impl core::error::Error + Send + Sync + 'static,
) -> CredentialError {
    CredentialError {
        key,
        rule,
        cause: Some(Box::new(cause)),
    }
}
