//! How often an operator may ask.

use core::time::Duration;
use std::collections::BTreeMap;

use bartizan_model::ids::NodeId;
use tokio::time::Instant;

/// The questions of each operator that still count.
#[derive(Debug, Default)]
pub(super) struct Rates(BTreeMap<NodeId, Window>);

#[derive(Debug)]
struct Window {
    began: Instant,
    asked: u32,
}

/// What counts together.
const WINDOW: Duration = Duration::from_secs(10);

/// Questions in a window.
const ASKED_MAX: u32 = 200;

impl Rates {
    /// Counts a question; false if there were too many.
    pub(super) fn admits(&mut self, operator: &NodeId) -> bool {
        let now = Instant::now();
        let over = |window: &Window| now.duration_since(window.began) >= WINDOW;
        // Nobody is remembered for longer than it counts.
        self.0.retain(|_, window| !over(window));
        let window = self.0.entry(operator.clone()).or_insert(Window {
            began: now,
            asked: 0,
        });
        window.asked = window.asked.saturating_add(1);
        window.asked <= ASKED_MAX
    }
}
