//! Somebody touches gateway B: how long its keys and both ends' SAs live on, and that a clean boot brings it back.

use std::time::{Duration, Instant};

use super::{
    machine::Machine,
    report::{Promise, Tampering},
    scene::{BOOT, Stage, millis},
    word::Word,
};
use crate::testbed::{fleet::protects, topology::Side};
use bartizan_controller::status::Status;

/// What the deadline has beside one attestation interval.
const GRACE: Duration = Duration::from_secs(2);

/// An attestation interval is drawn from its cadence, a fifth more or less.
pub(super) fn deadline(cadence: Duration) -> Duration {
    cadence + cadence / 5 + GRACE
}

/// Touches B, waits until nothing is left at either end, cuts B's power and boots it by `boot`; returns it, too.
pub(super) fn play(
    stage: &mut Stage<'_>,
    a: &Machine,
    mut b: Machine,
    cadence: Duration,
    boot: impl FnOnce() -> Machine,
) -> (Tampering, Machine) {
    stage.step("touching gateway B: a process outside the appliance extends PCR 11");
    a.forget();
    let touched = b.tamper();
    let limit = deadline(cadence) * 2;
    let after = |time: Option<Instant>| time.map(|time| millis(time.duration_since(touched)));
    let of_b = b.hear_until(limit, &[Word::Associations(0), Word::KeysGone]);
    let of_a = a.hear_until(limit, &[Word::Associations(0)]);
    let (associations, keys, peer) = (after(of_b[0]), after(of_b[1]), after(of_a[0]));
    let text =
        |time: Option<u64>| time.map_or_else(|| "never".to_owned(), |time| format!("{time} ms"));
    stage.step(&format!(
        "B's SAs gone after {}, its keys' process after {}, A's SAs after {}",
        text(associations),
        text(keys),
        text(peer)
    ));

    stage.step("cutting B's power and booting it clean");
    let leases = |status: &Status| status.nodes[1].leases;
    let before = leases(&stage.status());
    let began = Instant::now();
    drop(b);
    let b = boot();
    stage.look_at(Side::B, &b);
    stage.until(BOOT, "B attested again, both tunnels protect", |status| {
        leases(status) > before && status.tunnels.iter().all(|tunnel| protects(tunnel, 1))
    });
    let tampering = Tampering {
        deadline: millis(deadline(cadence)),
        associations,
        keys,
        peer,
        back: millis(began.elapsed()),
    };
    (tampering, b)
}

impl Tampering {
    /// Whether all of it was gone in time.
    pub(super) fn promise(&self) -> Promise {
        let all = [self.associations, self.keys, self.peer];
        let last = all.into_iter().max().flatten();
        let whole = all.iter().all(Option::is_some);
        Promise {
            text: "a gateway that is touched has no keys, and neither end an SA, one attestation interval and 2 s later"
                .to_owned(),
            held: whole && last <= Some(self.deadline),
            measured: format!("the last after {} ms of {} ms", last.unwrap_or(0), self.deadline),
        }
    }
}
