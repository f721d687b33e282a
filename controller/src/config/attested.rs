//! What attestation and enrolment work by: the verifier, the owner's CAs, the registrar.

use core::net::SocketAddr;
use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bartizan_evidence::cose::VerifierKeys;
use bartizan_evidence::reference::{ReferenceError, ReferenceValues};
use bartizan_model::config::Der;
use bartizan_signer::{Signer, public_keys};
use rustls_pki_types::PrivateKeyDer;
use serde::Deserialize;

use super::{ConfigError, certificates, private_key};
use crate::authority::{Authority, AuthorityError, CaKey, TokenKey};
use crate::chains::Roots;
use crate::verifier::{Makers, Verifier};

/// What attestation works by.
#[derive(Clone, Debug)]
pub struct Attested {
    /// Who judges, and grants what follows from it.
    pub verifier: Arc<Verifier>,
    /// Where boxes find their owner and enrol.
    pub registrar: RegistrarConfig,
}

/// Where boxes find their owner and enrol.
#[derive(Clone, Debug)]
pub struct RegistrarConfig {
    /// The TCP port for both.
    pub listen: SocketAddr,
    /// What each box is told: a folder for each serial number.
    pub artifacts: Option<PathBuf>,
}

/// What is wrong with a part of it.
#[derive(Debug, thiserror::Error)]
pub enum AttestedError {
    /// A section is missing.
    #[error("verifier, ca and registrar: all three or none")]
    Incomplete,
    /// There is no key, or several.
    #[error("{0}: one of key and token")]
    CaKey(&'static str),
    /// The CA.
    #[error("{0}")]
    Ca(&'static str, #[source] AuthorityError),
    /// A part of the verifier's.
    #[error("verifier.{part}")]
    Verifier {
        /// Which.
        part: &'static str,
        /// Why.
        #[source]
        cause: Box<dyn core::error::Error + Send + Sync>,
    },
    /// A file of reference values.
    #[error("{}", path.display())]
    Reference {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: ReferenceError,
    },
    /// Nothing could be appraised.
    #[error("verifier.{0}: there is none")]
    Empty(&'static str),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct VerifierDocument {
    keys: PathBuf,
    tpm_makers: PathBuf,
    #[serde(default)]
    box_makers: Option<PathBuf>,
    #[serde(default)]
    denied: Option<PathBuf>,
    references: PathBuf,
    reference_signers: Vec<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CaDocument {
    certificate: PathBuf,
    #[serde(default)]
    key: Option<PathBuf>,
    #[serde(default)]
    token: Option<TokenDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TokenDocument {
    module: PathBuf,
    label: String,
    key: String,
    pin_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RegistrarDocument {
    listen: SocketAddr,
    #[serde(default)]
    artifacts: Option<PathBuf>,
}

/// The sections of the file.
pub(super) struct Documents {
    pub(super) verifier: Option<VerifierDocument>,
    pub(super) ca: Option<CaDocument>,
    pub(super) sae_ca: Option<CaDocument>,
    pub(super) registrar: Option<RegistrarDocument>,
}

impl Attested {
    /// Reads what the sections name, relative to `folder`; `None` if there are none of them.
    pub(super) fn read(
        folder: &Path,
        documents: Documents,
        lease: Duration,
    ) -> Result<Option<Self>, ConfigError> {
        let (verifier, ca, registrar) =
            match (documents.verifier, documents.ca, documents.registrar) {
                (Some(verifier), Some(ca), Some(registrar)) => (verifier, ca, registrar),
                (None, None, None) if documents.sae_ca.is_none() => return Ok(None),
                _ => return Err(AttestedError::Incomplete.into()),
            };
        let boxes = verifier.box_makers.map_or_else(
            || Ok(Roots::default()),
            |boxes| roots("box-makers", &folder.join(boxes)),
        )?;
        let denied = verifier
            .denied
            .map(|denied| denied_keys(&folder.join(denied)));
        let signers = verifier.reference_signers.iter();
        let signers = signers.map(|signer| reference_signer(&folder.join(signer)));
        let signers = some("reference-signers", signers.collect::<Result<_, _>>()?)?;
        let references = files(&folder.join(verifier.references), "corim")?;
        let references = references.iter().map(|path| reference(path, &signers));
        let makers = Makers {
            tpms: roots("tpm-makers", &folder.join(verifier.tpm_makers))?,
            boxes,
            denied: denied.transpose()?.unwrap_or_default(),
        };
        let signer = Signer::load(&folder.join(verifier.keys));
        let signer = signer.map_err(|cause| of_verifier("keys", cause))?;
        let references = some("references", references.collect::<Result<_, _>>()?)?;
        let sae_ca = documents.sae_ca.map(|ca| authority("sae-ca", folder, ca));
        let cas = (authority("ca", folder, ca)?, sae_ca.transpose()?);
        Ok(Some(Self {
            verifier: Arc::new(Verifier::new(makers, references, signer, cas, lease)),
            registrar: RegistrarConfig {
                listen: registrar.listen,
                artifacts: registrar.artifacts.map(|path| folder.join(path)),
            },
        }))
    }
}

fn authority(
    name: &'static str,
    folder: &Path,
    document: CaDocument,
) -> Result<Authority, ConfigError> {
    let chain = certificates(&folder.join(document.certificate))?;
    let fault = |cause| ConfigError::Attested(AttestedError::Ca(name, cause));
    let key = match (document.key, document.token) {
        (Some(key), None) => {
            let ca = chain.first().ok_or(AuthorityError::NoCertificate);
            let key = private_key(&folder.join(key))?;
            let PrivateKeyDer::Pkcs8(key) = key else {
                return Err(AttestedError::CaKey(name).into());
            };
            let ca = ca.map_err(fault)?;
            Authority::file_key(ca, key.secret_pkcs8_der()).map_err(fault)?
        }
        (None, Some(token)) => {
            let pin = read(&folder.join(token.pin_file))?;
            let pin = String::from_utf8_lossy(&pin);
            let key = TokenKey::open(&token.module, &token.label, &token.key, pin.trim_end());
            CaKey::Token(key.map_err(|cause| fault(cause.into()))?)
        }
        (None, None) | (Some(_), Some(_)) => return Err(AttestedError::CaKey(name).into()),
    };
    Authority::new(&chain, key).map_err(fault)
}

fn reference_signer(folder: &Path) -> Result<VerifierKeys, ConfigError> {
    let fault = |cause| of_verifier("reference-signers", cause);
    let keys = public_keys(folder).map_err(fault)?;
    let keys = VerifierKeys::new(&keys.es384, &keys.ml_dsa_65);
    keys.map_err(|cause| of_verifier("reference-signers", cause))
}

/// Reference values that one of these has signed.
fn reference(path: &Path, signers: &[VerifierKeys]) -> Result<ReferenceValues, ConfigError> {
    let bytes = read(path)?;
    let mut last = None;
    for signer in signers {
        match ReferenceValues::verify(&bytes, signer) {
            Ok(values) => return Ok(values),
            Err(error) => last = Some(error),
        }
    }
    Err(
        last.map_or(AttestedError::Empty("reference-signers").into(), |cause| {
            of_reference(path, cause)
        }),
    )
}

fn roots(part: &'static str, folder: &Path) -> Result<Roots, ConfigError> {
    let mut found: Vec<Der> = Vec::new();
    for file in files(folder, "pem")? {
        found.extend(certificates(&file)?);
    }
    let found = some(part, found)?;
    Roots::new(&found).map_err(|cause| of_verifier(part, cause))
}

/// Certificates whose keys are denied.
fn denied_keys(folder: &Path) -> Result<Vec<[u8; 32]>, ConfigError> {
    let mut denied = Vec::new();
    for file in files(folder, "pem")? {
        for certificate in certificates(&file)? {
            let key = crate::chains::spki(&certificate);
            let key = key.map_err(|cause| of_verifier("denied", cause))?;
            let mut sha256 = [0; 32];
            sha256.copy_from_slice(digest(&SHA256, &key).as_ref());
            denied.push(sha256);
        }
    }
    Ok(denied)
}

/// The files of a folder with this ending, by name.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, ConfigError> {
    let fault = |cause| ConfigError::File {
        path: folder.to_owned(),
        cause,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == ending)
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|cause| ConfigError::File {
        path: path.to_owned(),
        cause,
    })
}

fn some<T>(part: &'static str, found: Vec<T>) -> Result<Vec<T>, ConfigError> {
    if found.is_empty() {
        return Err(AttestedError::Empty(part).into());
    }
    Ok(found)
}

fn of_reference(path: &Path, cause: ReferenceError) -> ConfigError {
    ConfigError::Attested(AttestedError::Reference {
        path: path.to_owned(),
        cause,
    })
}

fn of_verifier(
    part: &'static str,
    cause: impl core::error::Error + Send + Sync + 'static,
) -> ConfigError {
    let cause = Box::new(cause);
    ConfigError::Attested(AttestedError::Verifier { part, cause })
}
