//! The clock by which certificates are judged, in this one place.
//!
//! On the owner's side it is the system's: that is what owner time is. A gateway does not believe
//! its own, which may show 1970 or whatever the network tells it. It judges by owner time, which a
//! lease has shown and the boot-time clock carries on. Before its first lease it knows a bound
//! below: nothing that ended before it is taken, and no certificate is refused for beginning after
//! it, because whoever signed the certificate knew that it was no earlier.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use bartizan_model::time::{BootTime, KnownTime};
use bartizan_process::boot_time;
use der::Decode as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::time_provider::TimeProvider;
use x509_cert::Certificate;

/// A clock by which certificates are judged; clones are one clock.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    System,
    Known(Mutex<KnownTime>),
}

impl Clock {
    /// The clock of the owner's side: the system's, which its operator keeps right.
    pub fn system() -> Self {
        Self(Arc::new(Source::System))
    }

    /// The clock of a gateway that knows this much.
    pub fn known(time: KnownTime) -> Self {
        Self(Arc::new(Source::Known(Mutex::new(time))))
    }

    /// Adds what else is known; it never goes back. Says nothing to the system's clock.
    pub fn learn(&self, time: KnownTime) {
        if let Source::Known(known) = &*self.0 {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            *known = known.and(time);
        }
    }

    /// The moment at which this chain is judged.
    pub(crate) fn judges(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
    ) -> UnixTime {
        match &*self.0 {
            Source::System => UnixTime::now(),
            Source::Known(known) => {
                let known = *known.lock().unwrap_or_else(PoisonError::into_inner);
                let begins = core::iter::once(leaf).chain(others).filter_map(begins);
                unix(judged(known, boot_time(), begins.max()))
            }
        }
    }
}

impl TimeProvider for Clock {
    /// What rustls itself asks for; certificates are judged by `Clock::judges`.
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.judges(&CertificateDer::from_slice(&[]), &[]))
    }
}

/// Owner time where it is known; else the earliest moment that is possible and at which all of a
/// chain's certificates, of which the last begins then, have begun.
fn judged(known: KnownTime, now: BootTime, begins: Option<u64>) -> u64 {
    let at_least = known.at_least(now);
    match known.owner {
        Some(_) => at_least,
        None => at_least.max(begins.unwrap_or_default()),
    }
}

/// When a certificate's time begins, in seconds since 1970; what is none is refused elsewhere.
fn begins(certificate: &CertificateDer<'_>) -> Option<u64> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let begins = certificate.tbs_certificate().validity().not_before;
    Some(begins.to_unix_duration().as_secs())
}

fn unix(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use bartizan_model::time::OwnerMoment;

    use super::*;

    const NOW: BootTime = BootTime(Duration::from_mins(1));

    #[test]
    fn without_owner_time_what_has_begun_is_no_earlier_than_it_begins() {
        let known = KnownTime {
            floor: 500,
            owner: None,
        };
        assert_eq!(judged(known, NOW, None), 500);
        assert_eq!(judged(known, NOW, Some(400)), 500);
        assert_eq!(judged(known, NOW, Some(600)), 600);
    }

    #[test]
    fn owner_time_alone_decides_once_it_is_known() {
        let owner = OwnerMoment {
            seconds: 1_000,
            at: BootTime(Duration::from_secs(20)),
        };
        let known = KnownTime {
            floor: 500,
            owner: Some(owner),
        };
        assert_eq!(judged(known, NOW, Some(9_999)), 1_040);
    }

    #[test]
    fn clones_learn_together() {
        let clock = Clock::known(KnownTime::default());
        let clone = clock.clone();
        clock.learn(KnownTime {
            floor: 77,
            owner: None,
        });
        assert_eq!(clone.current_time(), Some(unix(77)));
    }
}
