//! The device records, and all that is kept beside them.

use std::collections::BTreeSet;

use bartizan_evidence::lease::OwnerTime;
use bartizan_model::identity::Farewell;
use bartizan_model::ids::NodeId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::rows::{Outcome, Range, Seen, Table, Write};
use super::{Store, StoreError, TRIES};
use crate::device::{
    Act, Actor, Attestation, Audited, Bytes, Certificate, Device, Enrolment, Failure, Identity,
    NewDevice, Occasion, Outcome as Verdicted, Refused, Repin, Serial, SignedVoucher, Site, State,
    Transferred, Verdict,
};

/// How many proofs of a device are kept; its failures are counted apart, so that nothing can wash them away.
const PASSED_KEPT: u64 = 32;
const FAILED_KEPT: u64 = 128;

/// How many certificates and transfers of a device are kept.
const CERTIFICATES_KEPT: u64 = 16;
const TRANSFERS_KEPT: u64 = 16;

/// The most devices of one answer.
const PAGE: usize = 1000;

/// A change of a device is not made.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No such device.
    #[error("{0} is no device of ours; add it with `device add`")]
    Unknown(Serial),
    /// There is one already.
    #[error("{0} is a device already; see `device show`")]
    Known(Serial),
    /// The name is another's.
    #[error("{node} is the node of {serial} already; choose another name")]
    NodeTaken {
        /// The name.
        node: NodeId,
        /// Whose it is.
        serial: Serial,
    },
    /// A key of its TPM is known as another device's.
    #[error("a key of this TPM belongs to {0}")]
    KeyTaken(Serial),
    /// The record does not allow it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The store does not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is written beside a record.
struct Beside {
    writes: Vec<Write>,
    audited: Option<Act>,
}

impl Beside {
    fn nothing() -> Self {
        Self {
            writes: Vec::new(),
            audited: None,
        }
    }

    fn audited(act: Act) -> Self {
        Self {
            writes: Vec::new(),
            audited: Some(act),
        }
    }
}

/// Reading.
impl Store {
    /// A device.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn device(&self, serial: &Serial) -> Result<Option<Device>, StoreError> {
        let row = self.read(Table::Device, serial.as_str()).await?;
        row.map(|row| row.read(Table::Device)).transpose()
    }

    /// The device of a node.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn device_of(&self, node: &NodeId) -> Result<Option<Device>, StoreError> {
        let Some(row) = self.read(Table::Node, node.as_str()).await? else {
            return Ok(None);
        };
        self.device(&row.read(Table::Node)?).await
    }

    /// Devices in the order of their serial numbers, at most 1000, those behind `after`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn devices(&self, after: Option<&Serial>) -> Result<Vec<Device>, StoreError> {
        let range = Range::behind(after.map_or("", Serial::as_str), PAGE);
        let rows = self.list(Table::Device, range).await?;
        rows.iter().map(|row| row.read(Table::Device)).collect()
    }

    /// The names of all devices.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn nodes(&self) -> Result<BTreeSet<NodeId>, StoreError> {
        let mut nodes = BTreeSet::new();
        let mut after = String::new();
        loop {
            let rows = self.list(Table::Node, Range::behind(&after, PAGE)).await?;
            let Some(last) = rows.last() else {
                return Ok(nodes);
            };
            after.clone_from(&last.key);
            // A row whose key is no name was not written by a controller.
            let names = rows.into_iter().map(|row| NodeId::try_from(row.key));
            nodes.extend(names.filter_map(Result::ok));
        }
    }

    /// The verdicts on a device that are kept, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn verdicts(&self, serial: &Serial) -> Result<Vec<Verdict>, StoreError> {
        let mut verdicts: Vec<Verdict> = self.ring(Table::Verdict, serial).await?;
        verdicts.sort_by_key(|verdict| core::cmp::Reverse(verdict.at));
        Ok(verdicts)
    }

    /// The certificates of a device that are kept, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn certificates(&self, serial: &Serial) -> Result<Vec<Certificate>, StoreError> {
        let mut certificates: Vec<Certificate> = self.ring(Table::Certificate, serial).await?;
        certificates.sort_by_key(|certificate| core::cmp::Reverse(certificate.not_after));
        Ok(certificates)
    }

    /// The transfers of a device that are kept, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn transfers(&self, serial: &Serial) -> Result<Vec<Transferred>, StoreError> {
        let mut transfers: Vec<Transferred> = self.ring(Table::Transfer, serial).await?;
        transfers.sort_by_key(|transfer| core::cmp::Reverse(transfer.epoch));
        Ok(transfers)
    }

    /// The voucher that a device is to be shown, as an operator gave it.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn voucher(&self, serial: &Serial) -> Result<Option<Vec<u8>>, StoreError> {
        let row = self.read(Table::Voucher, serial.as_str()).await?;
        let voucher = row
            .map(|row| row.read::<Bytes>(Table::Voucher))
            .transpose()?;
        Ok(voucher.map(|voucher| voucher.0))
    }

    async fn ring<T: DeserializeOwned>(
        &self,
        table: Table,
        serial: &Serial,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.list(table, Range::of(serial.as_str(), PAGE)).await?;
        rows.iter().map(|row| row.read(table)).collect()
    }
}

/// What the verifier and the sessions record.
impl Store {
    /// Takes an enrolment that the verifier passed: the identity, its certificate and the verdict, or none of them.
    /// Only a device that is [`State::Enrolled`] afterwards may be given the certificate.
    ///
    /// # Errors
    ///
    /// [`DeviceError`], [`DeviceError::KeyTaken`] and [`Refused::OtherTpm`] among them; nothing is changed.
    pub async fn enrol(
        &self,
        serial: &Serial,
        enrolment: &Enrolment,
        now: OwnerTime,
    ) -> Result<Device, DeviceError> {
        let keys = key_names(&enrolment.identity);
        for _try in 0..TRIES {
            // A key that nobody has is taken by the same commit; one that is taken is looked at.
            let mut taken = Vec::new();
            for key in &keys {
                match self.read(Table::Key, key).await? {
                    None => {
                        let seen = Seen::Nothing;
                        taken.push(Write::put(Table::Key, key.as_str(), seen, serial)?);
                    }
                    Some(row) => {
                        let owner: Serial = row.read(Table::Key)?;
                        if owner != *serial {
                            return Err(DeviceError::KeyTaken(owner));
                        }
                    }
                }
            }
            let changed = self
                .try_change(serial, None, now, |device| {
                    let state = device.enrol(enrolment, now)?;
                    let mut writes = Vec::new();
                    if state == State::Enrolled {
                        writes.append(&mut taken);
                        writes.push(certified(device, &enrolment.certificate)?);
                    }
                    writes.push(passed(device, Occasion::Enrolment, now)?);
                    Ok(Beside {
                        writes,
                        audited: None,
                    })
                })
                .await?;
            if let Some(device) = changed {
                return Ok(device);
            }
        }
        Err(StoreError::Busy.into())
    }

    /// Takes a proof that the verifier passed. Only a device that is [`State::Enrolled`] afterwards may be granted a lease.
    ///
    /// # Errors
    ///
    /// [`DeviceError`]; nothing is changed.
    pub async fn attest(
        &self,
        serial: &Serial,
        attestation: &Attestation,
        now: OwnerTime,
    ) -> Result<Device, DeviceError> {
        self.change(serial, None, now, |device| {
            let state = device.attest(attestation, now)?;
            let mut writes = vec![passed(device, Occasion::Attestation, now)?];
            if state == State::Enrolled
                && let Some(certificate) = &attestation.certificate
            {
                writes.push(certified(device, certificate)?);
            }
            Ok(Beside {
                writes,
                audited: None,
            })
        })
        .await
    }

    /// Takes a failure of the device itself; it is in quarantine when this returns.
    ///
    /// # Errors
    ///
    /// [`DeviceError`]; nothing is changed.
    pub async fn fail(
        &self,
        serial: &Serial,
        occasion: Occasion,
        failure: &Failure,
        now: OwnerTime,
    ) -> Result<Device, DeviceError> {
        self.change(serial, None, now, |device| {
            let number = device.totals().failed;
            device.fail(failure, now)?;
            let verdict = Verdict {
                at: now,
                occasion,
                outcome: Verdicted::Failed {
                    class: failure.class,
                    rule: failure.rule.clone(),
                    text: failure.text.clone(),
                },
                clock: failure.clock,
            };
            let write = slot(
                Table::Verdict,
                serial,
                "failed",
                number,
                FAILED_KEPT,
                &verdict,
            )?;
            Ok(Beside {
                writes: vec![write],
                audited: None,
            })
        })
        .await
    }

    /// The device confirmed a release or a retirement.
    ///
    /// # Errors
    ///
    /// [`DeviceError`]; nothing is changed.
    pub async fn parted(&self, serial: &Serial, now: OwnerTime) -> Result<Device, DeviceError> {
        self.change(serial, None, now, |device| {
            device.parted()?;
            Ok(Beside::nothing())
        })
        .await
    }
}

/// What operators do.
impl Store {
    /// Adds a device.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Known`], [`DeviceError::NodeTaken`], [`DeviceError::Store`]; nothing is changed.
    pub async fn add(
        &self,
        new: NewDevice,
        actor: &Actor,
        now: OwnerTime,
    ) -> Result<Device, DeviceError> {
        let device = Device::new(new);
        let (serial, node) = (device.serial(), device.node());
        for _try in 0..TRIES {
            if self.read(Table::Device, serial.as_str()).await?.is_some() {
                return Err(DeviceError::Known(serial.clone()));
            }
            if let Some(row) = self.read(Table::Node, node.as_str()).await? {
                return Err(DeviceError::NodeTaken {
                    node: node.clone(),
                    serial: row.read(Table::Node)?,
                });
            }
            let mut writes = vec![
                Write::put(Table::Device, serial.as_str(), Seen::Nothing, &device)?,
                Write::put(Table::Node, node.as_str(), Seen::Nothing, serial)?,
            ];
            writes.extend(self.audit(&act(actor, Act::Add, serial, now)).await?);
            if self.commit(writes).await? == Outcome::Done {
                return Ok(device);
            }
        }
        Err(StoreError::Busy.into())
    }

    /// Replaces what the owner wants of a device.
    ///
    /// # Errors
    ///
    /// [`DeviceError`]; nothing is changed.
    pub async fn place(
        &self,
        serial: &Serial,
        site: &Site,
        actor: &Actor,
        now: OwnerTime,
    ) -> Result<Device, DeviceError> {
        self.change(serial, Some(actor), now, |device| {
            device.place(site.clone());
            Ok(Beside::audited(Act::Place))
        })
        .await
    }

    /// Clears a quarantine.
    ///
    /// # Errors
    ///
    /// [`DeviceError`]; nothing is changed.
    pub async fn approve(
        &self,
        serial: &Serial,
        pins: Repin,
        actor: &Actor,
        now: OwnerTime,
    ) -> Result<Device, DeviceError> {
        self.change(serial, Some(actor), now, |device| {
            device.approve(pins)?;
            Ok(Beside::audited(match pins {
                Repin::Keep => Act::Approve,
                Repin::Anew => Act::ApproveAnew,
            }))
        })
        .await
    }

    /// Takes the trust in a device back.
    ///
    /// # Errors
    ///
    /// [`DeviceError`]; nothing is changed.
    pub async fn revoke(
        &self,
        serial: &Serial,
        actor: &Actor,
        now: OwnerTime,
    ) -> Result<Device, DeviceError> {
        self.change(serial, Some(actor), now, |device| {
            device.revoke()?;
            Ok(Beside::audited(Act::Revoke))
        })
        .await
    }

    /// Gives a device away, or ends it; the device is told when it comes.
    ///
    /// # Errors
    ///
    /// [`DeviceError`]; nothing is changed.
    pub async fn part(
        &self,
        serial: &Serial,
        farewell: Farewell,
        actor: &Actor,
        now: OwnerTime,
    ) -> Result<Device, DeviceError> {
        self.change(serial, Some(actor), now, |device| {
            device.part(farewell)?;
            Ok(Beside::audited(match farewell {
                Farewell::Release => Act::Release,
                Farewell::Retire => Act::Retire,
            }))
        })
        .await
    }

    /// Keeps a voucher for a device to be shown; one that changes its record is a [`Store::transfer`].
    ///
    /// # Errors
    ///
    /// [`DeviceError`]; nothing is changed.
    pub async fn keep_voucher(
        &self,
        voucher: &SignedVoucher,
        actor: &Actor,
        now: OwnerTime,
    ) -> Result<Device, DeviceError> {
        let serial = voucher.serial();
        self.change(serial, Some(actor), now, |device| {
            device.vouched(voucher)?;
            Ok(Beside {
                writes: vec![kept_voucher(voucher)?],
                audited: Some(Act::Voucher),
            })
        })
        .await
    }

    /// Takes a transfer that the device's maker signed: the known TPM's keys are nobody's afterwards.
    ///
    /// # Errors
    ///
    /// [`DeviceError`]; nothing is changed.
    pub async fn transfer(
        &self,
        voucher: &SignedVoucher,
        actor: &Actor,
        now: OwnerTime,
    ) -> Result<Device, DeviceError> {
        let serial = voucher.serial();
        self.change(serial, Some(actor), now, |device| {
            let keys = device.identity().map(key_names).unwrap_or_default();
            device.transfer(voucher)?;
            let transferred = Transferred {
                at: now,
                epoch: voucher.epoch(),
                voucher: Bytes(Sha256::digest(voucher.bytes()).to_vec()),
            };
            let number = device.totals().transfers;
            let mut writes = vec![
                kept_voucher(voucher)?,
                slot(
                    Table::Transfer,
                    serial,
                    "",
                    number,
                    TRANSFERS_KEPT,
                    &transferred,
                )?,
            ];
            writes.extend(keys.into_iter().map(|key| Write::delete(Table::Key, key)));
            Ok(Beside {
                writes,
                audited: Some(Act::Transfer),
            })
        })
        .await
    }

    /// Asks for an attestation at once, whichever controller the device is connected to.
    ///
    /// # Errors
    ///
    /// [`DeviceError`]; nothing is changed.
    pub async fn demand(
        &self,
        serial: &Serial,
        actor: &Actor,
        now: OwnerTime,
    ) -> Result<Device, DeviceError> {
        self.change(serial, Some(actor), now, |device| {
            device.demand();
            Ok(Beside::audited(Act::Attest))
        })
        .await
    }
}

/// Changing.
impl Store {
    /// Decides on a record until the decision is committed.
    async fn change(
        &self,
        serial: &Serial,
        actor: Option<&Actor>,
        now: OwnerTime,
        mut decide: impl FnMut(&mut Device) -> Result<Beside, DeviceError>,
    ) -> Result<Device, DeviceError> {
        for _try in 0..TRIES {
            let changed = self.try_change(serial, actor, now, &mut decide).await?;
            if let Some(device) = changed {
                return Ok(device);
            }
        }
        Err(StoreError::Busy.into())
    }

    /// The same, once; `None` if another writer was faster.
    async fn try_change(
        &self,
        serial: &Serial,
        actor: Option<&Actor>,
        now: OwnerTime,
        decide: impl FnOnce(&mut Device) -> Result<Beside, DeviceError>,
    ) -> Result<Option<Device>, DeviceError> {
        let row = self.read(Table::Device, serial.as_str()).await?;
        let row = row.ok_or_else(|| DeviceError::Unknown(serial.clone()))?;
        let mut device: Device = row.read(Table::Device)?;
        let beside = decide(&mut device)?;
        let mut writes = beside.writes;
        let seen = Seen::Version(row.version);
        writes.push(Write::put(Table::Device, serial.as_str(), seen, &device)?);
        if let (Some(actor), Some(audited)) = (actor, beside.audited) {
            writes.extend(self.audit(&act(actor, audited, serial, now)).await?);
        }
        match self.commit(writes).await? {
            Outcome::Done => Ok(Some(device)),
            Outcome::Conflict => Ok(None),
        }
    }
}

/// The names of all keys by which a TPM could be known again.
fn key_names(identity: &Identity) -> Vec<String> {
    let name = |kind, bytes: &Bytes| {
        let digest = Bytes(Sha256::digest(&bytes.0).to_vec());
        format!("{kind} {}", String::from(digest))
    };
    let endorsement = identity.endorsement.iter();
    let mut names: Vec<String> = endorsement.map(|pin| name("ek", &pin.name)).collect();
    names.push(name("ak", &identity.ak));
    names.push(name("idevid", &identity.idevid));
    names
}

fn act(actor: &Actor, act: Act, serial: &Serial, now: OwnerTime) -> Audited {
    Audited {
        at: now,
        actor: actor.clone(),
        act,
        serial: Some(serial.clone()),
    }
}

fn passed(device: &Device, occasion: Occasion, now: OwnerTime) -> Result<Write, StoreError> {
    let verdict = Verdict {
        at: now,
        occasion,
        outcome: Verdicted::Passed,
        clock: device.clock(),
    };
    let number = device.totals().passed;
    slot(
        Table::Verdict,
        device.serial(),
        "passed",
        number,
        PASSED_KEPT,
        &verdict,
    )
}

fn certified(device: &Device, certificate: &Certificate) -> Result<Write, StoreError> {
    let number = device.totals().certificates;
    slot(
        Table::Certificate,
        device.serial(),
        "",
        number,
        CERTIFICATES_KEPT,
        certificate,
    )
}

fn kept_voucher(voucher: &SignedVoucher) -> Result<Write, StoreError> {
    let bytes = Bytes(voucher.bytes().to_vec());
    let key = voucher.serial().as_str();
    Write::put(Table::Voucher, key, Seen::Unasked, &bytes)
}

/// A place in a ring of `kept`; what stood there is the oldest.
fn slot(
    table: Table,
    serial: &Serial,
    ring: &str,
    number: u64,
    kept: u64,
    body: &impl Serialize,
) -> Result<Write, StoreError> {
    let place = number.checked_rem(kept).unwrap_or(0);
    let key = format!("{serial}\t{ring}{place:03}");
    Write::put(table, key, Seen::Unasked, body)
}
