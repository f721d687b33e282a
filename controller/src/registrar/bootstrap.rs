//! The bootstrap server (RFC 8572): a box asks whose it is, and is answered with signed data.
//!
//! All of it is signed and none of it secret, so a box is answered by the serial number in its
//! certificate. Where boxes have certificates of their maker, it must be one.

use std::fs;
use std::io;
use std::path::Path;

use bartizan_bootstrap_protocol::certificate::Certificate;
use bartizan_bootstrap_protocol::restconf::{self, Tag};
use bartizan_bootstrap_protocol::sztp::{
    Answer, GET_BOOTSTRAPPING_DATA, Progress, Question, REPORT_PROGRESS, Reporting, SztpError,
};
use bartizan_model::config::{Artifacts, Der};
use bartizan_process::journal::{self, Level};

use super::Office;
use super::http::{Answered, Asked};
use crate::chains::Usage;
use crate::clock::owner_time;
use crate::desk::Desk;
use crate::device::{Device, Kind, Serial, State};

/// Answers one request of the box with this certificate.
pub(super) async fn answer(office: &Office, chain: &[Der], asked: &Asked) -> Answered {
    let desk = &office.desk;
    let answered = match known(office, chain).await {
        Ok(device) => match asked.path.as_str() {
            GET_BOOTSTRAPPING_DATA => tell(office, &device, &asked.body).await,
            REPORT_PROGRESS => hear(desk, &device, &asked.body),
            _ => Err(Tag::OperationNotSupported),
        },
        Err(tag) => Err(tag),
    };
    match answered {
        Ok(answered) => answered,
        Err(tag) => {
            desk.count("bootstrap-refused");
            Answered {
                status: tag.status(),
                body: restconf::encode(tag),
            }
        }
    }
}

/// The device that a certificate is of.
async fn known(office: &Office, chain: &[Der]) -> Result<Device, Tag> {
    let serial = chain
        .first()
        .and_then(|leaf| Certificate::from_der(&leaf.0).ok())
        .and_then(|leaf| leaf.subject_serial_number())
        .and_then(|serial| Serial::try_from(serial.as_str()).ok())
        .ok_or(Tag::AccessDenied)?;
    let device = office.desk.store.device(&serial).await.map_err(|error| {
        let words = crate::serve::chain(&error);
        journal::log(Level::Error, format_args!("{serial}: {words}"));
        Tag::OperationFailed
    })?;
    let device = device.ok_or(Tag::DataMissing)?;
    if device.kind() == Kind::Idevid {
        let makers = &office.verifier.makers().boxes;
        let checked = makers.check(chain, Usage::Device, owner_time());
        checked.map_err(|_| Tag::AccessDenied)?;
    }
    match device.state() {
        State::Expected | State::Enrolled | State::Quarantined(_) => Ok(device),
        State::Revoked | State::Released | State::Retired => Err(Tag::DataMissing),
    }
}

async fn tell(office: &Office, device: &Device, body: &[u8]) -> Result<Answered, Tag> {
    let desk = &office.desk;
    let question = Question::decode(body).map_err(|error| wrong(&error))?;
    let serial = device.serial();
    let version = question.os_version.as_deref().unwrap_or("no version");
    let words = format!("asks whose it is ({})", version.escape_debug());
    journal::log(Level::Info, format_args!("{serial}: {words}"));
    desk.tell(device.node(), &words);
    let voucher = desk.store.voucher(serial).await;
    let voucher = voucher.map_err(|_| Tag::OperationFailed)?;
    let folder = office.config.artifacts.as_deref();
    let artifacts = folder.map(|folder| artifacts(folder, serial, voucher));
    let artifacts = match artifacts {
        Some(Ok(artifacts)) => artifacts,
        Some(Err(error)) => {
            desk.tell(
                device.node(),
                &format!("there is nothing to answer it: {error}"),
            );
            return Err(Tag::DataMissing);
        }
        None => return Err(Tag::DataMissing),
    };
    Ok(Answered {
        status: 200,
        body: Answer {
            artifacts,
            reporting: Reporting::Verbose,
        }
        .encode(),
    })
}

fn hear(desk: &Desk, device: &Device, body: &[u8]) -> Result<Answered, Tag> {
    let progress = Progress::decode(body).map_err(|error| wrong(&error))?;
    let step = format!("{:?}", progress.step);
    let message = progress.message.unwrap_or_default();
    desk.tell(
        device.node(),
        &format!("bootstrap: {step} {}", message.escape_debug()),
    );
    Ok(Answered {
        status: 204,
        body: Vec::new(),
    })
}

/// What lies ready for a device: its own folder comes first, then what is for all; the voucher that
/// an operator gave comes before both.
fn artifacts(folder: &Path, serial: &Serial, voucher: Option<Vec<u8>>) -> io::Result<Artifacts> {
    let own = own_folder(folder, serial);
    let file = |name: &str| {
        let own = own.as_ref().map(|own| fs::read(own.join(name)));
        match own {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Some(Err(_)) | None => fs::read(folder.join(name)),
        }
    };
    Ok(Artifacts {
        conveyed_information: file("conveyed-information.cms")?,
        owner_certificate: file("owner-certificate.cms")?,
        ownership_voucher: voucher.map_or_else(|| file("ownership-voucher.cms"), Ok)?,
    })
}

/// A serial number is a maker's text: one that is no plain name of a file has no folder.
fn own_folder(folder: &Path, serial: &Serial) -> Option<std::path::PathBuf> {
    let serial = serial.as_str();
    let plain = serial
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'));
    (plain && !serial.starts_with('.')).then(|| folder.join(serial))
}

fn wrong(error: &SztpError) -> Tag {
    match error {
        SztpError::TooLong => Tag::TooBig,
        SztpError::Malformed { .. } | SztpError::Unsigned => Tag::MalformedMessage,
        SztpError::Text | SztpError::Nonce => Tag::InvalidValue,
    }
}
