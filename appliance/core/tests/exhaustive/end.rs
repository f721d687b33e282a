//! One end: a wheel, its kernel, and what is under way.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use bartizan_core::wheel::{Wheel, Word};
use bartizan_model::ids::{Epoch, Spi};
use bartizan_model::message::Standing;
use bartizan_model::policy::Direction;

/// One gateway, as far as one tunnel is concerned.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct End {
    pub(crate) wheel: Wheel,
    pub(crate) kernel: BTreeSet<(Direction, Spi)>,
    pub(crate) orders: VecDeque<Order>,
    pub(crate) settling: BTreeSet<Epoch>,
    pub(crate) draining: BTreeSet<Epoch>,
    pub(crate) connected: bool,
    pub(crate) heard: bool,
    pub(crate) told: bool,
    pub(crate) spis: u32,
    /// SAs that the controller's order took out: the peer may still send until it is told.
    pub(crate) revoked: BTreeSet<Spi>,
    /// What travels to this end.
    pub(crate) inbox: VecDeque<Message>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Order {
    Install(Epoch, Direction, Spi),
    Remove(Epoch, Direction, Spi),
    RemoveOrphan(Direction, Spi),
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Message {
    Resume {
        last: Epoch,
        standings: Vec<Standing>,
        reply: bool,
    },
    Offer(Epoch, Spi),
    Answer(Epoch, Spi),
    Confirm(Epoch),
    Word(Epoch, Word),
}

impl End {
    pub(crate) fn resumed(&self) -> bool {
        self.connected && self.heard && self.told
    }

    pub(crate) fn spi(&mut self) -> Spi {
        self.spis += 1;
        Spi::try_from(self.spis).unwrap()
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  connected {}, heard {}, told {}",
            self.connected, self.heard, self.told
        )?;
        for generation in self.wheel.generations() {
            writeln!(f, "  {generation:?}")?;
        }
        writeln!(f, "  orphans {:?}", self.wheel.orphans())?;
        writeln!(f, "  kernel {:?}, orders {:?}", self.kernel, self.orders)?;
        writeln!(
            f,
            "  settling {:?}, draining {:?}",
            self.settling, self.draining
        )?;
        writeln!(f, "  inbox {:?}", self.inbox)
    }
}
