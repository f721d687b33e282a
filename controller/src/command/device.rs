//! `bartizan-controller device ...`.

use std::fs;
use std::path::{Path, PathBuf};

use bartizan_model::config::{KmeInterface, KmeTransport};
use bartizan_model::ids::NodeId;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;

use super::options::{Known, Options};
use super::{CommandError, ask, tell};
use crate::device::{Bytes, Kind, Kme, NewDevice, Repin, Serial, Site};
use crate::local::{Answer, DeviceAnswer, DeviceOrder, Request};

/// A file that says what is wanted of a device.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SiteFile {
    #[serde(default)]
    addresses: toml::value::Array,
    peer_port: Option<u16>,
    #[serde(default)]
    kme: Vec<KmeTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct KmeTable {
    address: core::net::SocketAddr,
    name: NodeId,
    /// A file of PEM certificates, beside this one.
    anchors: PathBuf,
    sae: bartizan_model::ids::SaeId,
    groups: Option<bartizan_model::config::Groups>,
    interface: Option<KmeInterface>,
    transport: Option<KmeTransport>,
    link: Option<bartizan_model::ids::LinkName>,
    least_rate: Option<u32>,
}

pub(super) fn device(mut words: impl Iterator<Item = String>) -> Result<(), CommandError> {
    const SAY: Known = Known {
        words: 1,
        values: &["--socket"],
        switches: &["--json"],
    };
    let verb = words.next().ok_or(CommandError::Usage)?;
    let known = match verb.as_str() {
        "list" => Known { words: 0, ..SAY },
        "add" => Known {
            words: 2,
            values: &["--socket", "--site"],
            ..SAY
        },
        "site" => Known { words: 2, ..SAY },
        "approve" => Known {
            switches: &["--json", "--new-pins"],
            ..SAY
        },
        "attest" => Known {
            values: &["--socket", "--wait"],
            ..SAY
        },
        "show" | "revoke" | "release" | "retire" | "voucher" | "transfer" => SAY,
        _ => return Err(CommandError::Usage),
    };
    let mut options = Options::read(words, &known)?;
    let (socket, json) = (options.socket(), options.has("--json"));
    if verb == "list" {
        return list(&socket, json);
    }
    let order = order(&verb, &mut options)?;
    ask(&socket, &Request::Device(order), |answer| {
        tell(answer, json)
    })
}

fn order(verb: &str, options: &mut Options) -> Result<DeviceOrder, CommandError> {
    if matches!(verb, "voucher" | "transfer") {
        let voucher = Bytes(read(&options.file()?)?);
        return Ok(match verb {
            "voucher" => DeviceOrder::Voucher { voucher },
            _ => DeviceOrder::Transfer { voucher },
        });
    }
    let serial = serial(&options.word()?)?;
    Ok(match verb {
        "show" => DeviceOrder::Show { serial },
        "add" => {
            let node = options.word()?;
            let site = match options.value("--site") {
                Some(path) => site(Path::new(path))?,
                None => Site::default(),
            };
            // The serial number says it: no maker gives such a one.
            let kind = if serial.is_of_endorsement() {
                Kind::Ek
            } else {
                Kind::Idevid
            };
            let node = NodeId::try_from(node.as_str());
            let device = NewDevice {
                serial,
                node: node.map_err(|cause| CommandError::Word("NODE", cause.to_string()))?,
                kind,
                site,
            };
            DeviceOrder::Add { device }
        }
        "site" => DeviceOrder::Place {
            serial,
            site: site(&options.file()?)?,
        },
        "approve" => DeviceOrder::Approve {
            serial,
            pins: if options.has("--new-pins") {
                Repin::Anew
            } else {
                Repin::Keep
            },
        },
        "revoke" => DeviceOrder::Revoke { serial },
        "release" => DeviceOrder::Release { serial },
        "retire" => DeviceOrder::Retire { serial },
        "attest" => DeviceOrder::Attest {
            serial,
            wait: options.number("--wait")?,
        },
        _ => return Err(CommandError::Usage),
    })
}

/// Asks for page after page.
fn list(socket: &Path, json: bool) -> Result<(), CommandError> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let mut page = Vec::new();
        let request = Request::Device(DeviceOrder::List { after });
        ask(socket, &request, |answer| {
            if let Answer::Device(DeviceAnswer::Devices(devices)) = answer {
                page = devices;
                Ok(())
            } else {
                tell(answer, json)
            }
        })?;
        let Some(last) = page.last() else {
            break;
        };
        after = Some(last.serial.clone());
        all.append(&mut page);
    }
    tell(Answer::Device(DeviceAnswer::Devices(all)), json)
}

fn serial(word: &str) -> Result<Serial, CommandError> {
    Serial::try_from(word).map_err(|cause| CommandError::Word("SERIAL", cause.to_string()))
}

fn site(path: &Path) -> Result<Site, CommandError> {
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    let wrong = |cause: &dyn core::fmt::Display| CommandError::Site {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    let file: SiteFile = toml::from_str(&text).map_err(|cause| wrong(&cause))?;
    let mut addresses = Vec::new();
    for address in file.addresses {
        let address = address.try_into().map_err(|cause| wrong(&cause))?;
        addresses.push(address);
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut kmes = Vec::new();
    for kme in file.kme {
        let anchors = folder.join(kme.anchors);
        let certificates = CertificateDer::pem_file_iter(&anchors)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certificates = certificates.map_err(|cause| CommandError::Site {
            path: anchors,
            cause: cause.to_string(),
        })?;
        kmes.push(Kme {
            address: kme.address,
            name: kme.name,
            anchors: certificates.iter().map(|der| Bytes(der.to_vec())).collect(),
            sae: kme.sae,
            groups: kme
                .groups
                .unwrap_or(bartizan_model::config::Groups::HybridOnly),
            interface: kme.interface.unwrap_or(KmeInterface::Etsi014),
            transport: kme.transport.unwrap_or(KmeTransport::Tls),
            link: kme.link,
            least_rate: kme.least_rate.unwrap_or_default(),
        });
    }
    let mut site = Site {
        addresses,
        kmes,
        ..Site::default()
    };
    if let Some(port) = file.peer_port {
        site.peer_port = port;
    }
    Ok(site)
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    fs::read(path).map_err(|cause| CommandError::File {
        path: path.to_owned(),
        cause,
    })
}
