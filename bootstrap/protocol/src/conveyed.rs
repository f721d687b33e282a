//! Conveyed information (RFC 8572, 3.1, in JSON): where else to ask, or what a box must know.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bartizan_evidence::lease::OwnerTime;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::binary::Binary;
use crate::certificate::Certificate;
use crate::cms::{self, CmsError, ContentType, Draft};
use crate::site::{Site, SiteError};
use crate::version::{OsVersion, VersionError};

/// The most bootstrap servers of one redirect.
pub const SERVERS_MAX: usize = 4;

/// The port of a bootstrap server that names none (RFC 8572, 6.3).
const PORT: u16 = 443;

/// Conveyed information.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Information {
    /// Ask one of these instead (RFC 8572, 2.1): 1 to [`SERVERS_MAX`].
    Redirect(Vec<Server>),
    /// What a box must know (RFC 8572, 2.2).
    Onboarding(Box<Onboarding>),
}

/// A bootstrap server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    /// A DNS name or an IP address.
    pub host: Host,
    /// Its TCP port.
    pub port: u16,
    /// Who certifies it, down to the last authority, in no order; if it is empty, nobody does and
    /// the server is as little trusted as one that was found.
    pub trust_anchor: Vec<Certificate>,
}

/// The host of a server: a DNS name of at most 253 bytes in ASCII, or an IP address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Host(String);

impl Host {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Host {
    type Error = ConveyedError;

    fn try_from(text: &str) -> Result<Self, ConveyedError> {
        let address = text.parse::<IpAddr>().ok();
        let unusable = [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ];
        let fits = match address {
            Some(address) => !address.is_multicast() && !unusable.contains(&address),
            None => is_dns_name(text),
        };
        if !fits {
            return Err(ConveyedError::Host);
        }
        Ok(Self(text.to_owned()))
    }
}

fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    };
    // A last label of digits alone is an address that went wrong.
    let number = |label: &str| label.bytes().all(|c| c.is_ascii_digit());
    text.len() <= 253 && text.split('.').all(label) && !text.rsplit('.').next().is_some_and(number)
}

/// Onboarding information.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Onboarding {
    /// What the box must run, if the owner says so.
    pub boot_image: Option<BootImage>,
    /// The configuration: our own module `bartizan-site`.
    pub site: Site,
}

/// What a box must run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BootImage {
    /// `os-name`; any, if there is none.
    pub os_name: Option<String>,
    /// `os-version`; any, if there is none.
    pub os_version: Option<OsVersion>,
}

/// Why bytes are no conveyed information.
#[derive(Debug, thiserror::Error)]
pub enum ConveyedError {
    /// Not the JSON of it.
    #[error("cannot decode conveyed information")]
    Malformed(#[source] serde_json::Error),
    /// None or too many.
    #[error("a redirect names 1 to {SERVERS_MAX} bootstrap servers")]
    Servers,
    /// Neither a DNS name nor an address of one host, or port 0.
    #[error("a bootstrap server has a host and a port")]
    Host,
    /// The certificates of a server.
    #[error("the trust anchor of a bootstrap server is none")]
    TrustAnchor(#[source] CmsError),
    /// Nothing of the owner's runs outside of the image.
    #[error("conveyed information with a script is refused")]
    Script,
    /// No configuration, or no word on what to do with it.
    #[error("onboarding information has a configuration and its handling")]
    Configuration,
    /// The version of the boot image.
    #[error("the os-version of a boot image is none")]
    OsVersion(#[source] VersionError),
    /// The site document.
    #[error("the configuration is no site")]
    Site(#[source] SiteError),
}

impl Information {
    /// The JSON that is signed.
    ///
    /// # Errors
    ///
    /// [`ConveyedError`] if it breaks a limit.
    pub fn encode(&self) -> Result<Vec<u8>, ConveyedError> {
        let document = match self {
            Self::Redirect(servers) => Document::Redirect(RedirectMembers {
                bootstrap_server: limited(servers)?
                    .iter()
                    .map(ServerMembers::of)
                    .collect::<Result<_, _>>()?,
            }),
            Self::Onboarding(onboarding) => Document::Onboarding(onboarding.members()?),
        };
        serde_json::to_vec(&document).map_err(ConveyedError::Malformed)
    }

    /// Reads what was signed.
    ///
    /// # Errors
    ///
    /// [`ConveyedError`] if it is no conveyed information, or has a script.
    pub fn decode(json: &[u8]) -> Result<Self, ConveyedError> {
        match serde_json::from_slice(json).map_err(ConveyedError::Malformed)? {
            Document::Redirect(redirect) => {
                let servers = redirect.bootstrap_server.into_iter().map(Server::try_from);
                let servers = servers.collect::<Result<Vec<_>, _>>()?;
                limited(&servers)?;
                Ok(Self::Redirect(servers))
            }
            Document::Onboarding(members) => {
                Onboarding::try_from(members).map(|it| Self::Onboarding(Box::new(it)))
            }
        }
    }
}

/// Conveyed information, to be signed by the owner.
pub fn draft(json: &[u8], signed: Option<OwnerTime>) -> Draft<'_> {
    Draft {
        content_type: ContentType::ConveyedInformation,
        content: json,
        signed,
    }
}

fn limited(servers: &[Server]) -> Result<&[Server], ConveyedError> {
    if !(1..=SERVERS_MAX).contains(&servers.len()) {
        return Err(ConveyedError::Servers);
    }
    Ok(servers)
}

impl Onboarding {
    fn members(&self) -> Result<OnboardingMembers, ConveyedError> {
        let boot_image = self.boot_image.as_ref().map(|image| BootImageMembers {
            os_name: image.os_name.clone(),
            os_version: image.os_version.as_ref().map(OsVersion::to_string),
        });
        Ok(OnboardingMembers {
            boot_image,
            configuration_handling: Some(Handling::Replace),
            pre_configuration_script: None,
            configuration: Some(Binary(self.site.encode().map_err(ConveyedError::Site)?)),
            post_configuration_script: None,
        })
    }
}

impl TryFrom<OnboardingMembers> for Onboarding {
    type Error = ConveyedError;

    fn try_from(members: OnboardingMembers) -> Result<Self, ConveyedError> {
        if members.pre_configuration_script.is_some() || members.post_configuration_script.is_some()
        {
            return Err(ConveyedError::Script);
        }
        let (Some(Binary(site)), Some(Handling::Merge | Handling::Replace)) =
            (members.configuration, members.configuration_handling)
        else {
            return Err(ConveyedError::Configuration);
        };
        let boot_image = members.boot_image.map(|image| {
            let os_version = image.os_version.as_deref().map(OsVersion::try_from);
            Ok(BootImage {
                os_name: image.os_name,
                os_version: os_version.transpose().map_err(ConveyedError::OsVersion)?,
            })
        });
        Ok(Self {
            boot_image: boot_image.transpose()?,
            site: Site::decode(&site).map_err(ConveyedError::Site)?,
        })
    }
}

impl ServerMembers {
    fn of(server: &Server) -> Result<Self, ConveyedError> {
        let anchor = match server.trust_anchor.as_slice() {
            [] => None,
            anchors => Some(Binary(
                cms::chain(anchors).map_err(ConveyedError::TrustAnchor)?,
            )),
        };
        Ok(Self {
            address: server.host.0.clone(),
            port: server.port,
            trust_anchor: anchor,
        })
    }
}

impl TryFrom<ServerMembers> for Server {
    type Error = ConveyedError;

    fn try_from(members: ServerMembers) -> Result<Self, ConveyedError> {
        let anchor = members
            .trust_anchor
            .map(|Binary(cms)| cms::certificates(&cms));
        if members.port == 0 {
            return Err(ConveyedError::Host);
        }
        Ok(Self {
            host: Host::try_from(members.address.as_str())?,
            port: members.port,
            trust_anchor: anchor
                .transpose()
                .map_err(ConveyedError::TrustAnchor)?
                .unwrap_or_default(),
        })
    }
}

#[derive(Serialize, Deserialize)]
enum Document {
    #[serde(rename = "ietf-sztp-conveyed-info:redirect-information")]
    Redirect(RedirectMembers),
    #[serde(rename = "ietf-sztp-conveyed-info:onboarding-information")]
    Onboarding(OnboardingMembers),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RedirectMembers {
    bootstrap_server: Vec<ServerMembers>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ServerMembers {
    address: String,
    #[serde(default = "port")]
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    trust_anchor: Option<Binary>,
}

const fn port() -> u16 {
    PORT
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct OnboardingMembers {
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_image: Option<BootImageMembers>,
    configuration_handling: Option<Handling>,
    #[serde(skip_serializing)]
    pre_configuration_script: Option<IgnoredAny>,
    configuration: Option<Binary>,
    #[serde(skip_serializing)]
    post_configuration_script: Option<IgnoredAny>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Handling {
    Merge,
    Replace,
}

// A box is updated by its owner, not on its way to one: where an image lies is passed over.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct BootImageMembers {
    #[serde(skip_serializing_if = "Option::is_none")]
    os_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os_version: Option<String>,
}
