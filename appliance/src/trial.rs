//! The trial of a network: it stays if the controller is reached by it, and goes if not.
//!
//! Without a socket or a clock: what happened goes in, what is to be done comes out.

use core::time::Duration;

use bartizan_model::ownership::SiteNetwork;
use bartizan_model::time::BootTime;

/// How long a network has to show that it works.
pub const LIMIT: Duration = Duration::from_mins(1);

/// What is to be done next, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// Configure the interfaces so; none: as the image does.
    Apply(Option<SiteNetwork>),
    /// Remember that this one works.
    Settle(SiteNetwork),
    /// Remember that this one does not.
    Refuse(SiteNetwork),
    /// Remember neither.
    Forget,
}

/// The networks that are known, and the trial.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    settled: Option<SiteNetwork>,
    refused: Option<SiteNetwork>,
    running: Option<(SiteNetwork, BootTime)>,
}

impl Trial {
    /// Takes what earlier boots have found out.
    pub fn new(settled: Option<SiteNetwork>, refused: Option<SiteNetwork>) -> Self {
        Self {
            settled,
            refused,
            running: None,
        }
    }

    /// The owner wants this network. One that works is taken; one that does not is not tried again;
    /// one that speaks of no interface leaves them to the image.
    pub fn begin(&mut self, now: BootTime, wanted: &SiteNetwork) -> Vec<Change> {
        if wanted.interfaces.is_empty() {
            return vec![Change::Apply(None)];
        }
        if self.refused.as_ref() == Some(wanted) {
            return vec![Change::Apply(self.settled.clone())];
        }
        if self.settled.as_ref() != Some(wanted) {
            self.running = Some((wanted.clone(), now.after(LIMIT)));
        }
        vec![Change::Apply(Some(wanted.clone()))]
    }

    /// A session with the controller stands: what is on trial works.
    pub fn reached(&mut self) -> Vec<Change> {
        let Some((network, _)) = self.running.take() else {
            return Vec::new();
        };
        self.settled = Some(network.clone());
        self.refused = None;
        vec![Change::Settle(network)]
    }

    /// Time has passed: what is on trial too long does not work, and what worked comes back.
    pub fn tick(&mut self, now: BootTime) -> Vec<Change> {
        match self.running.take_if(|(_, end)| now >= *end) {
            None => Vec::new(),
            Some((network, _)) => {
                self.refused = Some(network.clone());
                vec![Change::Refuse(network), Change::Apply(self.settled.clone())]
            }
        }
    }

    /// The owner is gone, and its network with it.
    pub fn end(&mut self) -> Vec<Change> {
        *self = Self::default();
        vec![Change::Forget, Change::Apply(None)]
    }

    /// When to look at the clock again.
    pub fn deadline(&self) -> Option<BootTime> {
        self.running.as_ref().map(|(_, end)| *end)
    }
}
