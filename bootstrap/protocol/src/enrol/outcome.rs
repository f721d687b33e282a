//! What a registrar says last.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use bartizan_evidence::cbor::Writer;
use bartizan_model::config::{Der, Groups, KmeConfig, KmeInterface, KmeTransport};
use bartizan_model::ids::{LinkName, NodeId, SaeId};
use minicbor::decode;

use super::read::{self, Reader, count, write_chain};
use super::{EnrolError, MESSAGE_MAX};

const KIND: u64 = 4;

/// The most addresses of a gateway.
const ADDRESSES_MAX: usize = 16;

/// The most KMEs beside a gateway.
const KMES_MAX: usize = 4;

const ENROLLED: u64 = 1;
const REPORTED: u64 = 2;
const REFUSED: u64 = 3;

const GROUPS: [(u64, Groups); 2] = [(1, Groups::HybridOnly), (2, Groups::ClassicalAllowed)];

const INTERFACES: [(u64, KmeInterface); 3] = [
    (1, KmeInterface::Etsi014),
    (2, KmeInterface::Etsi004Binary),
    (3, KmeInterface::Etsi004Json),
];

const TRANSPORTS: [(u64, KmeTransport); 2] = [(1, KmeTransport::Tls), (2, KmeTransport::Plain)];

const REASONS: [(u64, Reason); 6] = [
    (1, Reason::Malformed),
    (2, Reason::Identity),
    (3, Reason::Evidence),
    (4, Reason::State),
    (5, Reason::Refused),
    (6, Reason::Busy),
];

/// What a registrar says last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The gateway is the owner's.
    Enrolled(Box<Enrolment>),
    /// A gateway in quarantine was heard.
    Reported,
    /// No, and no more than a coarse reason.
    Refused(Reason),
}

/// What a gateway gets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Enrolment {
    /// Its name.
    pub node: NodeId,
    /// The certificate over its LDevID key and the chain of that, the leaf first: 1 to 8.
    pub ldevid: Vec<Der>,
    /// Its addresses: 1 to 16.
    pub addresses: Vec<IpAddr>,
    /// The TCP port of the peer role, here and at every peer; not 0.
    pub peer_port: u16,
    /// The KMEs beside it, the preferred one first: at most 4.
    pub kmes: Vec<KmeConfig>,
}

/// Why not; the precise reason is in the registrar's log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// A message is none.
    Malformed,
    /// It is not the box that it says.
    Identity,
    /// What it showed does not hold.
    Evidence,
    /// It does not run what it should.
    State,
    /// The owner does not want it.
    Refused,
    /// Later.
    Busy,
}

impl Reason {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Identity => "identity",
            Self::Evidence => "evidence",
            Self::State => "state",
            Self::Refused => "refused",
            Self::Busy => "busy",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Outcome {
    /// The bytes that are sent.
    ///
    /// # Errors
    ///
    /// [`EnrolError`] if it is longer than a message, or breaks a limit of [`Enrolment`].
    pub fn encode(&self) -> Result<Vec<u8>, EnrolError> {
        let bytes = read::encode(KIND, |writer| self.write(writer));
        Self::decode(&bytes)?;
        Ok(bytes)
    }

    /// Reads a message.
    ///
    /// # Errors
    ///
    /// [`EnrolError`] if it is no outcome, breaks a limit, or is not in its one form.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnrolError> {
        read::message(bytes, MESSAGE_MAX, KIND, Self::read, Self::write)
    }

    fn write(&self, writer: &mut Writer) {
        writer.array(3);
        match self {
            Self::Enrolled(enrolment) => {
                writer.unsigned(ENROLLED).array(0).array(1);
                enrolment.write(writer);
            }
            Self::Reported => {
                writer.unsigned(REPORTED).array(0).array(0);
            }
            Self::Refused(reason) => {
                let id = REASONS.iter().find(|(_, known)| known == reason);
                writer
                    .unsigned(REFUSED)
                    .array(1)
                    .unsigned(id.map_or(0, |(id, _)| *id))
                    .array(0);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> read::Result<Self> {
        reader.array(3)?;
        let kind = reader.unsigned()?;
        let reason = reader.optional(|reader| reader.one_of(&REASONS))?;
        let enrolment = reader.optional(Enrolment::read)?;
        match (kind, reason, enrolment) {
            (ENROLLED, None, Some(enrolment)) => Ok(Self::Enrolled(Box::new(enrolment))),
            (REPORTED, None, None) => Ok(Self::Reported),
            (REFUSED, Some(reason), None) => Ok(Self::Refused(reason)),
            _ => Err(decode::Error::message("an unknown outcome")),
        }
    }
}

impl Enrolment {
    fn write(&self, writer: &mut Writer) {
        writer.array(5).text(self.node.as_str());
        write_chain(writer, &self.ldevid);
        writer.array(count(&self.addresses));
        for address in &self.addresses {
            write_address(writer, *address);
        }
        writer.unsigned(self.peer_port.into());
        writer.array(count(&self.kmes));
        for kme in &self.kmes {
            write_kme(writer, kme);
        }
    }

    fn read(reader: &mut Reader<'_>) -> read::Result<Self> {
        reader.array(5)?;
        let enrolment = Self {
            node: read_node(reader)?,
            ldevid: reader.chain()?,
            addresses: reader.list(ADDRESSES_MAX, read_address)?,
            peer_port: reader.number()?,
            kmes: reader.list(KMES_MAX, read_kme)?,
        };
        if enrolment.ldevid.is_empty() || enrolment.addresses.is_empty() || enrolment.peer_port == 0
        {
            return Err(decode::Error::message("an enrolment lacks a part"));
        }
        Ok(enrolment)
    }
}

fn write_kme(writer: &mut Writer, kme: &KmeConfig) {
    let groups = GROUPS.iter().find(|(_, known)| *known == kme.groups);
    let interface = INTERFACES.iter().find(|(_, it)| *it == kme.interface);
    let transport = TRANSPORTS.iter().find(|(_, it)| *it == kme.transport);
    writer.array(11);
    write_address(writer, kme.address.ip());
    writer.unsigned(kme.address.port().into());
    writer.text(kme.name.as_str());
    write_chain(writer, &kme.anchors);
    writer.text(kme.sae.as_str());
    write_chain(writer, &kme.chain);
    writer.unsigned(groups.map_or(0, |(id, _)| *id));
    writer.unsigned(interface.map_or(0, |(id, _)| *id));
    writer.unsigned(transport.map_or(0, |(id, _)| *id));
    writer.text(kme.link.as_ref().map_or("", LinkName::as_str));
    writer.unsigned(kme.least_rate.into());
}

fn read_kme(reader: &mut Reader<'_>) -> read::Result<KmeConfig> {
    reader.array(11)?;
    let kme = KmeConfig {
        address: SocketAddr::new(read_address(reader)?, reader.number()?),
        name: read_node(reader)?,
        anchors: reader.chain()?,
        sae: SaeId::try_from(reader.text(SaeId::MAX)?).map_err(decode::Error::message)?,
        chain: reader.chain()?,
        groups: reader.one_of(&GROUPS)?,
        interface: reader.one_of(&INTERFACES)?,
        transport: reader.one_of(&TRANSPORTS)?,
        link: read_link(reader)?,
        least_rate: reader.number()?,
    };
    if kme.address.port() == 0 || kme.anchors.is_empty() || kme.chain.is_empty() {
        return Err(decode::Error::message("a KME lacks a part"));
    }
    Ok(kme)
}

/// Empty where it has none.
fn read_link(reader: &mut Reader<'_>) -> read::Result<Option<LinkName>> {
    let text = reader.text(LinkName::MAX)?;
    if text.is_empty() {
        return Ok(None);
    }
    let link = LinkName::try_from(text).map_err(decode::Error::message)?;
    Ok(Some(link))
}

fn read_node(reader: &mut Reader<'_>) -> read::Result<NodeId> {
    NodeId::try_from(reader.text(NodeId::MAX)?).map_err(decode::Error::message)
}

/// 4 bytes or 16.
fn write_address(writer: &mut Writer, address: IpAddr) {
    match address {
        IpAddr::V4(address) => writer.bytes(&address.octets()),
        IpAddr::V6(address) => writer.bytes(&address.octets()),
    };
}

fn read_address(reader: &mut Reader<'_>) -> read::Result<IpAddr> {
    let bytes = reader.bytes(16)?;
    let address = <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    address.map_err(|_| decode::Error::message("not an address"))
}
