//! What is thought of a link, from what comes over it: a pure state machine, one for each KME and
//! peer.
//!
//! Every event moves a score: what speaks against the link up, a key that is in order down. A link is
//! degraded from [`DEGRADED`] on and healthy again only at nothing; it is refused from [`REFUSED`] on,
//! and used again only below [`TRUSTED_AGAIN`]. So a link between two opinions keeps the one it has.

use core::time::Duration;
use std::collections::VecDeque;

use bartizan_model::report::{Latency, LinkReason, LinkState, QkdRefusal};
use bartizan_model::time::BootTime;

/// A link with so much against it is degraded.
pub(crate) const DEGRADED: u32 = 4;
/// One with so much is not used.
pub(crate) const REFUSED: u32 = 14;
/// One that was refused and has less than this is used again.
pub(crate) const TRUSTED_AGAIN: u32 = 8;
/// The most that is held against a link.
const SCORE_MAX: u32 = 20;

/// A key that no honest KME gives.
const BAD_KEY: u32 = 4;
/// A request that brought nothing.
const FAILURE: u32 = 2;
/// A key that the peer made no use of: more than it counted for when it came.
const UNUSED: u32 = 3;
/// An answer that came late, beside its key.
const LATE: u32 = 3;
/// What a key in order takes away.
const GOOD: u32 = 2;

/// An answer that takes longer is late.
const LATE_FROM: Duration = Duration::from_secs(1);
/// A key that is older was not made for this use.
const AGE_MAX: Duration = Duration::from_hours(24);
/// How often a link is tried that is refused, or that a better one stands in for.
const TRIAL_GAP: Duration = Duration::from_secs(2);
/// Answers whose latency is remembered.
const LATENCIES: usize = 64;

/// What happened on a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    /// A key came that is in order.
    Given {
        /// How long it took.
        took: Duration,
        /// How old it is, where the KME says so.
        age: Option<Duration>,
    },
    /// A request brought no key.
    Failed(QkdRefusal),
    /// The peer made no use of a key.
    Unused,
}

/// The opinion on one link.
#[derive(Debug)]
pub(crate) struct Health {
    state: LinkState,
    score: u32,
    /// What was held against it last.
    reason: Option<LinkReason>,
    /// What an order gets that it is not used for.
    refusal: QkdRefusal,
    /// When it may be tried although it is refused.
    trial: BootTime,
    latencies: VecDeque<u32>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            state: LinkState::Healthy,
            score: 0,
            reason: None,
            refusal: QkdRefusal::Unavailable,
            trial: BootTime::default(),
            latencies: VecDeque::new(),
        }
    }
}

impl Health {
    /// Takes notice of an event.
    pub(crate) fn happen(&mut self, event: Event, now: BootTime) {
        match event {
            Event::Given { took, age } => {
                self.remember(took);
                self.score = self.score.saturating_sub(GOOD);
                // The next trial follows at once.
                self.trial = now;
                if age.is_some_and(|age| age > AGE_MAX) {
                    self.hold(BAD_KEY, LinkReason::Stale, QkdRefusal::BadReply, now);
                } else if took > LATE_FROM {
                    self.hold(LATE, LinkReason::Slow, QkdRefusal::TimedOut, now);
                }
            }
            Event::Failed(refusal) => {
                if let Some((weight, reason)) = judged(refusal) {
                    self.hold(weight, reason, refusal, now);
                }
            }
            Event::Unused => {
                self.hold(
                    UNUSED,
                    LinkReason::PeerWithout,
                    QkdRefusal::Unavailable,
                    now,
                );
            }
        }
        self.state = match (self.state, self.score) {
            (_, REFUSED..) => LinkState::Refused,
            (LinkState::Refused, TRUSTED_AGAIN..) => LinkState::Refused,
            (_, DEGRADED..) => LinkState::Degraded,
            (LinkState::Healthy, _) | (_, 0) => LinkState::Healthy,
            (LinkState::Degraded | LinkState::Refused, _) => LinkState::Degraded,
        };
    }

    /// Whether an order may be worked on over this link.
    ///
    /// # Errors
    ///
    /// Why it is refused at once.
    pub(crate) fn admit(&mut self, now: BootTime) -> Result<(), QkdRefusal> {
        if self.state == LinkState::Healthy {
            return Ok(());
        }
        let due = self.trial <= now;
        if due {
            self.trial = now.after(TRIAL_GAP);
        }
        if due || self.state == LinkState::Degraded {
            Ok(())
        } else {
            Err(self.refusal)
        }
    }

    /// What the link counts as beside others: one that is due for a trial as a healthy one, or it
    /// would never be known that it is good again.
    pub(crate) fn rank(&self, now: BootTime) -> LinkState {
        if self.trial <= now {
            LinkState::Healthy
        } else {
            self.state
        }
    }

    /// What is thought of the link.
    pub(crate) fn state(&self) -> LinkState {
        self.state
    }

    /// Why not more.
    pub(crate) fn reason(&self) -> Option<LinkReason> {
        self.reason.filter(|_| self.state != LinkState::Healthy)
    }

    /// How long answers took lately.
    pub(crate) fn latency(&self) -> Option<Latency> {
        let mut sorted: Vec<u32> = self.latencies.iter().copied().collect();
        sorted.sort_unstable();
        let part = |percent: usize| {
            let last = sorted.len().checked_sub(1)?;
            let rank = last.checked_mul(percent)?.div_ceil(100);
            sorted.get(rank).copied()
        };
        Some(Latency {
            p50: part(50)?,
            p99: part(99)?,
        })
    }

    fn hold(&mut self, weight: u32, reason: LinkReason, refusal: QkdRefusal, now: BootTime) {
        self.score = self.score.saturating_add(weight).min(SCORE_MAX);
        self.reason = Some(reason);
        self.refusal = refusal;
        self.trial = self.trial.max(now.after(TRIAL_GAP));
    }

    fn remember(&mut self, took: Duration) {
        if self.latencies.len() >= LATENCIES {
            self.latencies.pop_front();
        }
        let millis = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        self.latencies.push_back(millis);
    }
}

/// What a refusal says about the link; nothing where it is this gateway's own.
fn judged(refusal: QkdRefusal) -> Option<(u32, LinkReason)> {
    Some(match refusal {
        QkdRefusal::Unreachable => (FAILURE, LinkReason::Unreachable),
        QkdRefusal::TimedOut => (FAILURE, LinkReason::Slow),
        QkdRefusal::BadRequest | QkdRefusal::BadReply => (FAILURE, LinkReason::BadReplies),
        QkdRefusal::Unauthorized => (FAILURE, LinkReason::Unauthorized),
        QkdRefusal::Unavailable => (FAILURE, LinkReason::Exhausted),
        QkdRefusal::WrongKeyId => (BAD_KEY, LinkReason::OutOfOrder),
        QkdRefusal::WrongLength => (BAD_KEY, LinkReason::ShortKeys),
        QkdRefusal::ZeroKey => (BAD_KEY, LinkReason::ZeroKeys),
        QkdRefusal::RepeatedKey => (BAD_KEY, LinkReason::RepeatedKeys),
        QkdRefusal::Busy
        | QkdRefusal::LockedMemory
        | QkdRefusal::Budget
        | QkdRefusal::PeerWithout => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIVEN: Event = Event::Given {
        took: Duration::from_millis(5),
        age: Some(Duration::ZERO),
    };

    fn at(millis: u64) -> BootTime {
        BootTime(Duration::from_millis(millis))
    }

    /// The state after each of these events.
    fn states(health: &mut Health, events: &[Event]) -> Vec<LinkState> {
        events
            .iter()
            .map(|event| {
                health.happen(*event, at(0));
                health.state()
            })
            .collect()
    }

    #[test]
    fn each_kind_of_trouble_has_its_way_down() {
        use LinkState::{Degraded as D, Healthy as H, Refused as R};
        let failed = |refusal| [Event::Failed(refusal); 7];
        for (events, way, reason) in [
            (
                failed(QkdRefusal::Unreachable),
                [H, D, D, D, D, D, R],
                LinkReason::Unreachable,
            ),
            (
                failed(QkdRefusal::TimedOut),
                [H, D, D, D, D, D, R],
                LinkReason::Slow,
            ),
            (
                failed(QkdRefusal::Unavailable),
                [H, D, D, D, D, D, R],
                LinkReason::Exhausted,
            ),
            (
                failed(QkdRefusal::Unauthorized),
                [H, D, D, D, D, D, R],
                LinkReason::Unauthorized,
            ),
            (
                failed(QkdRefusal::BadReply),
                [H, D, D, D, D, D, R],
                LinkReason::BadReplies,
            ),
            (
                failed(QkdRefusal::ZeroKey),
                [D, D, D, R, R, R, R],
                LinkReason::ZeroKeys,
            ),
            (
                failed(QkdRefusal::RepeatedKey),
                [D, D, D, R, R, R, R],
                LinkReason::RepeatedKeys,
            ),
            (
                failed(QkdRefusal::WrongLength),
                [D, D, D, R, R, R, R],
                LinkReason::ShortKeys,
            ),
            (
                failed(QkdRefusal::WrongKeyId),
                [D, D, D, R, R, R, R],
                LinkReason::OutOfOrder,
            ),
            (
                [Event::Unused; 7],
                [H, D, D, D, R, R, R],
                LinkReason::PeerWithout,
            ),
        ] {
            let mut health = Health::default();
            assert_eq!(states(&mut health, &events), way, "{reason:?}");
            assert_eq!(health.reason(), Some(reason));
        }
        let mut own = Health::default();
        states(&mut own, &failed(QkdRefusal::LockedMemory));
        assert_eq!((own.state(), own.reason()), (H, None));
    }

    #[test]
    fn a_link_that_gives_keys_that_the_peer_never_uses_is_found_out() {
        let mut health = Health::default();
        for _ in 0..20 {
            states(&mut health, &[GIVEN, Event::Unused]);
        }
        assert_eq!(health.state(), LinkState::Refused);
        assert_eq!(health.reason(), Some(LinkReason::PeerWithout));
    }

    #[test]
    fn slow_answers_and_recorded_keys_are_found_out_although_they_are_keys() {
        let given = |seconds, age| Event::Given {
            took: Duration::from_secs(seconds),
            age: Some(Duration::from_hours(age)),
        };
        for (event, reason) in [
            (given(2, 0), LinkReason::Slow),
            (given(0, 25), LinkReason::Stale),
        ] {
            let mut health = Health::default();
            states(&mut health, &[event; 14]);
            assert_ne!(health.state(), LinkState::Healthy);
            assert_eq!(health.reason(), Some(reason));
        }
        let mut health = Health::default();
        states(&mut health, &[given(1, 24); 50]);
        assert_eq!(health.state(), LinkState::Healthy);
    }

    #[test]
    fn the_way_up_is_longer_than_the_way_down() {
        use LinkState::{Degraded as D, Healthy as H, Refused as R};
        let mut health = Health::default();
        states(&mut health, &[Event::Failed(QkdRefusal::ZeroKey); 4]);
        let way = states(&mut health, &[GIVEN; 9]);
        assert_eq!(way, [R, R, R, R, D, D, D, H, H]);
        let swing = [GIVEN, Event::Failed(QkdRefusal::Unavailable)];
        let mut steady = Health::default();
        states(&mut steady, &[Event::Failed(QkdRefusal::ZeroKey); 2]);
        for _ in 0..50 {
            assert_eq!(states(&mut steady, &swing), [D, D], "it does not flap");
        }
    }

    #[test]
    fn a_refused_link_is_tried_now_and_then_and_at_once_after_a_key() {
        let mut health = Health::default();
        for _ in 0..7 {
            health.happen(Event::Failed(QkdRefusal::Unavailable), at(1000));
        }
        assert_eq!(health.admit(at(1000)), Err(QkdRefusal::Unavailable));
        assert_eq!(health.admit(at(3000)), Ok(()));
        assert_eq!(health.admit(at(3001)), Err(QkdRefusal::Unavailable));
        health.happen(GIVEN, at(3100));
        assert_eq!(health.state(), LinkState::Refused);
        assert_eq!(health.admit(at(3100)), Ok(()));
    }

    #[test]
    fn latencies_are_of_the_last_answers() {
        let mut health = Health::default();
        assert_eq!(health.latency(), None);
        for millis in 1..=1000 {
            let took = Duration::from_millis(millis);
            health.happen(Event::Given { took, age: None }, at(0));
        }
        let latency = health.latency().unwrap();
        assert_eq!((latency.p50, latency.p99), (969, 1000));
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(GIVEN),
            1 => Just(Event::Failed(QkdRefusal::Unreachable)),
            1 => Just(Event::Failed(QkdRefusal::RepeatedKey)),
            1 => Just(Event::Unused),
        ]
    }

    proptest! {
        /// No history keeps a link down that gives keys, nor up one that gives none.
        #[test]
        fn every_history_is_forgiven_and_no_failure_is_endured(
            history in proptest::collection::vec(event(), 0..100),
        ) {
            let mut health = Health::default();
            states(&mut health, &history);
            let ups = states(&mut health, &[GIVEN; 10]);
            prop_assert_eq!(ups.last(), Some(&LinkState::Healthy));
            states(&mut health, &history);
            let downs = states(&mut health, &[Event::Failed(QkdRefusal::Unreachable); 7]);
            prop_assert_eq!(downs.last(), Some(&LinkState::Refused));
            prop_assert!(health.reason().is_some());
        }

        /// Between two states that differ there is always more than one event's worth of reasons.
        #[test]
        fn one_event_never_leads_from_healthy_to_refused(
            history in proptest::collection::vec(event(), 1..200),
        ) {
            let mut health = Health::default();
            let mut before = LinkState::Healthy;
            for event in history {
                health.happen(event, at(0));
                prop_assert!(before != LinkState::Healthy || health.state() != LinkState::Refused);
                prop_assert!(before != LinkState::Refused || health.state() != LinkState::Healthy);
                before = health.state();
            }
        }
    }
}
