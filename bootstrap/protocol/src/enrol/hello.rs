//! What a gateway says first.

use bartizan_evidence::cbor::Writer;
use bartizan_model::identity::{Certified, Endorsement, Floors, Log, TpmIdentity};
use minicbor::decode;

use super::read::{self, Reader, count, write_chain};
use super::{EnrolError, MESSAGE_MAX};
use crate::serial::Serial;

const KIND: u64 = 1;

/// The most endorsement keys.
const ENDORSEMENTS_MAX: usize = 4;

/// The most bytes of a `TPMT_PUBLIC`, `TPMS_ATTEST` or `TPMT_SIGNATURE`.
pub(super) const STRUCTURE_MAX: usize = 1024;

/// The most bytes of a text.
const TEXT_MAX: usize = 64;

const ENROL: u64 = 1;
const QUARANTINE: u64 = 2;

pub(super) const LOGS: [(u64, Log); 3] = [(1, Log::Firmware), (2, Log::Userspace), (3, Log::Ima)];

/// What a gateway says first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hello {
    /// Its name.
    pub serial: Serial,
    /// What it runs, as it says.
    pub software: Software,
    /// Its TPM and the keys in it.
    pub identity: TpmIdentity,
    /// The logs that it has.
    pub logs: Vec<Log>,
    /// What it wants.
    pub request: Request,
}

/// What a gateway runs, as it says; at most 64 bytes each.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Software {
    /// As in RFC 8572: `hw-model`.
    pub hw_model: String,
    /// `os-name`.
    pub os_name: String,
    /// `os-version`.
    pub os_version: String,
}

/// What a gateway wants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// A certificate over a fresh LDevID key.
    Enrol {
        /// The epoch of the voucher that sent it here.
        epoch: u64,
        /// The key, certified for this session.
        ldevid: Box<Certified>,
    },
    /// To be heard: it cannot use its LDevID key. It gets no certificate, whatever it shows.
    Quarantine,
}

impl Hello {
    /// The bytes that are sent.
    pub fn encode(&self) -> Vec<u8> {
        read::encode(KIND, |writer| self.write(writer))
    }

    /// Reads a message.
    ///
    /// # Errors
    ///
    /// [`EnrolError`] if it is no hello, or not in its one form.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnrolError> {
        read::message(bytes, MESSAGE_MAX, KIND, Self::read, Self::write)
    }

    fn write(&self, writer: &mut Writer) {
        writer.array(6).text(self.serial.as_str());
        writer
            .array(3)
            .text(&self.software.hw_model)
            .text(&self.software.os_name)
            .text(&self.software.os_version);
        write_identity(writer, &self.identity);
        writer.array(count(&self.logs));
        for log in &self.logs {
            writer.unsigned(log_id(*log));
        }
        match &self.request {
            Request::Enrol { epoch, ldevid } => {
                writer.unsigned(ENROL).array(1).array(2).unsigned(*epoch);
                writer
                    .array(3)
                    .bytes(&ldevid.public)
                    .bytes(&ldevid.attest)
                    .bytes(&ldevid.signature);
            }
            Request::Quarantine => {
                writer.unsigned(QUARANTINE).array(0);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> read::Result<Self> {
        reader.array(6)?;
        let serial = Serial::try_from(reader.text(Serial::MAX)?).map_err(decode::Error::message)?;
        reader.array(3)?;
        Ok(Self {
            serial,
            software: Software {
                hw_model: reader.text(TEXT_MAX)?.to_owned(),
                os_name: reader.text(TEXT_MAX)?.to_owned(),
                os_version: reader.text(TEXT_MAX)?.to_owned(),
            },
            identity: read_identity(reader)?,
            logs: reader.list(LOGS.len(), |reader| reader.one_of(&LOGS))?,
            request: read_request(reader)?,
        })
    }
}

fn read_request(reader: &mut Reader<'_>) -> read::Result<Request> {
    let kind = reader.unsigned()?;
    let enrol = reader.optional(|reader| {
        reader.array(2)?;
        let epoch = reader.unsigned()?;
        Ok(Request::Enrol {
            epoch,
            ldevid: Box::new(read_certified(reader)?),
        })
    })?;
    match (kind, enrol) {
        (ENROL, Some(enrol)) => Ok(enrol),
        (QUARANTINE, None) => Ok(Request::Quarantine),
        _ => Err(decode::Error::message("an unknown request")),
    }
}

fn read_certified(reader: &mut Reader<'_>) -> read::Result<Certified> {
    reader.array(3)?;
    Ok(Certified {
        public: reader.bytes(STRUCTURE_MAX)?.to_vec(),
        attest: reader.bytes(STRUCTURE_MAX)?.to_vec(),
        signature: reader.bytes(STRUCTURE_MAX)?.to_vec(),
    })
}

fn write_identity(writer: &mut Writer, identity: &TpmIdentity) {
    let [high, low] = identity.firmware;
    writer.array(9).bytes(&identity.manufacturer);
    writer.array(2).unsigned(high.into()).unsigned(low.into());
    writer.array(count(&identity.endorsement));
    for endorsement in &identity.endorsement {
        writer
            .array(2)
            .bytes(&endorsement.public)
            .bytes(&endorsement.certificate.0);
    }
    write_chain(writer, &identity.endorsement_chain);
    writer.bytes(&identity.ak);
    write_chain(writer, &identity.ak_chain);
    writer.bytes(&identity.idevid);
    write_chain(writer, &identity.idevid_chain);
    let Floors {
        ownership,
        rollback,
        time,
    } = identity.floors;
    writer.array(3);
    for floor in [ownership, rollback, time] {
        match floor {
            None => writer.array(0),
            Some(floor) => writer.array(1).unsigned(floor),
        };
    }
}

fn read_identity(reader: &mut Reader<'_>) -> read::Result<TpmIdentity> {
    reader.array(9)?;
    let manufacturer = reader.exactly()?;
    reader.array(2)?;
    let firmware = [reader.number()?, reader.number()?];
    let endorsement = reader.list(ENDORSEMENTS_MAX, |reader| {
        reader.array(2)?;
        Ok(Endorsement {
            public: reader.bytes(STRUCTURE_MAX)?.to_vec(),
            certificate: reader.certificate()?,
        })
    })?;
    Ok(TpmIdentity {
        manufacturer,
        firmware,
        endorsement,
        endorsement_chain: reader.chain()?,
        ak: reader.bytes(STRUCTURE_MAX)?.to_vec(),
        ak_chain: reader.chain()?,
        idevid: reader.bytes(STRUCTURE_MAX)?.to_vec(),
        idevid_chain: reader.chain()?,
        floors: read_floors(reader)?,
    })
}

fn read_floors(reader: &mut Reader<'_>) -> read::Result<Floors> {
    reader.array(3)?;
    Ok(Floors {
        ownership: reader.optional(Reader::unsigned)?,
        rollback: reader.optional(Reader::unsigned)?,
        time: reader.optional(Reader::unsigned)?,
    })
}

pub(super) const fn log_id(log: Log) -> u64 {
    match log {
        Log::Firmware => 1,
        Log::Userspace => 2,
        Log::Ima => 3,
    }
}
