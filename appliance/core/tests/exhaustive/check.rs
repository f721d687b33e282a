//! What must hold after every event, and where nothing is under way.

use std::collections::BTreeSet;

use bartizan_core::generation::State;
use bartizan_core::pair::Place;
use bartizan_core::wheel::GENERATIONS_MAX;
use bartizan_model::ids::{Epoch, Spi};
use bartizan_model::policy::Direction;

use crate::world::World;

impl World {
    /// I1 to I3.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (who, end) in self.ends.iter().enumerate() {
            let peer = &self.ends[1 - who];
            for (_, spi) in end
                .kernel
                .iter()
                .filter(|(direction, _)| *direction == Direction::Outbound)
            {
                let taken = peer.kernel.contains(&(Direction::Inbound, *spi));
                if !taken && !peer.revoked.contains(spi) {
                    return Err(format!(
                        "I1: end {who} sends under {spi}, which its peer does not take"
                    ));
                }
            }
            if end.wheel.generations().len() > GENERATIONS_MAX {
                return Err(format!("I3: end {who} has too many generations"));
            }
            let senders = end
                .kernel
                .iter()
                .filter(|(direction, _)| *direction == Direction::Outbound);
            if senders.count() > 2 {
                return Err(format!(
                    "I3: end {who} has more than the old and the new outbound SA"
                ));
            }
        }
        for one in self.ends[0].wheel.generations() {
            for other in self.ends[1].wheel.generations() {
                let keyed = State::KeyConfirmed..State::Deleted;
                if one.epoch == other.epoch
                    && one.epoch != Epoch(0)
                    && keyed.contains(&one.state)
                    && keyed.contains(&other.state)
                    && (crosses(one.outbound.spi, other.inbound.spi)
                        || crosses(one.inbound.spi, other.outbound.spi))
                {
                    return Err(format!(
                        "I2: epoch {} is not the same pair at both ends",
                        one.epoch
                    ));
                }
            }
        }
        Ok(())
    }

    /// Nothing is under way and no fault comes: what stands must be of use.
    pub(crate) fn check_rest(&self) -> Result<(), String> {
        for (who, end) in self.ends.iter().enumerate() {
            if let Some(next) = end.wheel.next() {
                // Its deadline gives it up.
                if next.state == State::InboundInstalled || next.state < State::KeyConfirmed {
                    continue;
                }
                return Err(format!("I5: end {who} waits for ever"));
            }
            if !end.wheel.has_room() {
                return Err(format!("I5: end {who} has no room for a successor"));
            }
            let settled = end.wheel.current().is_some();
            for generation in end.wheel.generations() {
                let used = self.ends[1 - who].kernel.iter().any(|(direction, spi)| {
                    *direction == Direction::Outbound && generation.inbound.spi == Some(*spi)
                });
                let sends = generation.state == State::OutboundSwitched;
                if settled && !used && !sends && self.ends[1 - who].wheel.current().is_some() {
                    return Err(format!(
                        "I5: end {who} keeps epoch {} for nothing",
                        generation.epoch
                    ));
                }
            }
            let known = end.wheel.generations().iter();
            let known: BTreeSet<_> = known
                .flat_map(|g| {
                    [
                        (Direction::Inbound, g.inbound),
                        (Direction::Outbound, g.outbound),
                    ]
                })
                .filter(|(_, sa)| sa.place == Place::Stands)
                .filter_map(|(direction, sa)| Some((direction, sa.spi?)))
                .collect();
            if end.wheel.orphans().is_empty() && known != end.kernel {
                return Err(format!("I5: end {who} and its kernel disagree"));
            }
        }
        Ok(())
    }
}

fn crosses(one: Option<Spi>, other: Option<Spi>) -> bool {
    one.is_some() && other.is_some() && one != other
}
