//! How long everything waits: each a starting value to be measured in the field.

use core::time::Duration;

/// For the KME's reply; a required key that comes later is no key, an optional one is gone without.
pub(crate) const QKD_WAIT: Duration = Duration::from_secs(3);

/// Between two reports on QKD keys.
pub(crate) const QKD_REPORT_GAP: Duration = Duration::from_secs(1);

/// Before an SA's end, so long is left to a successor that was put off for want of keys.
pub(crate) const LATE_MARGIN: Duration = Duration::from_secs(30);

/// For offer and answer: both ends' KMEs may take [`QKD_WAIT`].
pub(crate) const SOURCES_WAIT: Duration = Duration::from_secs(10);

/// For the peer's tag.
pub(crate) const CONFIRM_WAIT: Duration = Duration::from_secs(5);

/// For the kernel's acknowledgement of an SA.
pub(crate) const KERNEL_WAIT: Duration = Duration::from_secs(5);

/// For the peer's inbound SA, counted only while its link stands.
pub(crate) const PEER_WAIT: Duration = Duration::from_secs(10);

/// Between the new outbound SA and the removal of the old one. The kernel sends under the SA with the
/// younger `add_time`, which counts whole seconds: until more than one has passed, and until a packet
/// that is being sent has left, the old one may still be used, and a packet under a removed SA is
/// lost.
pub const SETTLE: Duration = Duration::from_millis(1500);

/// Between the peer's `Switched` and the removal of the old inbound SA, for packets that were
/// overtaken on the way.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Between two orders to remove the same SA, if the first had no clear answer.
pub(crate) const REMOVE_RETRY: Duration = Duration::from_secs(1);

/// The first wait after a failed generation; it doubles with each further one.
pub(crate) const RETRY_MIN: Duration = Duration::from_secs(1);

/// The longest wait after a failed generation.
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(30);

/// Between the beginnings of two generations that worked.
pub(crate) const REKEY_GAP: Duration = Duration::from_secs(1);

/// For the initiator to begin by itself, and between two `RekeyWanted`.
pub(crate) const RESPONDER_PATIENCE: Duration = Duration::from_secs(3);

/// For a link, until its absence is an alarm.
pub(crate) const LINK_PATIENCE: Duration = Duration::from_secs(10);

/// Within which adopted pairs are replaced after a restart.
pub(crate) const ADOPTED_LIFE: Duration = Duration::from_secs(15);

/// What the kernel's whole seconds and the way into the kernel may take off or add to a lifetime.
pub(crate) const LIFETIME_SLACK: Duration = Duration::from_secs(1);

/// A lifetime that is shorter is not worth an SA.
pub(crate) const LIFETIME_MIN: Duration = Duration::from_secs(4);

/// Between two questions to the peer for a later end.
pub(crate) const ASK_GAP: Duration = Duration::from_secs(2);

/// Over the longest such time the SAs of all tunnels ask, once a lease was renewed: of a thousand
/// tunnels a hundred a second.
pub(crate) const RENEWAL_SPREAD: Duration = Duration::from_secs(10);

/// Between two answers to such a question; a peer that asks sooner is not honest.
pub(crate) const ASK_GAP_MIN: Duration = Duration::from_secs(1);

/// After an SA's end, for the kernel's own word.
pub(crate) const EXPIRE_PATIENCE: Duration = Duration::from_secs(2);

/// For xfrm to take all SAs out, until the loss of the lease is reported in any case.
pub(crate) const FLUSH_WAIT: Duration = Duration::from_secs(2);
