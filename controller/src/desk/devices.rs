//! What operators ask of devices, over whichever way: the local socket and REST say it in the same words.

use core::time::Duration;

use bartizan_model::identity::Farewell;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::Desk;
use crate::clock::owner_time;
use crate::device::{
    Actor, Bytes, Device, NewDevice, Repin, Serial, SignedVoucher, Site, VoucherRefused,
};
use crate::status::{DeviceHistory, DeviceStatus};
use crate::store::{DeviceError, StoreError};

/// An order or a question about devices.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum DeviceOrder {
    /// Those behind a serial number, at most 1000.
    List {
        /// The last one that is known.
        after: Option<Serial>,
    },
    /// One, with its history.
    Show {
        /// Which.
        serial: Serial,
    },
    /// Expect a new one.
    Add {
        /// It.
        device: NewDevice,
    },
    /// Replace what is wanted of one.
    Place {
        /// Which.
        serial: Serial,
        /// What is wanted.
        site: Site,
    },
    /// Clear a quarantine.
    Approve {
        /// Whose.
        serial: Serial,
        /// What becomes of the pins.
        pins: Repin,
    },
    /// Take the trust back.
    Revoke {
        /// In which.
        serial: Serial,
    },
    /// Give one away.
    Release {
        /// Which.
        serial: Serial,
    },
    /// End one for good.
    Retire {
        /// Which.
        serial: Serial,
    },
    /// Attest at once.
    Attest {
        /// Which.
        serial: Serial,
        /// For how many seconds its verdict is waited for: at most 300 count.
        wait: Option<u64>,
    },
    /// Keep a voucher to be shown to its device.
    Voucher {
        /// As it was signed.
        voucher: Bytes,
    },
    /// Let another TPM come, by a voucher of a higher epoch.
    Transfer {
        /// As it was signed.
        voucher: Bytes,
    },
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum DeviceAnswer {
    /// Some devices.
    Devices(Vec<DeviceStatus>),
    /// One, as it is after the order.
    Device(Box<DeviceStatus>),
}

/// An order is not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    /// The record or the store does not allow it.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The voucher does not count.
    #[error(transparent)]
    Voucher(#[from] VoucherRefused),
    /// The attestation that was waited for did not come.
    #[error("{0} did not attest in time; it is asked to as soon as it is connected")]
    NotAttested(Serial),
}

/// The longest wait for a verdict.
const WAIT_MAX: u64 = 300;

impl Desk {
    /// Carries an order out.
    ///
    /// # Errors
    ///
    /// [`OrderError`]; nothing is changed, but for an attestation that is asked for and does not come in time.
    pub(crate) async fn order(
        &self,
        order: DeviceOrder,
        actor: &Actor,
    ) -> Result<DeviceAnswer, OrderError> {
        let (store, now) = (&self.store, owner_time());
        let device = match order {
            DeviceOrder::List { after } => {
                let devices = store.devices(after.as_ref()).await;
                let devices = devices.map_err(DeviceError::from)?;
                let status = devices.iter().map(|device| self.shown(device, None));
                return Ok(DeviceAnswer::Devices(status.collect()));
            }
            DeviceOrder::Show { serial } => return self.show(serial).await,
            DeviceOrder::Add { device } => store.add(device, actor, now).await?,
            DeviceOrder::Place { serial, site } => store.place(&serial, &site, actor, now).await?,
            DeviceOrder::Approve { serial, pins } => {
                store.approve(&serial, pins, actor, now).await?
            }
            DeviceOrder::Revoke { serial } => store.revoke(&serial, actor, now).await?,
            DeviceOrder::Release { serial } => {
                store.part(&serial, Farewell::Release, actor, now).await?
            }
            DeviceOrder::Retire { serial } => {
                store.part(&serial, Farewell::Retire, actor, now).await?
            }
            DeviceOrder::Attest { serial, wait } => self.demand(&serial, wait, actor).await?,
            DeviceOrder::Voucher { voucher } => {
                let voucher = self.verified(&voucher)?;
                store.keep_voucher(&voucher, actor, now).await?
            }
            DeviceOrder::Transfer { voucher } => {
                let voucher = self.verified(&voucher)?;
                store.transfer(&voucher, actor, now).await?
            }
        };
        self.fleet().admit(device.node());
        Ok(DeviceAnswer::Device(Box::new(self.shown(&device, None))))
    }

    async fn show(&self, serial: Serial) -> Result<DeviceAnswer, OrderError> {
        let read = async {
            let Some(device) = self.store.device(&serial).await? else {
                return Ok(None);
            };
            let history = DeviceHistory {
                verdicts: self.store.verdicts(&serial).await?,
                transfers: self.store.transfers(&serial).await?,
            };
            Ok::<_, StoreError>(Some(self.shown(&device, Some(history))))
        };
        let status = read.await.map_err(DeviceError::from)?;
        let status = status.ok_or(DeviceError::Unknown(serial))?;
        Ok(DeviceAnswer::Device(Box::new(status)))
    }

    /// Asks for an attestation and waits for the verdict on it.
    async fn demand(
        &self,
        serial: &Serial,
        wait: Option<u64>,
        actor: &Actor,
    ) -> Result<Device, OrderError> {
        // Before the order, so that no verdict falls between.
        let mut changes = self.store.watch(serial);
        let demanded = self.store.demand(serial, actor, owner_time()).await?;
        let Some(wait) = wait else {
            return Ok(demanded);
        };
        let before = (demanded.totals().passed, demanded.totals().failed);
        let verdict = async {
            loop {
                let device = self.store.device(serial).await?;
                let device = device.ok_or_else(|| DeviceError::Unknown(serial.clone()))?;
                if (device.totals().passed, device.totals().failed) != before {
                    return Ok(device);
                }
                if changes.changed().await.is_err() {
                    return Err(DeviceError::Store(StoreError::Closed));
                }
            }
        };
        match timeout(Duration::from_secs(wait.min(WAIT_MAX)), verdict).await {
            Ok(device) => Ok(device?),
            Err(_late) => Err(OrderError::NotAttested(serial.clone())),
        }
    }

    fn verified(&self, voucher: &Bytes) -> Result<SignedVoucher, VoucherRefused> {
        SignedVoucher::verify(&voucher.0, &self.makers, &self.owner, owner_time())
    }

    fn shown(&self, device: &Device, history: Option<DeviceHistory>) -> DeviceStatus {
        let fleet = self.fleet();
        let gateway = fleet.nodes.get(device.node());
        let session = gateway.and_then(|gateway| gateway.session);
        let address = session.map(|session| session.address.to_string());
        DeviceStatus::of(device, address, history)
    }
}
