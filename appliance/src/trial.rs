//! The trial of a network: it stays if the controller is reached over it, and goes if not.
//!
//! Without a socket or a clock: what happened goes in, what is to be done comes out.
//!
//! A session counts only if it began after the interfaces had the network: one over the network
//! before proves nothing. So the trial begins when they have it, control is told to call anew, and
//! only what comes after its answer is believed.

use core::time::Duration;

use bartizan_model::ownership::SiteNetwork;
use bartizan_model::report::NetworkState;
use bartizan_model::time::BootTime;
use serde::{Deserialize, Serialize};

/// How long the controller may be out of reach before a network that is not known to work goes.
pub const LIMIT: Duration = Duration::from_mins(1);

/// What is to be done next, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// Configure the interfaces so; none: as the image does.
    Apply(Option<SiteNetwork>),
    /// Have control leave its session and call again.
    CallAnew,
    /// Remember that this one works.
    Settle(SiteNetwork),
    /// Remember that this one does not.
    Refuse(Refused),
    /// Remember neither.
    Forget,
}

/// A network over which the controller was not reached.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// The network.
    pub network: SiteNetwork,
    /// When it was refused, by the clock of that boot.
    pub at: BootTime,
}

/// The networks that are known, and the trial.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    settled: Option<SiteNetwork>,
    refused: Option<Refused>,
    /// What is tried.
    candidate: Option<SiteNetwork>,
    stage: Stage,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    /// The owner wants none.
    #[default]
    Image,
    /// What the owner wants works.
    Settled,
    /// The files are written; since when the controller is out of reach.
    Written(BootTime),
    /// The interfaces have it, until then at the latest; control is told to call anew.
    Applied(BootTime),
    /// The same, and control calls anew: the next session counts.
    Called(BootTime),
    /// What worked is written down again.
    Returning,
    /// The interfaces have what worked.
    Returned,
}

impl Trial {
    /// Takes what earlier boots have found out.
    pub fn new(settled: Option<SiteNetwork>, refused: Option<Refused>) -> Self {
        Self {
            settled,
            refused,
            ..Self::default()
        }
    }

    /// The owner wants this network. One that works is taken. One that does not is tried again in a
    /// later boot, when the site may have been mended, and not before: a boot whose clock is behind
    /// is a later one. One that speaks of no interface leaves them to the image.
    pub fn begin(&mut self, now: BootTime, wanted: &SiteNetwork) -> Vec<Change> {
        let refused = self.refused.as_ref();
        let waits = refused.is_some_and(|refused| refused.network == *wanted && refused.at <= now);
        let known = wanted.interfaces.is_empty() || self.settled.as_ref() == Some(wanted);
        if known || waits {
            return self.stay(wanted);
        }
        self.candidate = Some(wanted.clone());
        self.stage = Stage::Written(now);
        vec![Change::Apply(self.candidate.clone())]
    }

    /// The owner wants this network, and nothing is tried: what worked is taken.
    pub fn stay(&mut self, wanted: &SiteNetwork) -> Vec<Change> {
        if wanted.interfaces.is_empty() {
            self.stage = Stage::Image;
            return vec![Change::Apply(None)];
        }
        self.stage = if self.settled.as_ref() == Some(wanted) {
            Stage::Settled
        } else {
            Stage::Returned
        };
        vec![Change::Apply(self.settled.clone())]
    }

    /// Whether it is waited for that the interfaces have what was applied last.
    pub fn awaits_application(&self) -> bool {
        matches!(self.stage, Stage::Written(_) | Stage::Returning)
    }

    /// The interfaces have what was applied last.
    pub fn applied(&mut self, now: BootTime) -> Vec<Change> {
        if !self.awaits_application() {
            return Vec::new();
        }
        self.stage = if self.stage == Stage::Returning {
            Stage::Returned
        } else {
            Stage::Applied(now.after(LIMIT))
        };
        vec![Change::CallAnew]
    }

    /// Sessions that stand from here on began after the order to call anew.
    pub fn called_anew(&mut self) {
        if let Stage::Applied(end) = self.stage {
            self.stage = Stage::Called(end);
        }
    }

    /// A session with the controller stands.
    pub fn reached(&mut self, now: BootTime) -> Vec<Change> {
        if let Stage::Written(_) = self.stage {
            // Whoever has yet to tell the interfaces may take the time that this session gives.
            self.stage = Stage::Written(now);
        }
        let called = matches!(self.stage, Stage::Called(_));
        let Some(network) = self.candidate.take_if(|_| called) else {
            return Vec::new();
        };
        self.stage = Stage::Settled;
        self.settled = Some(network.clone());
        self.refused = None;
        vec![Change::Settle(network)]
    }

    /// Time has passed: what is on trial too long does not work, and what worked comes back.
    pub fn tick(&mut self, now: BootTime) -> Vec<Change> {
        let over = self.deadline().is_some_and(|end| now >= end);
        let Some(network) = self.candidate.take_if(|_| over) else {
            return Vec::new();
        };
        self.stage = Stage::Returning;
        let refused = Refused { network, at: now };
        self.refused = Some(refused.clone());
        vec![Change::Refuse(refused), Change::Apply(self.settled.clone())]
    }

    /// The owner is gone, and its network with it.
    pub fn end(&mut self) -> Vec<Change> {
        *self = Self::default();
        vec![Change::Forget, Change::Apply(None)]
    }

    /// When to look at the clock again.
    pub fn deadline(&self) -> Option<BootTime> {
        match self.stage {
            Stage::Written(since) => Some(since.after(LIMIT)),
            Stage::Applied(end) | Stage::Called(end) => Some(end),
            Stage::Image | Stage::Settled | Stage::Returning | Stage::Returned => None,
        }
    }

    /// How the owner's network stands.
    pub fn state(&self) -> NetworkState {
        match self.stage {
            Stage::Image => NetworkState::Image,
            Stage::Settled => NetworkState::Settled,
            Stage::Written(_) => NetworkState::Written,
            Stage::Applied(_) | Stage::Called(_) => NetworkState::OnTrial,
            Stage::Returning | Stage::Returned => NetworkState::RolledBack,
        }
    }
}
