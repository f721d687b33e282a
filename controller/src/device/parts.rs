//! What a device record is made of.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

use bartizan_evidence::lease::OwnerTime;
use bartizan_model::config::{Der, Groups, KmeConfig, KmeInterface, KmeTransport};
use bartizan_model::identity::Floors;
use bartizan_model::ids::{LinkName, NodeId, SaeId, Thumbprint};
use base64ct::{Base64, Encoding as _};
use serde::{Deserialize, Serialize};

/// Bytes, in base64 where they are text.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub Vec<u8>);

/// What a device proves itself by.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Its maker certified keys of its TPM (IEEE 802.1AR).
    Idevid,
    /// Only its TPM's endorsement key has a certificate.
    Ek,
}

/// What the owner wants of a device, beside its tunnels.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "SiteDocument")]
pub struct Site {
    /// Its own addresses, at most 16.
    pub addresses: Vec<IpAddr>,
    /// The TCP port of its peer role.
    pub peer_port: u16,
    /// The key managers beside it, at most 4.
    pub kmes: Vec<Kme>,
}

/// A site as it is written, before any check.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SiteDocument {
    #[serde(default)]
    addresses: Vec<IpAddr>,
    #[serde(default = "peer_port")]
    peer_port: u16,
    #[serde(default)]
    kmes: Vec<Kme>,
}

/// A site that no device could be given.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoSite {
    /// Too much of something.
    #[error("a site has at most {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How much there may be.
        max: usize,
    },
    /// The port 0.
    #[error("peer-port: no such port")]
    Port,
}

/// A key manager beside a device.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Kme {
    /// Where it listens.
    pub address: SocketAddr,
    /// The `dNSName` of its certificate.
    pub name: NodeId,
    /// Who may have signed that: DER certificates.
    pub anchors: Vec<Bytes>,
    /// The device's name there.
    pub sae: SaeId,
    /// The key agreement it may offer.
    #[serde(default = "hybrid_only")]
    pub groups: Groups,
    /// What is spoken with it.
    #[serde(default = "etsi014")]
    pub interface: KmeInterface,
    /// What that is spoken over.
    #[serde(default = "tls")]
    pub transport: KmeTransport,
    /// What both ends call the QKD link; needed where a device has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkName>,
    /// The least bits a second that a stream of 004 may be offered with.
    #[serde(default)]
    pub least_rate: u32,
}

/// The TPM of a device. Once known it never changes without a signed transfer (rule V10).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Identity {
    /// Its endorsement keys, at least one.
    pub endorsement: Vec<EndorsementPin>,
    /// The attestation key: `TPMT_PUBLIC`.
    pub ak: Bytes,
    /// The IDevID key: DER `SubjectPublicKeyInfo`.
    pub idevid: Bytes,
}

/// One endorsement key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EndorsementPin {
    /// Its Name (TPM 2.0 Library, Part 1, 16): the algorithm's number and the digest.
    pub name: Bytes,
    /// SHA-256 of its certificate.
    pub certificate: Bytes,
}

/// PCR values of the SHA-256 bank that are bound to this one device: 0 and 2, 7, 15.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pins(pub BTreeMap<u8, Bytes>);

/// `TPMS_CLOCK_INFO` of the last evidence (Part 2, 10.11.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Clock {
    /// In milliseconds.
    pub clock: u64,
    /// How often the TPM was reset: once a boot.
    pub reset_count: u32,
    /// How often it was restarted or resumed since.
    pub restart_count: u32,
    /// Whether no larger value was ever shown.
    pub safe: bool,
}

/// The floors of a device's TPM, as they were last seen: they only rise here too.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mirror {
    /// Below it no voucher counts; none was seen yet if `None`.
    pub ownership: Option<u64>,
    /// Below it no image counts.
    pub rollback: Option<u64>,
}

impl Mirror {
    /// What is kept of a TPM's floors: that of time is the box's own matter.
    pub const fn of(floors: &Floors) -> Self {
        Self {
            ownership: floors.ownership,
            rollback: floors.rollback,
        }
    }

    /// The floors that are known.
    pub const fn floors(self) -> Floors {
        Floors {
            ownership: self.ownership,
            rollback: self.rollback,
            time: None,
        }
    }
}

/// A certificate that the owner's CA issued over an LDevID key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Certificate {
    /// SHA-256 of the key (DER `SubjectPublicKeyInfo`): what leases name.
    #[serde(with = "thumbprint")]
    pub key: Thumbprint,
    /// The certificate, DER.
    pub der: Bytes,
    /// Its last moment.
    #[serde(with = "moment")]
    pub not_after: OwnerTime,
}

impl TryFrom<String> for Bytes {
    type Error = base64ct::Error;

    fn try_from(text: String) -> Result<Self, base64ct::Error> {
        Base64::decode_vec(&text).map(Self)
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        Base64::encode_string(&bytes.0)
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Base64::encode_string(&self.0))
    }
}

impl TryFrom<SiteDocument> for Site {
    type Error = NoSite;

    fn try_from(document: SiteDocument) -> Result<Self, NoSite> {
        let anchors = document.kmes.iter().map(|kme| kme.anchors.len());
        let largest = document.kmes.iter().flat_map(|kme| &kme.anchors);
        let largest = largest.map(|anchor| anchor.0.len()).max();
        for (what, count, max) in [
            ("addresses", document.addresses.len(), 16),
            ("key managers", document.kmes.len(), 4),
            ("anchors a key manager", anchors.max().unwrap_or(0), 8),
            ("bytes an anchor", largest.unwrap_or(0), 8192),
        ] {
            if count > max {
                return Err(NoSite::TooMany { what, max });
            }
        }
        if document.peer_port == 0 {
            return Err(NoSite::Port);
        }
        Ok(Self {
            addresses: document.addresses,
            peer_port: document.peer_port,
            kmes: document.kmes,
        })
    }
}

impl Default for Site {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            peer_port: peer_port(),
            kmes: Vec::new(),
        }
    }
}

impl Kme {
    /// What the device is told of it, with the certificate that it shows there.
    pub(crate) fn config(&self, chain: Vec<Der>) -> KmeConfig {
        let anchors = self.anchors.iter().map(|anchor| Der(anchor.0.clone()));
        KmeConfig {
            address: self.address,
            name: self.name.clone(),
            anchors: anchors.collect(),
            sae: self.sae.clone(),
            chain,
            groups: self.groups,
            interface: self.interface,
            transport: self.transport,
            link: self.link.clone(),
            least_rate: self.least_rate,
        }
    }
}

impl Clock {
    /// Whether this and an earlier reading come from different boots.
    pub fn booted_since(&self, earlier: &Self) -> bool {
        (self.reset_count, self.restart_count) != (earlier.reset_count, earlier.restart_count)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idevid => "idevid",
            Self::Ek => "ek",
        })
    }
}

fn peer_port() -> u16 {
    9061
}

fn etsi014() -> KmeInterface {
    KmeInterface::Etsi014
}

fn tls() -> KmeTransport {
    KmeTransport::Tls
}

fn hybrid_only() -> Groups {
    Groups::HybridOnly
}

/// A [`Thumbprint`] in base64.
mod thumbprint {
    use bartizan_model::ids::Thumbprint;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Bytes;

    pub(super) fn serialize<S: Serializer>(
        thumbprint: &Thumbprint,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Bytes(thumbprint.0.to_vec()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Thumbprint, D::Error> {
        let bytes = Bytes::deserialize(deserializer)?.0;
        let bytes = bytes.try_into();
        bytes
            .map(Thumbprint)
            .map_err(|_| D::Error::custom("32 bytes"))
    }
}

/// [`OwnerTime`] as its seconds.
pub(crate) mod moment {
    use bartizan_evidence::lease::OwnerTime;
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
    pub(crate) fn serialize<S: Serializer>(
        time: &OwnerTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(time.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<OwnerTime, D::Error> {
        u64::deserialize(deserializer).map(OwnerTime)
    }

    /// The same, where there may be none.
    pub(crate) mod maybe {
        use bartizan_evidence::lease::OwnerTime;
        use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

        #[expect(clippy::ref_option, reason = "serde asks for it")]
        pub(crate) fn serialize<S: Serializer>(
            time: &Option<OwnerTime>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            time.map(|time| time.0).serialize(serializer)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<OwnerTime>, D::Error> {
            Ok(Option::<u64>::deserialize(deserializer)?.map(OwnerTime))
        }
    }
}
