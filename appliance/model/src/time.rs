//! The one clock of the engine.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment, as the time since boot, sleep included (`CLOCK_BOOTTIME`).
///
/// It never steps and nobody can set it, so leases and deadlines are judged by it alone.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct BootTime(pub Duration);

impl BootTime {
    /// The moment `wait` after this one; the end of time where there is none.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }

    /// How long ago `earlier` was; zero if it is still to come.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
