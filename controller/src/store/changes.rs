//! Who waits for a change is told of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{broadcast, watch};

use super::rows::Table;
use crate::device::Serial;

/// What has changed; what it is, the store says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Changed {
    /// The plan.
    Plan,
    /// A device's record.
    Device(Serial),
    /// Anything: changes may have been missed.
    Anything,
}

/// Those who wait.
#[derive(Debug)]
pub(crate) struct Changes {
    all: broadcast::Sender<Changed>,
    devices: Mutex<BTreeMap<Serial, watch::Sender<u64>>>,
}

/// Changes that a slow listener may lag behind before it is told [`Changed::Anything`].
const BACKLOG: usize = 1024;

impl Changes {
    pub(crate) fn new() -> Self {
        Self {
            all: broadcast::Sender::new(BACKLOG),
            devices: Mutex::new(BTreeMap::new()),
        }
    }

    pub(crate) fn all(&self) -> broadcast::Receiver<Changed> {
        self.all.subscribe()
    }

    pub(crate) fn device(&self, serial: &Serial) -> watch::Receiver<u64> {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.retain(|_, sender| sender.receiver_count() > 0);
        devices.entry(serial.clone()).or_default().subscribe()
    }

    /// A row of a table was changed.
    pub(crate) fn row(&self, table: Table, key: &str) {
        if table == Table::Plan {
            self.tell(Changed::Plan);
        } else if table == Table::Device
            && let Ok(serial) = Serial::try_from(key)
        {
            self.tell(Changed::Device(serial));
        }
    }

    pub(crate) fn tell(&self, changed: Changed) {
        {
            let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
            let rise = |sender: &watch::Sender<u64>| {
                sender.send_modify(|count| *count = count.wrapping_add(1));
            };
            match &changed {
                Changed::Plan => {}
                Changed::Device(serial) => {
                    if let Some(sender) = devices.get(serial) {
                        rise(sender);
                    }
                }
                Changed::Anything => devices.values().for_each(rise),
            }
        }
        // Nobody may be listening.
        let _listeners = self.all.send(changed);
    }
}
