//! A lease was renewed: SAs that can stand much longer ask for it soon.
//!
//! Each asks at a moment of its own, within a part of the time that it has left: a thousand tunnels
//! with one peer neither ask at once nor wait until half of that time is over.

use bartizan_model::ids::Epoch;
use bartizan_model::policy::Direction;
use bartizan_model::time::BootTime;

use crate::desk::Desk;
use crate::lifetime::Span;
use crate::succession::part;
use crate::times::{ASK_GAP, RENEWAL_SPREAD};
use crate::tunnel::Tunnel;

impl Tunnel {
    /// Our lease or the peer's was renewed.
    pub(crate) fn lease_renewed(&mut self, desk: &mut Desk<'_>) {
        let epochs: Vec<_> = self.lives.keys().copied().collect();
        for epoch in epochs {
            self.ask_soon(epoch, desk);
        }
    }

    /// Asks for a later end of an outbound SA soon, if the leases allow a much later one.
    pub(crate) fn ask_soon(&mut self, epoch: Epoch, desk: &mut Desk<'_>) {
        let stands = self.stands(epoch, Direction::Outbound);
        let (true, Some(gate)) = (stands, desk.gate()) else {
            return;
        };
        let Some(life) = self.lives.get_mut(&epoch) else {
            return;
        };
        if !gains_much(&life.outbound, gate.until, desk.now) {
            return;
        }
        let quarter = life.outbound.rest(desk.now).checked_div(4);
        let spread = RENEWAL_SPREAD.min(quarter.unwrap_or_default());
        let soon = desk.now.after(part(spread, desk.entropy));
        let soon = life
            .ask_from
            .map_or(soon, |from| soon.max(from.after(ASK_GAP)));
        life.ask_at = Some(life.ask_at.map_or(soon, |at| at.min(soon)));
    }
}

/// Whether a later end would be at least a quarter of what an SA has left then: the two leases of a
/// pair are renewed at their own times, and only one of two words moves their earlier end far.
fn gains_much(span: &Span, until: BootTime, now: BootTime) -> bool {
    span.later(until).is_some_and(|target| {
        let gain = target.since(now).saturating_sub(span.rest(now));
        gain.saturating_mul(4) >= target.since(now)
    })
}
