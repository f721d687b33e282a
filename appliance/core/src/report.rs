//! What a tunnel tells about itself.

use bartizan_model::ids::Epoch;
use bartizan_model::message::Side;
use bartizan_model::report::{Alarm, Mix, PairReport, SourceSet, TunnelReport, TunnelState};

use crate::tunnel::Tunnel;

/// What of a report changes; the rest follows from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Aspect {
    state: TunnelState,
    epoch: Option<Epoch>,
    alarm: Option<Alarm>,
    rekeys: u64,
}

impl Tunnel {
    /// What would be another report.
    pub(crate) fn aspect(&self) -> Aspect {
        Aspect {
            state: self.state(),
            epoch: self.wheel.current().map(|g| g.epoch),
            alarm: self.alarm,
            rekeys: self.rekeys,
        }
    }

    /// The tunnel as it stands.
    pub(crate) fn report(&self) -> TunnelReport {
        TunnelReport {
            entry: self.entry.name.clone(),
            tunnel: self.id(),
            peer: self.keying().peer.clone(),
            reqid: self.reqid(),
            state: self.state(),
            current: self.pair(),
            rekeys: self.rekeys,
            alarm: self.alarm,
        }
    }

    /// The pair that sends, if both its SAs are known.
    pub(crate) fn pair(&self) -> Option<PairReport> {
        let current = self.wheel.current()?;
        let life = self.lives.get(&current.epoch)?;
        Some(PairReport {
            epoch: current.epoch,
            inbound: current.inbound.spi?,
            outbound: current.outbound.spi?,
            sources: life.sources,
            since: life.since?,
        })
    }

    /// The sources of a key with their parameters.
    pub(crate) fn mix(&self, sources: SourceSet) -> Mix {
        let keying = self.keying();
        let kem = keying.kem.filter(|_| sources.kem);
        Mix {
            sources,
            parameter_set: kem.map(|kem| kem.parameter_set),
            combiner: keying.combiner,
        }
    }

    pub(crate) fn initiates(&self) -> bool {
        self.side == Side::Initiator
    }

    fn state(&self) -> TunnelState {
        match (self.wheel.current(), self.wheel.next()) {
            (None, None) => TunnelState::Blocked,
            (None, Some(_)) => TunnelState::Starting,
            (Some(_), None) => TunnelState::Protected,
            (Some(_), Some(_)) => TunnelState::Rekeying,
        }
    }
}
