//! What operators do with devices.

use bartizan_evidence::lease::OwnerTime;
use bartizan_model::identity::Farewell;
use sha2::{Digest as _, Sha256};

use super::devices::{Beside, act, key_names, slot};
use super::rows::{Outcome, Seen, Table, Write};
use super::{DeviceError, Store, StoreError, TRIES};
use crate::device::{
    Act, Actor, Bytes, Device, NewDevice, Repin, Serial, SignedVoucher, Site, Transferred,
};

/// How many transfers of a device are kept.
const TRANSFERS_KEPT: u64 = 16;

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

fn kept_voucher(voucher: &SignedVoucher) -> Result<Write, StoreError> {
    let bytes = Bytes(voucher.bytes().to_vec());
    let key = voucher.serial().as_str();
    Write::put(Table::Voucher, key, Seen::Unasked, &bytes)
}
