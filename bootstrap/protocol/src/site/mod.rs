//! What an owner tells a box before it knows it: where its controller is, by whose certificates and
//! verifier, and how the site's network is set up. Our own module `bartizan-site`, in JSON.
//!
//! Signed, never secret: there is nothing in it that may not be read by everybody.
//!
//! ```text
//! { "bartizan-site:site": {
//!     "controller": { "name": "controller.example",
//!                     "call-home": { "address": "192.0.2.1", "port": 4335 },
//!                     "registrar": { "address": "192.0.2.1", "port": 8443 } },
//!     "trust-anchor": [ base64 ],
//!     "verifier": { "es384": base64, "ml-dsa-65": base64 },
//!     "network": {
//!         "interface": [ { "name": "mgmt0", "dhcp": true },
//!                        { "name": "lan0", "address": [ "10.1.0.1/24" ] } ],
//!         "route": [ { "destination": "10.2.0.0/16", "gateway": "10.1.0.254", "interface": "lan0" } ],
//!         "dns": [ "192.0.2.53" ], "ntp": [] } } }
//! ```

mod network;

use core::net::{IpAddr, SocketAddr};

use bartizan_evidence::cose;
use bartizan_model::config::{Der, VerifierKeys};
use bartizan_model::ids::NodeId;
use bartizan_model::ownership::SiteNetwork;
use serde::{Deserialize, Serialize};

use crate::binary::Binary;
use crate::certificate::Certificate;
use network::NetworkMembers;

/// The most bytes of a site document.
pub const SITE_MAX: usize = 24 * 1024;

/// The most anchors of an owner.
pub const ANCHORS_MAX: usize = 8;

/// What an owner tells a box.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Site {
    /// Where to call home (RFC 8071).
    pub call_home: SocketAddr,
    /// Where to enrol.
    pub registrar: SocketAddr,
    /// The `dNSName` of both.
    pub controller: NodeId,
    /// The owner's certificate authorities: 1 to [`ANCHORS_MAX`].
    pub anchors: Vec<Der>,
    /// The owner's verifier.
    pub verifier: VerifierKeys,
    /// How the interfaces are configured.
    pub network: SiteNetwork,
}

/// Why bytes are no site.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// More bytes than a site has.
    #[error("a site has more than {SITE_MAX} bytes")]
    TooLong,
    /// Not the JSON of it.
    #[error("cannot decode a site")]
    Malformed(#[source] serde_json::Error),
    /// A value breaks a rule.
    #[error("{path}: {rule}")]
    Rule {
        /// Where: a JSON pointer below `bartizan-site:site`.
        path: String,
        /// Which.
        rule: &'static str,
    },
}

impl SiteError {
    pub(crate) fn rule(path: impl Into<String>, rule: &'static str) -> Self {
        Self::Rule {
            path: path.into(),
            rule,
        }
    }
}

impl Site {
    /// The JSON of it.
    ///
    /// # Errors
    ///
    /// [`SiteError`] if it breaks a rule: what is encoded here is decoded there.
    pub fn encode(&self) -> Result<Vec<u8>, SiteError> {
        let end = |address: SocketAddr| EndMembers {
            address: address.ip(),
            port: address.port(),
        };
        let document = Document {
            site: Members {
                controller: ControllerMembers {
                    name: self.controller.as_str().to_owned(),
                    call_home: end(self.call_home),
                    registrar: end(self.registrar),
                },
                trust_anchor: self
                    .anchors
                    .iter()
                    .map(|der| Binary(der.0.clone()))
                    .collect(),
                verifier: VerifierMembers {
                    es384: Binary(self.verifier.es384.clone()),
                    ml_dsa_65: Binary(self.verifier.ml_dsa_65.clone()),
                },
                network: NetworkMembers::of(&self.network),
            },
        };
        let json = serde_json::to_vec(&document).map_err(SiteError::Malformed)?;
        Self::decode(&json)?;
        Ok(json)
    }

    /// Reads and checks it.
    ///
    /// # Errors
    ///
    /// [`SiteError`] if it is none, or a value breaks a rule.
    pub fn decode(json: &[u8]) -> Result<Self, SiteError> {
        if json.len() > SITE_MAX {
            return Err(SiteError::TooLong);
        }
        let Document { site } = serde_json::from_slice(json).map_err(SiteError::Malformed)?;
        let controller = site.controller;
        Ok(Self {
            call_home: end("/controller/call-home", &controller.call_home)?,
            registrar: end("/controller/registrar", &controller.registrar)?,
            controller: NodeId::try_from(controller.name)
                .map_err(|_| SiteError::rule("/controller/name", "not a dns name of ours"))?,
            anchors: anchors(site.trust_anchor)?,
            verifier: verifier(site.verifier)?,
            network: site.network.check()?,
        })
    }
}

fn end(path: &str, end: &EndMembers) -> Result<SocketAddr, SiteError> {
    // A controller on the box itself is unusual, not wrong.
    if end.port == 0 || !(network::is_host(end.address) || end.address.is_loopback()) {
        return Err(SiteError::rule(
            path,
            "not the address and port of a server",
        ));
    }
    Ok(SocketAddr::new(end.address, end.port))
}

fn anchors(anchors: Vec<Binary>) -> Result<Vec<Der>, SiteError> {
    if !(1..=ANCHORS_MAX).contains(&anchors.len()) {
        return Err(SiteError::rule("/trust-anchor", "1 to 8 certificates"));
    }
    let check = |(place, Binary(der)): (usize, Binary)| {
        Certificate::from_der(&der)
            .map_err(|_| SiteError::rule(format!("/trust-anchor/{place}"), "not a certificate"))?;
        Ok(Der(der))
    };
    anchors.into_iter().enumerate().map(check).collect()
}

fn verifier(verifier: VerifierMembers) -> Result<VerifierKeys, SiteError> {
    let keys = VerifierKeys {
        es384: verifier.es384.0,
        ml_dsa_65: verifier.ml_dsa_65.0,
    };
    cose::VerifierKeys::new(&keys.es384, &keys.ml_dsa_65)
        .map_err(|_| SiteError::rule("/verifier", "not the keys of a verifier"))?;
    Ok(keys)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "bartizan-site:site")]
    site: Members,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Members {
    controller: ControllerMembers,
    trust_anchor: Vec<Binary>,
    verifier: VerifierMembers,
    network: NetworkMembers,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ControllerMembers {
    name: String,
    call_home: EndMembers,
    registrar: EndMembers,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndMembers {
    address: IpAddr,
    port: u16,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct VerifierMembers {
    es384: Binary,
    #[serde(rename = "ml-dsa-65")]
    ml_dsa_65: Binary,
}
