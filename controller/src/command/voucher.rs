//! `bartizan-controller voucher ...`: the maker's tool, which asks no controller.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bartizan_bootstrap_protocol::certificate::Certificate;
use bartizan_bootstrap_protocol::cms::MlDsa65Key;
use bartizan_bootstrap_protocol::serial::Serial;
use bartizan_bootstrap_protocol::voucher::Bound;
use bartizan_model::ids::Nonce;
use base64ct::{Base64, Encoding as _};
use core::time::Duration;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::device::read;
use super::options::{Known, Options};
use super::{CommandError, say};
use crate::clock::owner_time;
use crate::device::Maker;
use crate::maker::{Grant, VoucherSigner, show};

pub(super) fn voucher(mut words: impl Iterator<Item = String>) -> Result<(), CommandError> {
    match words.next().as_deref() {
        Some("make") => make(&Options::read(
            words,
            &Known {
                words: 0,
                values: &[
                    "--serial",
                    "--epoch",
                    "--owner-ca",
                    "--owner-ml-dsa-65",
                    "--days",
                    "--nonce",
                    "--certificates",
                    "--key",
                    "--ml-dsa-65-key",
                    "--output",
                ],
                switches: &[],
            },
        )?),
        Some("show") => {
            let known = Known {
                words: 1,
                values: &["--es384", "--ml-dsa-65"],
                switches: &[],
            };
            let mut options = Options::read(words, &known)?;
            let bytes = read(&options.file()?)?;
            let roots = Maker {
                es384: certificate(Path::new(options.needed("--es384")?))?,
                ml_dsa_65: ml_dsa_65(Path::new(options.needed("--ml-dsa-65")?))?,
            };
            let text = show(&bytes, &roots, owner_time())?;
            say(format_args!("{}", text.trim_end()))
        }
        _ => Err(CommandError::Usage),
    }
}

fn make(options: &Options) -> Result<(), CommandError> {
    let path = |name| options.needed(name).map(PathBuf::from);
    let signer = VoucherSigner::new(
        certificates(&path("--certificates")?)?,
        &read(&path("--key")?)?,
        &read(&path("--ml-dsa-65-key")?)?,
    )?;
    let now = owner_time();
    let bound = match (options.number("--days")?, options.value("--nonce")) {
        (Some(days), None) => {
            let hours = days.saturating_mul(24).min(24 * 36_500);
            Bound::Expires(now.after(Duration::from_hours(hours)))
        }
        (None, Some(nonce)) => Bound::nonce(&self::nonce(nonce)?),
        _ => return Err(CommandError::Usage),
    };
    let epoch = options
        .number("--epoch")?
        .and_then(|epoch| u32::try_from(epoch).ok());
    let serial = Serial::try_from(options.needed("--serial")?);
    let grant = Grant {
        serial: serial.map_err(|cause| CommandError::Word("--serial", cause.to_string()))?,
        epoch: epoch.ok_or(CommandError::Usage)?,
        bound,
        owner: certificate(&path("--owner-ca")?)?,
        owner_ml_dsa_65: ml_dsa_65(&path("--owner-ml-dsa-65")?)?,
    };
    let voucher = signer.sign(grant, now)?;
    let output = path("--output")?;
    write_new(&output, &voucher).map_err(|cause| CommandError::File {
        path: output.clone(),
        cause,
    })?;
    say(format_args!("{}", output.display()))
}

/// A voucher that stands is never written over: it may be all that there is of it.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn nonce(text: &str) -> Result<Nonce, CommandError> {
    let wrong = |cause: &str| CommandError::Word("--nonce", cause.to_owned());
    let bytes = Base64::decode_vec(text).map_err(|_| wrong("not base64"))?;
    let bytes = bytes.try_into().map_err(|_| wrong("not 32 bytes"))?;
    Ok(Nonce(bytes))
}

fn ml_dsa_65(path: &Path) -> Result<MlDsa65Key, CommandError> {
    let wrong = || CommandError::Key(path.to_owned());
    MlDsa65Key::from_bytes(&read(path)?).ok_or_else(wrong)
}

fn certificate(path: &Path) -> Result<Certificate, CommandError> {
    let mut all = certificates(path)?;
    match (all.pop(), all.is_empty()) {
        (Some(certificate), true) => Ok(certificate),
        _ => Err(CommandError::Key(path.to_owned())),
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, CommandError> {
    let wrong = || CommandError::Key(path.to_owned());
    let bytes = read(path)?;
    let mut certificates = Vec::new();
    for der in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = Certificate::from_der(&der.map_err(|_| wrong())?);
        certificates.push(certificate.map_err(|_| wrong())?);
    }
    if certificates.is_empty() {
        return Err(wrong());
    }
    Ok(certificates)
}
