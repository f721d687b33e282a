//! The controller's own configuration: one TOML file, no environment, no reload.

pub mod attested;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bartizan_bootstrap_protocol::certificate::{Certificate, CertificateError};
use bartizan_bootstrap_protocol::cms::MlDsa65Key;
use bartizan_model::config::{Der, Groups};
use bartizan_model::ids::{IdError, NodeId};
use bartizan_tls::{Anchors, Clock, Identity, TlsError, database_client};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

use attested::{
    Attested, AttestedError, CaDocument, Documents, RegistrarDocument, VerifierDocument,
};

use crate::device::Maker;
use crate::rest::RestConfig;
use crate::store::{Database, DatabaseError, Place};

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
    /// Who signs vouchers.
    pub makers: Vec<Maker>,
    /// The owner's certificate authorities, as vouchers name them.
    pub owner: Vec<Certificate>,
    /// Where REST is served, if anywhere.
    pub rest: Option<RestConfig>,
    /// What attestation and enrolment work by.
    pub attested: Option<Attested>,
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
    /// Neither a file to keep everything in nor a database, or both.
    #[error("state or [postgresql]: one place to keep everything in, and not two")]
    Place,
    /// The database cannot be reached safely.
    #[error("postgresql")]
    Database(#[from] DatabaseError),
    /// A maker's root is none.
    #[error("maker: {} is no root", .0.display())]
    Maker(PathBuf),
    /// A certificate of the owner's that vouchers cannot name.
    #[error("owner-ca")]
    Owner(#[source] CertificateError),
    /// A time that makes no sense.
    #[error("{0}")]
    Times(&'static str),
    /// Leases that would end between two renewals, or that no gateway takes.
    #[error(
        "lease.seconds = {seconds}: write {least} to {LEASE_MAX} for lease.cadence-seconds = {cadence}, so that a \
         lease outlives a renewal that fails"
    )]
    Lease {
        /// As it stands.
        seconds: u64,
        /// How often it is to be renewed.
        cadence: u64,
        /// The least that works with that.
        least: u64,
    },
    /// What attestation works by.
    #[error(transparent)]
    Attested(#[from] AttestedError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    listen: SocketAddr,
    socket: PathBuf,
    state: Option<PathBuf>,
    postgresql: Option<PostgresqlDocument>,
    certificate: PathBuf,
    key: PathBuf,
    owner_ca: PathBuf,
    #[serde(default)]
    nodes: Vec<String>,
    #[serde(default)]
    maker: Vec<MakerDocument>,
    rest: Option<RestDocument>,
    #[serde(default = "poll_seconds")]
    poll_seconds: u64,
    #[serde(default)]
    lease: LeaseDocument,
    #[serde(default)]
    verifier: Option<VerifierDocument>,
    #[serde(default)]
    ca: Option<CaDocument>,
    #[serde(default)]
    sae_ca: Option<CaDocument>,
    #[serde(default)]
    registrar: Option<RegistrarDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct LeaseDocument {
    cadence_seconds: u64,
    seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PostgresqlDocument {
    connection: String,
    anchors: Option<PathBuf>,
    #[serde(default = "hybrid_only")]
    groups: Groups,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct MakerDocument {
    es384: PathBuf,
    ml_dsa_65: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RestDocument {
    listen: SocketAddr,
    operator_ca: PathBuf,
}

fn hybrid_only() -> Groups {
    Groups::HybridOnly
}

impl Default for LeaseDocument {
    fn default() -> Self {
        Self {
            cadence_seconds: 60,
            seconds: 300,
        }
    }
}

impl LeaseDocument {
    /// A lease counts from its nonce, which was made when the one before it was taken: up to 1.2 cadences ago, by the
    /// session's chance. Then it is to last for two more, so that one renewal may fail.
    fn check(&self) -> Result<(), ConfigError> {
        let (seconds, cadence) = (self.seconds, self.cadence_seconds);
        let least = cadence.saturating_mul(18).div_ceil(5);
        if least > LEASE_MAX {
            return Err(ConfigError::Times(
                "lease.cadence-seconds: at most 24000, or no lease of a day outlives a renewal that fails",
            ));
        }
        if (least..=LEASE_MAX).contains(&seconds) {
            return Ok(());
        }
        Err(ConfigError::Lease {
            seconds,
            cadence,
            least,
        })
    }
}

/// A day: no gateway takes a longer lease.
const LEASE_MAX: u64 = 24 * 60 * 60;

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
        let owner_ca = certificates(&folder.join(document.owner_ca))?;
        let anchors = Anchors::new(&owner_ca, &Clock::system())?;
        let owner = owner_ca.iter().map(|der| Certificate::from_der(&der.0));
        let owner = owner
            .collect::<Result<_, _>>()
            .map_err(ConfigError::Owner)?;
        let makers = document.maker.iter().map(|maker| maker.read(folder));
        let lease = document.lease;
        if lease.cadence_seconds == 0 || document.poll_seconds == 0 {
            return Err(ConfigError::Times("a cadence is at least one second"));
        }
        lease.check()?;
        let documents = Documents {
            verifier: document.verifier,
            ca: document.ca,
            sae_ca: document.sae_ca,
            registrar: document.registrar,
        };
        let attested = Attested::read(folder, documents, Duration::from_secs(lease.seconds))?;
        Ok(Self {
            listen: document.listen,
            socket: folder.join(document.socket),
            store: place(folder, document.state, document.postgresql)?,
            makers: makers.collect::<Result<_, _>>()?,
            rest: document.rest.map(|rest| rest.read(folder)).transpose()?,
            owner,
            nodes: nodes(document.nodes)?,
            identity,
            anchors,
            lease_cadence: Duration::from_secs(lease.cadence_seconds),
            lease: Duration::from_secs(lease.seconds),
            poll: Duration::from_secs(document.poll_seconds),
            attested,
        })
    }
}

impl RestDocument {
    fn read(self, folder: &Path) -> Result<RestConfig, ConfigError> {
        Ok(RestConfig {
            listen: self.listen,
            anchors: Anchors::new(
                &certificates(&folder.join(self.operator_ca))?,
                &Clock::system(),
            )?,
        })
    }
}

impl MakerDocument {
    fn read(&self, folder: &Path) -> Result<Maker, ConfigError> {
        let (es384, ml_dsa_65) = (folder.join(&self.es384), folder.join(&self.ml_dsa_65));
        let root = certificates(&es384)?;
        let [root] = root.as_slice() else {
            return Err(ConfigError::Maker(es384));
        };
        let root = Certificate::from_der(&root.0);
        let key = fs::read(&ml_dsa_65).map_err(|cause| ConfigError::File {
            path: ml_dsa_65.clone(),
            cause,
        })?;
        Ok(Maker {
            es384: root.map_err(|_| ConfigError::Maker(es384))?,
            ml_dsa_65: MlDsa65Key::from_bytes(&key).ok_or(ConfigError::Maker(ml_dsa_65))?,
        })
    }
}

fn place(
    folder: &Path,
    state: Option<PathBuf>,
    postgresql: Option<PostgresqlDocument>,
) -> Result<Place, ConfigError> {
    match (state, postgresql) {
        (Some(state), None) => Ok(Place::File(folder.join(state))),
        (None, Some(document)) => {
            let tls = match document.anchors {
                Some(path) => {
                    let anchors =
                        Anchors::new(&certificates(&folder.join(path))?, &Clock::system())?;
                    Some(database_client(&anchors, document.groups)?)
                }
                None => None,
            };
            let database = Database::new(&document.connection, tls)?;
            Ok(Place::Database(Box::new(database)))
        }
        _ => Err(ConfigError::Place),
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
