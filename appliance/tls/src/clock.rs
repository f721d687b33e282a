//! The clock by which certificates are judged, in this one place.
//!
//! It is the system's, which the time service sets. The engine never asks it: what keys may be
//! derived hangs on leases, and those are judged by the boot-time clock. A certificate taken for
//! valid because the clock was set back thus gives a link, and no key. Once peers' certificates are
//! judged by owner time (the lease's `iat` and the time since its nonce), it is done here.

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// The system's clock.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl TimeProvider for SystemClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::now())
    }
}
