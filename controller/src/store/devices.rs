//! The device records: how they are read, and how every change of one is made.

use std::collections::BTreeSet;

use bartizan_evidence::lease::OwnerTime;
use bartizan_model::ids::NodeId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::rows::{Outcome, Range, Seen, Table, Write};
use super::{Store, StoreError, TRIES};
use crate::device::{
    Act, Actor, Audited, Bytes, Certificate, Device, Identity, Refused, Serial, Transferred,
    Verdict,
};

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
pub(super) struct Beside {
    pub(super) writes: Vec<Write>,
    pub(super) audited: Option<Act>,
}

impl Beside {
    pub(super) fn nothing() -> Self {
        Self {
            writes: Vec::new(),
            audited: None,
        }
    }

    pub(super) fn audited(act: Act) -> Self {
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

/// Changing.
impl Store {
    /// Decides on a record until the decision is committed.
    pub(super) async fn change(
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
    pub(super) async fn try_change(
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
pub(super) fn key_names(identity: &Identity) -> Vec<String> {
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

pub(super) fn act(actor: &Actor, act: Act, serial: &Serial, now: OwnerTime) -> Audited {
    Audited {
        at: now,
        actor: actor.clone(),
        act,
        serial: Some(serial.clone()),
    }
}

/// A place in a ring of `kept`; what stood there is the oldest.
pub(super) fn slot(
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
