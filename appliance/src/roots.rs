//! The manufacturer's two roots, from the files that the configuration names; read once.

use std::path::Path;

use bartizan_model::config::{Der, VoucherRoots};
use der::Encode as _;
use x509_cert::Certificate;

use crate::chain::is_p384;
use crate::config::Manufacturer;

/// The most bytes of one file.
const FILE_MAX: u64 = 64 * 1024;

const ML_DSA_65_LEN: usize = 1952;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {rule}")]
pub struct RootsError {
    /// The key of the configuration that names it.
    pub key: &'static str,
    /// The rule that it breaks.
    pub rule: &'static str,
    /// Why it cannot be read, if it cannot.
    #[source]
    pub cause: Option<std::io::Error>,
}

/// Reads both.
///
/// # Errors
///
/// [`RootsError`] with the key that names the file at fault.
pub fn read(manufacturer: &Manufacturer) -> Result<VoucherRoots, RootsError> {
    Ok(VoucherRoots {
        es384: certificate("manufacturer.es384", &manufacturer.es384)?,
        ml_dsa_65: key("manufacturer.ml-dsa-65", &manufacturer.ml_dsa_65)?,
    })
}

fn certificate(key: &'static str, path: &Path) -> Result<Der, RootsError> {
    let wrong = |rule| RootsError {
        key,
        rule,
        cause: None,
    };
    let chain =
        Certificate::load_pem_chain(&bytes(key, path)?).map_err(|_| wrong("no PEM certificate"))?;
    let [root] = chain.as_slice() else {
        return Err(wrong("one certificate, not more"));
    };
    if !is_p384(root) {
        return Err(wrong("its key is not on P-384"));
    }
    root.to_der()
        .map(Der)
        .map_err(|_| wrong("no DER certificate"))
}

fn key(key: &'static str, path: &Path) -> Result<Vec<u8>, RootsError> {
    let bytes = bytes(key, path)?;
    if bytes.len() == ML_DSA_65_LEN {
        Ok(bytes)
    } else {
        Err(RootsError {
            key,
            rule: "a key of another length",
            cause: None,
        })
    }
}

fn bytes(key: &'static str, path: &Path) -> Result<Vec<u8>, RootsError> {
    let unreadable = |cause| RootsError {
        key,
        rule: "the file cannot be read",
        cause: Some(cause),
    };
    if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_MAX {
        return Err(RootsError {
            key,
            rule: "the file is longer than 64 KiB",
            cause: None,
        });
    }
    std::fs::read(path).map_err(unreadable)
}
