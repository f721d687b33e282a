//! The file as it is written, and the rules that make a [`Config`] of it.

use core::net::Ipv6Addr;
use core::ops::RangeInclusive;
use std::path::PathBuf;

use bartizan_model::config::BootstrapServer;
use bartizan_model::message::Memory;
use serde::Deserialize;

use super::{Config, ConfigError, Discovery, Manufacturer, Platform, Required};

/// The most bytes of a name of the platform.
const NAME_MAX: usize = 64;

/// The most bootstrap servers that an image names.
const SERVERS_MAX: usize = 8;

/// DHCP's options for private use (RFC 2132, 2): 255 is the end.
const PRIVATE_OPTIONS: RangeInclusive<u8> = 224..=254;

/// The most bytes of a DNS name (RFC 1035, 2.3.4).
const HOST_MAX: usize = 253;

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
    platform: PlatformTable,
    manufacturer: Manufacturer,
    discovery: DiscoveryTable,
    state: StateTable,
    required: Required,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PlatformTable {
    hw_model: String,
    os_name: String,
    os_version: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct DiscoveryTable {
    media: PathBuf,
    leases: PathBuf,
    dhcp_option: u8,
    servers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StateTable {
    folder: PathBuf,
    applied_network: PathBuf,
}

impl Document {
    fn check(self) -> Result<Config, ConfigError> {
        if self.discovery.servers.len() > SERVERS_MAX {
            let rule = format!("at most {SERVERS_MAX} servers");
            return Err(value("discovery.servers", rule));
        }
        if !PRIVATE_OPTIONS.contains(&self.discovery.dhcp_option) {
            let rule = "an option for private use, 224 to 254".to_owned();
            return Err(value("discovery.dhcp-option", rule));
        }
        let servers = self.discovery.servers.iter().map(|text| {
            server(text)
                .ok_or_else(|| value("discovery.servers", format!("{text:?} is no HOST:PORT")))
        });
        let servers = servers.collect::<Result<_, _>>()?;
        Ok(Config {
            platform: self.platform.check()?,
            manufacturer: self.manufacturer,
            discovery: Discovery {
                media: self.discovery.media,
                leases: self.discovery.leases,
                dhcp_option: self.discovery.dhcp_option,
                servers,
            },
            state: self.state.folder,
            applied_network: self.state.applied_network,
            required: self.required,
        })
    }
}

impl PlatformTable {
    fn check(self) -> Result<Platform, ConfigError> {
        for (key, name) in [
            ("platform.hw-model", &self.hw_model),
            ("platform.os-name", &self.os_name),
        ] {
            let is_name = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
            if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_name) {
                return Err(value(key, format!("1 to {NAME_MAX} ASCII characters")));
            }
        }
        let number = |part: &str| {
            part.bytes().all(|byte| byte.is_ascii_digit()) && part.parse::<u32>().is_ok()
        };
        if self.os_version.len() > NAME_MAX || !self.os_version.split('.').all(number) {
            return Err(value("platform.os-version", "numbers with dots between"));
        }
        Ok(Platform {
            hw_model: self.hw_model,
            os_name: self.os_name,
            os_version: self.os_version,
        })
    }
}

/// Reads `HOST:PORT`, where an IPv6 address stands in brackets.
fn server(text: &str) -> Option<BootstrapServer> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = match inner {
        Some(address) => address.parse::<Ipv6Addr>().ok()?.to_string(),
        None => Some(host).filter(|host| is_host(host))?.to_owned(),
    };
    Some(BootstrapServer { host, port })
}

/// A DNS name or an IPv4 address, by its characters.
fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(is_part)
    };
    host.len() <= HOST_MAX && host.split('.').all(is_label)
}

fn value(key: impl Into<String>, rule: impl Into<String>) -> ConfigError {
    ConfigError::Value {
        key: key.into(),
        rule: rule.into(),
    }
}

fn line_of(text: &str, span: Option<core::ops::Range<usize>>) -> usize {
    let before = span
        .and_then(|span| text.get(..span.start))
        .unwrap_or_default();
    before.matches('\n').count().saturating_add(1)
}
