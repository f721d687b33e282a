//! The answers: one request of a neighbour at a time.

use std::path::Path;

use bartizan_model::identity::{Farewell, Floor, KeyName, LdevidFound, Log, TpmFound, TpmIdentity};
use bartizan_model::ids::OrderId;
use bartizan_model::message::{FromTpm, ToTpm};
use bartizan_process::journal::{self, Level};
use bartizan_process::{Exit, Fault};
use tss_esapi::constants::SessionType;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;

use crate::activate::activate;
use crate::administrator::with_device_key;
use crate::device::{SessionKind, Tpm, TpmError, code};
use crate::farewell::{farewell, is_retired};
use crate::floor;
use crate::identity::{endorsements, identity};
use crate::keys::{DeviceKeys, with_storage};
use crate::ldevid::{Fresh, Ldevid};
use crate::measured::Measured;
use crate::quote::{quote, quote_with_floors};
use crate::sign::sign;
use crate::template::DeviceKey;

/// The TPM and what was found in it, open before the lock-down.
#[derive(Debug)]
pub struct Prepared {
    tpm: Tpm,
    measured: Measured,
    keys: DeviceKeys,
    ldevid: Option<Ldevid>,
    found: TpmFound,
    /// The description, except for the floors.
    identity: Option<TpmIdentity>,
    /// The LDevID key that was made last and is not kept.
    fresh: Option<Fresh>,
    /// An LDevID key was kept since the start.
    kept: bool,
    /// The log that is being read.
    log: Option<(Log, Vec<u8>)>,
}

impl Prepared {
    /// Opens the TPM, finds or remakes its keys, and opens what the boot left in `folder`.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the TPM does not open or does not answer.
    pub fn open(tcti: &str, folder: &Path) -> Result<Self, Fault> {
        let mut tpm = Tpm::open(tcti).map_err(fault)?;
        let measured = Measured::open(folder);
        Self::find(&mut tpm, &measured)
            .map(|(keys, ldevid, found)| Self {
                tpm,
                measured,
                keys,
                ldevid,
                found,
                identity: None,
                fresh: None,
                kept: false,
                log: None,
            })
            .map_err(fault)
            .and_then(Self::ready)
    }

    /// What was found when the TPM was opened.
    pub fn found(&self) -> TpmFound {
        self.found
    }

    fn find(
        tpm: &mut Tpm,
        measured: &Measured,
    ) -> Result<(DeviceKeys, Option<Ldevid>, TpmFound), TpmError> {
        let keys = DeviceKeys::open(tpm)?;
        let (ldevid, state) = match Ldevid::open(tpm) {
            Ok(_) if !floor::are_complete(tpm)? => (None, LdevidFound::Foreign),
            Ok(ldevid) => {
                let state = ldevid.found(tpm, measured)?;
                (Some(ldevid), state)
            }
            Err(TpmError::NoLdevid) => (None, LdevidFound::Absent),
            Err(TpmError::ForeignKey) => (None, LdevidFound::Foreign),
            Err(error) => return Err(error),
        };
        let retired = is_retired(tpm)?;
        let floors = floor::read_all(tpm)?;
        Ok((
            keys,
            ldevid,
            TpmFound {
                ldevid: state,
                retired,
                floors,
            },
        ))
    }

    /// Does ahead what takes a TPM seconds and what only a box without a usable LDevID needs, and
    /// lets the library do what it does once: it opens a configuration file when it first encrypts,
    /// and a process that is locked down opens none.
    fn ready(mut self) -> Result<Self, Fault> {
        match warm_up(&mut self.tpm) {
            Err(error) if error.told().is_none() => return Err(fault(error)),
            Err(error) => journal::log(Level::Warn, format_args!("{error}")),
            Ok(()) => {}
        }
        if self.found.ldevid != LdevidFound::Usable {
            match identity(&mut self.tpm, &self.keys) {
                Ok(identity) => self.identity = Some(identity),
                Err(error) if error.told().is_some() => {
                    journal::log(Level::Warn, format_args!("{error}"));
                }
                Err(error) => return Err(fault(error)),
            }
        }
        Ok(self)
    }

    /// Answers a request that the table permits.
    ///
    /// What failed for a reason that passes is tried once more; what the TPM refuses is an answer.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if the TPM is lost.
    pub(crate) fn answer(&mut self, request: &ToTpm) -> Result<FromTpm, TpmError> {
        let order = order(request);
        let answer = match self.try_answer(request) {
            Err(error) if error.is_passing() => {
                journal::log(Level::Warn, format_args!("again: {error}"));
                self.recover(&error)?;
                self.try_answer(request)
            }
            answer => answer,
        };
        match answer {
            Err(error) => match error.told() {
                Some(code) => {
                    journal::log(Level::Info, format_args!("{error}"));
                    Ok(FromTpm::Failed { order, code })
                }
                None => Err(error),
            },
            answer => answer,
        }
    }

    /// Ends ownership.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if the TPM does not do its part; it can be repeated.
    pub(crate) fn farewell(&mut self, how: Farewell) -> Result<(), TpmError> {
        self.ldevid = None;
        self.fresh = None;
        self.identity = None;
        match farewell(&mut self.tpm, how) {
            Err(error) if error.is_passing() => {
                self.recover(&error)?;
                farewell(&mut self.tpm, how)
            }
            done => done,
        }
    }

    /// Raises the rollback floor and says where it stands; nothing if the TPM does not do it.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if the TPM is lost.
    pub(crate) fn raise_rollback(&mut self, to: u64) -> Result<Option<u64>, TpmError> {
        match floor::raise_to(&mut self.tpm, Floor::Rollback, to) {
            Err(error) if error.is_passing() => {
                self.recover(&error)?;
                floor::raise_to(&mut self.tpm, Floor::Rollback, to)
            }
            stands => stands,
        }
        .map(Some)
        .or_else(|error| match error.told() {
            Some(_code) => {
                journal::log(Level::Warn, format_args!("{error}"));
                Ok(None)
            }
            None => Err(error),
        })
    }

    fn recover(&mut self, error: &TpmError) -> Result<(), TpmError> {
        if let TpmError::Restarted { .. } = error {
            self.tpm.start_again()?;
        }
        self.tpm.approval = None;
        // Somebody may have evicted them: they come back as they were.
        self.keys = DeviceKeys::open(&mut self.tpm)?;
        self.ldevid = match Ldevid::open(&mut self.tpm) {
            Ok(ldevid) => Some(ldevid),
            Err(TpmError::NoLdevid | TpmError::ForeignKey) => None,
            Err(error) => return Err(error),
        };
        Ok(())
    }

    fn try_answer(&mut self, request: &ToTpm) -> Result<FromTpm, TpmError> {
        let order = order(request);
        Ok(match request {
            ToTpm::Sign { key, digest, .. } => FromTpm::Signature {
                order,
                signature: self.sign(*key, digest)?,
            },
            ToTpm::Identity(_) => FromTpm::Identity {
                order,
                identity: Box::new(self.identity()?),
            },
            ToTpm::CreateLdevid { qualifying, .. } => {
                if self.kept {
                    return Ok(FromTpm::NotPermitted(order));
                }
                let fresh = Fresh::create(&mut self.tpm, &self.measured)?;
                let certified = fresh.certify(&mut self.tpm, &self.keys, qualifying)?;
                self.fresh = Some(fresh);
                FromTpm::Ldevid {
                    order,
                    certified: Box::new(certified),
                }
            }
            ToTpm::KeepLdevid(_) => {
                if self.kept {
                    return Ok(FromTpm::NotPermitted(order));
                }
                let fresh = self.fresh.as_ref().ok_or(TpmError::NoLdevid)?;
                // Before the key: from the moment it stands, a missing floor is a fault.
                floor::complete(&mut self.tpm)?;
                self.ldevid = Some(fresh.keep(&mut self.tpm)?);
                self.fresh = None;
                self.kept = true;
                FromTpm::Done(order)
            }
            ToTpm::Activate {
                credential,
                context,
                ..
            } => {
                let endorsements = endorsements(&mut self.tpm)?;
                let (kind, _certificate) = endorsements
                    .get(usize::from(credential.endorsement))
                    .ok_or(TpmError::Refused {
                        command: "activate a credential",
                        code: code::VALUE,
                    })?;
                let (tpm, keys) = (&mut self.tpm, &self.keys);
                FromTpm::Activated {
                    order,
                    proof: activate(tpm, keys, *kind, credential, context)?,
                }
            }
            ToTpm::Quote {
                qualifying, pcrs, ..
            } => FromTpm::Quoted {
                order,
                quoted: Box::new(quote(&mut self.tpm, &self.keys, qualifying, *pcrs)?),
            },
            ToTpm::Attest { binding, pcrs, .. } => {
                let (tpm, keys) = (&mut self.tpm, &self.keys);
                let (quoted, floors) = quote_with_floors(tpm, keys, binding, *pcrs)?;
                FromTpm::Attested {
                    order,
                    quoted: Box::new(quoted),
                    floors,
                }
            }
            ToTpm::ReadLog { log, offset, .. } => self.read_log(order, *log, *offset)?,
            ToTpm::RaiseFloor { floor, to, .. } => {
                floor::raise(&mut self.tpm, *floor, *to)?;
                FromTpm::Done(order)
            }
        })
    }

    fn sign(&mut self, key: KeyName, digest: &[u8]) -> Result<Vec<u8>, TpmError> {
        match key {
            KeyName::Idevid => {
                let (strength, key) = (self.keys.strength, self.keys.idevid.key);
                let idevid = DeviceKey::Idevid;
                with_device_key(&mut self.tpm, strength, idevid, None, |tpm, session| {
                    sign(tpm, (Some(session), None, None), key, strength, digest)
                })
            }
            KeyName::Ldevid => {
                let ldevid = self.ldevid.as_ref().ok_or(TpmError::NoLdevid)?;
                ldevid.sign(&mut self.tpm, &self.measured, digest)
            }
        }
    }

    fn identity(&mut self) -> Result<TpmIdentity, TpmError> {
        let mut described = match self.identity.take() {
            Some(described) => described,
            None => identity(&mut self.tpm, &self.keys)?,
        };
        described.floors = floor::read_all(&mut self.tpm)?;
        self.identity = Some(described.clone());
        Ok(described)
    }

    /// A log is taken whole when its first byte is asked for: its parts are of one moment.
    fn read_log(&mut self, order: OrderId, log: Log, offset: u32) -> Result<FromTpm, TpmError> {
        let too_long = |_| TpmError::Refused {
            command: "read a log",
            code: code::SIZE,
        };
        let offset = usize::try_from(offset).map_err(too_long)?;
        let bytes = match self.log.take() {
            Some((taken, bytes)) if taken == log && offset != 0 => bytes,
            _ => self.measured.log(log)?,
        };
        let end = offset.saturating_add(LOG_PART).min(bytes.len());
        let part = bytes.get(offset..end).unwrap_or_default().to_vec();
        let size = u32::try_from(bytes.len()).map_err(too_long)?;
        if end < bytes.len() {
            self.log = Some((log, bytes));
        }
        Ok(FromTpm::LogPart {
            order,
            bytes: part,
            size,
        })
    }
}

/// Begins and ends an encrypted session.
fn warm_up(tpm: &mut Tpm) -> Result<(), TpmError> {
    with_storage(tpm, |tpm, root| {
        let kind = SessionKind {
            kind: SessionType::Hmac,
            hash: HashingAlgorithm::Sha256,
            salt: Some(root.key),
        };
        tpm.in_session(kind, |_tpm, _session| Ok(()))
    })
}

/// The most bytes of a part of a log.
const LOG_PART: usize = 8 * 1024;

pub(crate) fn order(request: &ToTpm) -> OrderId {
    match request {
        ToTpm::Identity(order) | ToTpm::KeepLdevid(order) => *order,
        ToTpm::Sign { order, .. }
        | ToTpm::CreateLdevid { order, .. }
        | ToTpm::Activate { order, .. }
        | ToTpm::Quote { order, .. }
        | ToTpm::Attest { order, .. }
        | ToTpm::ReadLog { order, .. }
        | ToTpm::RaiseFloor { order, .. } => *order,
    }
}

pub(crate) fn fault(error: TpmError) -> Fault {
    let exit = match &error {
        TpmError::Name => Exit::Usage,
        TpmError::Open(_)
        | TpmError::Refused { .. }
        | TpmError::Restarted { .. }
        | TpmError::Lost { .. } => Exit::IoErr,
        TpmError::Memory(_) => Exit::OsErr,
        TpmError::NoLdevid | TpmError::LdevidStands | TpmError::ForeignKey => Exit::Config,
    };
    Fault::because(exit, "tpm", error)
}
