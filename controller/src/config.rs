//! The controller's own configuration: one TOML file, no environment, no reload.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bartizan_model::config::Der;
use bartizan_model::ids::{IdError, NodeId};
use bartizan_tls::{Anchors, Identity, TlsError};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

use crate::store::Place;

/// What `serve` works with; files are read, names are checked.
#[derive(Debug)]
pub struct Config {
    /// Where gateways call home to (RFC 8071: TCP 4335).
    pub listen: SocketAddr,
    /// The socket for `apply` and `status`.
    pub socket: PathBuf,
    /// Where everything is kept that must not be forgotten.
    pub store: Place,
    /// The gateways that may call home.
    pub nodes: BTreeSet<NodeId>,
    /// Our certificate and key.
    pub identity: Identity,
    /// Who signs the gateways' LDevID certificates.
    pub anchors: Anchors,
    /// How often a lease is renewed.
    pub lease_cadence: Duration,
    /// How long a lease lives.
    pub lease: Duration,
    /// How often a gateway's state is asked for, beside what it tells by itself.
    pub poll: Duration,
    /// Where the keys of the development signer are.
    pub signer: Option<PathBuf>,
}

/// A configuration that is none.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Not the TOML that is asked for.
    #[error("malformed")]
    Malformed(#[from] toml::de::Error),
    /// A certificate or a key cannot be read.
    #[error("cannot read {}", path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: pem::Error,
    },
    /// The private key is of a kind that is not supported.
    #[error("key: not a key that TLS can use")]
    Key(#[source] rustls::Error),
    /// The certificate, its key or the owner's CA are of no use.
    #[error("certificate, key or owner-ca")]
    Tls(#[from] TlsError),
    /// A node id is none.
    #[error("nodes: {name} is no node id")]
    Node {
        /// As it stands.
        name: String,
        /// Why.
        #[source]
        cause: IdError,
    },
    /// A time that makes no sense.
    #[error("{0}")]
    Times(&'static str),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    listen: SocketAddr,
    socket: PathBuf,
    state: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    owner_ca: PathBuf,
    nodes: Vec<String>,
    #[serde(default = "poll_seconds")]
    poll_seconds: u64,
    #[serde(default)]
    lease: LeaseDocument,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct LeaseDocument {
    cadence_seconds: u64,
    seconds: u64,
    signer: Option<PathBuf>,
}

impl Default for LeaseDocument {
    fn default() -> Self {
        Self {
            cadence_seconds: 60,
            seconds: 300,
            signer: None,
        }
    }
}

fn poll_seconds() -> u64 {
    30
}

impl Config {
    /// Reads a configuration and the files that it names, relative to its own folder.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|cause| ConfigError::File {
            path: path.to_owned(),
            cause,
        })?;
        let document: Document = toml::from_str(&text)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let (chain, key) = (folder.join(document.certificate), folder.join(document.key));
        let key = any_supported_type(&private_key(&key)?).map_err(ConfigError::Key)?;
        let identity = Identity::new(&certificates(&chain)?, key)?;
        let anchors = Anchors::new(&certificates(&folder.join(document.owner_ca))?)?;
        let lease = document.lease;
        if lease.cadence_seconds == 0 || document.poll_seconds == 0 {
            return Err(ConfigError::Times("a cadence is at least one second"));
        }
        if lease.seconds.saturating_sub(lease.cadence_seconds) < lease.cadence_seconds {
            let fault = "lease.seconds: a lease lives at least twice its cadence";
            return Err(ConfigError::Times(fault));
        }
        Ok(Self {
            listen: document.listen,
            socket: folder.join(document.socket),
            store: Place::File(folder.join(document.state)),
            nodes: nodes(document.nodes)?,
            identity,
            anchors,
            lease_cadence: Duration::from_secs(lease.cadence_seconds),
            lease: Duration::from_secs(lease.seconds),
            poll: Duration::from_secs(document.poll_seconds),
            signer: lease.signer.map(|signer| folder.join(signer)),
        })
    }
}

fn nodes(names: Vec<String>) -> Result<BTreeSet<NodeId>, ConfigError> {
    let node = |name: String| {
        NodeId::try_from(name.as_str()).map_err(|cause| ConfigError::Node { name, cause })
    };
    names.into_iter().map(node).collect()
}

fn certificates(path: &Path) -> Result<Vec<Der>, ConfigError> {
    let fault = |cause| ConfigError::Pem {
        path: path.to_owned(),
        cause,
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(fault)?;
    certificates
        .map(|der| der.map(|der| Der(der.to_vec())).map_err(fault))
        .collect()
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ConfigError> {
    PrivateKeyDer::from_pem_file(path).map_err(|cause| ConfigError::Pem {
        path: path.to_owned(),
        cause,
    })
}
