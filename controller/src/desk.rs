//! What all sessions and the owner's commands share: the fleet, behind one lock that is never held
//! over an `await`, and the word that it has changed.

mod devices;

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bartizan_bootstrap_protocol::certificate::Certificate;
use bartizan_model::ids::NodeId;
use bartizan_model::report::Notice;
use bartizan_netconf::client::Data;
use bartizan_process::journal::{self, Level};
use tokio::sync::watch;

use crate::clock::owner_time;
use crate::device::{Actor, Device, Maker, State};
use crate::fleet::{Fleet, Prepared, Trust};
use crate::gateway::{Configuration, Desired};
use crate::plan::{Document, Plan, PlanErrors};
use crate::store::{Changed, Kept, Store, StoreError};

pub(crate) use devices::OrderError;
pub use devices::{DeviceAnswer, DeviceOrder};

/// The controller's desk.
#[derive(Debug)]
pub(crate) struct Desk {
    fleet: Mutex<Fleet>,
    pub(crate) store: Store,
    /// The plan that the fleet is led to; held while it is replaced, so that plans come in their order.
    in_force: tokio::sync::Mutex<Kept>,
    changed: watch::Sender<u64>,
    pub(crate) lease_cadence: Duration,
    pub(crate) poll: Duration,
    /// Who signs vouchers.
    makers: Vec<Maker>,
    /// The owner's certificate authorities, which vouchers name.
    owner: Vec<Certificate>,
}

/// A plan is not applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// It has faults.
    #[error(transparent)]
    Plan(#[from] PlanErrors),
    /// It cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Desk {
    pub(crate) fn new(
        fleet: Fleet,
        (store, kept): (Store, Kept),
        config: &crate::config::Config,
    ) -> Self {
        Self {
            fleet: Mutex::new(fleet),
            store,
            in_force: tokio::sync::Mutex::new(kept),
            changed: watch::Sender::new(0),
            lease_cadence: config.lease_cadence,
            poll: config.poll,
            makers: config.makers.clone(),
            owner: config.owner.clone(),
        }
    }

    /// Keeps a plan, then makes it what the gateways should run; returns its version.
    ///
    /// # Errors
    ///
    /// [`ApplyError`]; the plan before stays in force.
    pub(crate) async fn apply(&self, document: Document, actor: &Actor) -> Result<u64, ApplyError> {
        let plan = Plan::try_from(&document)?;
        let mut in_force = self.in_force.lock().await;
        let mut prepared = None;
        let decide = |standing: &Kept| {
            let reqids = standing.reqids.for_plan(&plan);
            prepared = Some(self.fleet().prepare(&plan, &reqids)?);
            let document = document.clone();
            Ok::<_, ApplyError>(Kept { document, reqids })
        };
        *in_force = self.store.replace_plan(actor, owner_time(), decide).await?;
        Ok(self.take_over(prepared))
    }

    /// Makes what another controller kept what the gateways should run.
    ///
    /// # Errors
    ///
    /// [`ApplyError`]; the plan before stays in force here.
    async fn follow_plan(&self) -> Result<(), ApplyError> {
        let mut in_force = self.in_force.lock().await;
        let kept = self.store.plan().await?;
        if kept != *in_force {
            let plan = Plan::try_from(&kept.document)?;
            let prepared = self.fleet().prepare(&plan, &kept.reqids)?;
            *in_force = kept;
            self.take_over(Some(prepared));
        }
        Ok(())
    }

    /// Takes in what was changed in the store, by whomever.
    ///
    /// # Errors
    ///
    /// [`ApplyError`]; what was in force stays so here.
    pub(crate) async fn follow(&self, changed: Changed) -> Result<(), ApplyError> {
        match changed {
            Changed::Plan => self.follow_plan().await,
            Changed::Device(serial) => {
                if let Some(device) = self.store.device(&serial).await? {
                    self.trust(&device);
                }
                Ok(())
            }
            Changed::Anything => {
                self.admit_all().await?;
                self.follow_plan().await
            }
        }
    }

    /// Takes the nodes of all devices in.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(crate) async fn admit_all(&self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let devices = self.store.devices(after.as_ref()).await?;
            let Some(last) = devices.last() else {
                return Ok(());
            };
            after = Some(last.serial().clone());
            for device in &devices {
                self.trust(device);
            }
        }
    }

    /// Takes a device's node in; where the device is not trusted, its peers lose it at once.
    fn trust(&self, device: &Device) {
        let trust = match device.state() {
            State::Expected | State::Enrolled => Trust::Given,
            State::Quarantined(_) | State::Revoked | State::Released | State::Retired => {
                Trust::Withheld
            }
        };
        let node = device.node();
        let changed = {
            let mut fleet = self.fleet();
            fleet.admit(node);
            fleet.withhold(node, trust)
        };
        if changed {
            let words = match trust {
                Trust::Given => "its peers may have it again",
                Trust::Withheld => "its peers lose it",
            };
            self.tell(node, &format!("is {}: {words}", device.state()));
            self.tell_watchers();
        }
    }

    fn take_over(&self, prepared: Option<Prepared>) -> u64 {
        let version = {
            let mut fleet = self.fleet();
            if let Some(prepared) = prepared {
                fleet.apply(prepared);
            }
            fleet.version
        };
        self.tell_watchers();
        version
    }

    /// Looks at the fleet; the guard is dropped before anything is awaited.
    pub(crate) fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says when the fleet has changed.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// A gateway has called home; returns its session's number and what it should run, or `None`
    /// for a stranger.
    pub(crate) fn connected(
        &self,
        node: &NodeId,
        address: SocketAddr,
    ) -> Option<(u64, watch::Receiver<Arc<Desired>>)> {
        let mut fleet = self.fleet();
        let number = fleet.connected(node, address)?;
        let desired = fleet.nodes.get(node)?.desired.subscribe();
        Some((number, desired))
    }

    pub(crate) fn disconnected(&self, node: &NodeId, number: u64, why: &str) {
        journal::log(Level::Info, format_args!("{node}: {}", why.escape_debug()));
        self.fleet().disconnected(node, number, why);
        self.tell_watchers();
    }

    pub(crate) fn noticed(&self, node: &NodeId, notice: &Notice) {
        self.fleet().noticed(node, notice);
        self.tell_watchers();
    }

    pub(crate) fn observed(&self, node: &NodeId, data: Data) {
        self.fleet().observed(node, data);
        self.tell_watchers();
    }

    pub(crate) fn configured(&self, node: &NodeId, configuration: Configuration) {
        self.fleet().configured(node, configuration);
        self.tell_watchers();
    }

    pub(crate) fn leased(&self, node: &NodeId, length: Duration) {
        self.fleet().leased(node, length);
    }

    /// Notes what a gateway did that it should not have, for the owner to see.
    pub(crate) fn tell(&self, node: &NodeId, words: &str) {
        journal::log(
            Level::Warn,
            format_args!("{node}: {}", words.escape_debug()),
        );
        self.fleet().tell(node, words);
    }

    pub(crate) fn count(&self, name: &'static str) {
        self.fleet().count(name);
    }

    fn tell_watchers(&self) {
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}
