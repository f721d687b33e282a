//! The clock of the loops.

use core::time::Duration;

use bartizan_model::time::BootTime;
use rustix::time::{ClockId, clock_gettime};

/// Reads `CLOCK_BOOTTIME`.
pub fn boot_time() -> BootTime {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
    BootTime(Duration::new(seconds, nanos))
}
