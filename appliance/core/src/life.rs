//! What a tunnel knows of one generation beside its state: times, names, what is under way.

use std::collections::BTreeMap;

use bartizan_model::ids::Spi;
use bartizan_model::message::SaId;
use bartizan_model::policy::Direction;
use bartizan_model::report::{QkdRefusal, SourceSet};
use bartizan_model::time::BootTime;

use crate::lifetime::Span;

/// One generation's times and names.
#[derive(Debug, Default)]
pub(crate) struct Life {
    /// Our inbound SPI, while it is taken.
    pub(crate) inbound_spi: Option<Spi>,
    /// The peer's, while it is taken.
    pub(crate) outbound_id: Option<SaId>,
    /// The inbound SA's time.
    pub(crate) inbound: Span,
    /// The outbound SA's.
    pub(crate) outbound: Span,
    /// When it began to send.
    pub(crate) since: Option<BootTime>,
    /// What its key is made of.
    pub(crate) sources: Option<SourceSet>,
    /// Why no QKD key is among them, though the policy names QKD.
    pub(crate) without: Option<QkdRefusal>,
    /// When a successor is wanted.
    pub(crate) soft_at: Option<BootTime>,
    /// When it can wait no longer for want of QKD keys.
    pub(crate) late_at: Option<BootTime>,
    /// When the outbound SA has settled.
    pub(crate) settle_at: Option<BootTime>,
    /// When the inbound SA has drained.
    pub(crate) drain_at: Option<BootTime>,
    /// When to ask the peer for a later end.
    pub(crate) ask_at: Option<BootTime>,
    /// When the peer was last asked.
    pub(crate) ask_from: Option<BootTime>,
    /// When the peer was asked; until it answers.
    pub(crate) asked: Option<BootTime>,
    /// The peer asked, and gets its answer when the kernel has extended the inbound SA.
    pub(crate) reply_due: bool,
    /// When the peer last got an answer.
    pub(crate) replied: Option<BootTime>,
    /// SAs that are to leave the kernel.
    pub(crate) removals: BTreeMap<Direction, Removal>,
}

/// An SA that is to leave the kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Removal {
    pub(crate) id: SaId,
    /// When to order it again; `None` while an order is on its way.
    pub(crate) again: Option<BootTime>,
}

impl Life {
    /// The SA's time.
    pub(crate) fn span(&mut self, direction: Direction) -> &mut Span {
        match direction {
            Direction::Inbound => &mut self.inbound,
            Direction::Outbound => &mut self.outbound,
        }
    }

    /// The earliest time at which something is to be done for certain; the ends of SAs that may or
    /// may not stand are the caller's.
    pub(crate) fn due(&self) -> Option<BootTime> {
        [self.settle_at, self.drain_at, self.ask_at]
            .into_iter()
            .chain(self.removals.values().map(|removal| removal.again))
            .flatten()
            .min()
    }
}

/// Takes the time out if it has come.
pub(crate) fn take_due(at: &mut Option<BootTime>, now: BootTime) -> bool {
    let due = at.is_some_and(|at| at <= now);
    if due {
        *at = None;
    }
    due
}
