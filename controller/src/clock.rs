//! The owner's clock.

use std::time::UNIX_EPOCH;

use bartizan_evidence::lease::OwnerTime;

/// The moment by which leases, certificates and verdicts are dated.
pub(crate) fn owner_time() -> OwnerTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "the controller's clock is the owner's"
    )]
    let now = std::time::SystemTime::now();
    OwnerTime(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}
