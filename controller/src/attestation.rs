//! Attestation inside a gateway's session: a quote bound to this connection and to the engine's
//! nonce, the verdict, and what follows from it.
//!
//! The other end holds the LDevID key that the device's record names, so what it shows is the
//! device's own, and a failure stays with the record. What only came too late or not at all grants
//! nothing, and is asked for again.

mod ask;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use bartizan_evidence::appraisal::APPRAISED;
use bartizan_evidence::binding::{self, ChannelBinding};
use bartizan_evidence::lease::{OwnerTime, Status};
use bartizan_evidence::quote::{AttestationKey, Digest, Quote};
use bartizan_evidence::structures::ClockInfo;
use bartizan_evidence::verdict::{Class, Failure, Rule};
use bartizan_model::config::Der;
use bartizan_model::identity::Farewell;
use bartizan_model::ids::{NodeId, Nonce, Thumbprint};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_netconf::client::Request;

use crate::chains::spki;
use crate::clock::owner_time;
use crate::desk::Desk;
use crate::device::{self, Attestation, Certificate, Device, Mirror, Occasion, Serial, State};
use crate::link::{Link, LinkError};
use crate::serve::chain;
use crate::store::DeviceError;
use crate::verifier::{CERTIFICATE_LIFE, Judged, Logs, Verifier, clock, failed};

/// How long a gateway may take over a quote.
const DEADLINE: Duration = Duration::from_secs(30);

/// Who attests one gateway in one session.
#[derive(Debug)]
pub(crate) struct Attester {
    verifier: Arc<Verifier>,
    serial: Serial,
    node: NodeId,
    ldevid: Thumbprint,
    /// When the certificate ends that the gateway shows. The record may know a later one, which
    /// never came to it.
    not_after: OwnerTime,
    channel: ChannelBinding,
    /// The last quote that the logs explained.
    passed: Option<Passed>,
    seen: Seen,
}

/// What of a record asks for an attestation at once when it changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Seen {
    state: State,
    farewell: Option<Farewell>,
    demands: u64,
}

/// A quote that passed; while its boot lasts and its values stand, no log need be read again (V11).
#[derive(Debug)]
struct Passed {
    clock: ClockInfo,
    pcrs: BTreeMap<u8, Digest>,
    judged: Judged,
}

/// When to attest again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Again {
    /// With the cadence.
    Later,
    /// Soon: something came between.
    Soon,
}

/// Why nothing is asked of a gateway that called home.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Turned {
    /// The device is not trusted any more.
    #[error("the device is {0}")]
    Untrusted(State),
    /// The certificate is over another key than the one that was certified last.
    #[error("the certificate is not over the device's LDevID key")]
    OtherKey,
    /// It never enrolled.
    #[error("the device is not enrolled")]
    Unknown,
}

impl Attester {
    /// Takes a gateway in by its device's record and the key of its certificate.
    ///
    /// # Errors
    ///
    /// [`Turned`]; the session is to be closed.
    pub(crate) fn new(
        verifier: &Arc<Verifier>,
        device: &Device,
        ldevid: Thumbprint,
        not_after: OwnerTime,
        channel: ChannelBinding,
    ) -> Result<Self, Turned> {
        let certified = device.certificate().ok_or(Turned::Unknown)?;
        if certified.key != ldevid {
            return Err(Turned::OtherKey);
        }
        match device.state() {
            State::Enrolled | State::Quarantined(_) => {}
            State::Released | State::Retired if device.farewell().is_some() => {}
            state @ (State::Expected | State::Revoked | State::Released | State::Retired) => {
                return Err(Turned::Untrusted(state));
            }
        }
        Ok(Self {
            verifier: Arc::clone(verifier),
            serial: device.serial().clone(),
            node: device.node().clone(),
            ldevid,
            not_after,
            channel,
            passed: None,
            seen: Seen::of(device),
        })
    }

    /// Whether the gateway's certificate has ended. What it shows besides is good for nothing then
    /// but a new one, or the owner's word that it is over.
    pub(crate) fn is_lapsed(&self) -> bool {
        self.not_after < owner_time()
    }

    /// Whose record it is.
    pub(crate) fn serial(&self) -> &Serial {
        &self.serial
    }

    /// Whether the record, which has changed, asks for an attestation at once.
    pub(crate) async fn is_urgent(&mut self, desk: &Desk) -> bool {
        match desk.store.device(&self.serial).await {
            Ok(Some(device)) => {
                let seen = Seen::of(&device);
                core::mem::replace(&mut self.seen, seen) != seen
            }
            // What cannot be read is asked for at its time.
            Ok(None) | Err(_) => false,
        }
    }

    /// Attests once, and grants what follows.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: the session is over.
    pub(crate) async fn attest(
        &mut self,
        link: &mut Link,
        desk: &Desk,
    ) -> Result<Again, LinkError> {
        let device = match desk.store.device(&self.serial).await {
            Ok(Some(device)) => device,
            Ok(None) => return Err(LinkError::Turned(Turned::Unknown)),
            Err(error) => {
                desk.tell(
                    &self.node,
                    &format!("no verdict is possible: {}", chain(&error)),
                );
                desk.count("attestation-store");
                return Ok(Again::Soon);
            }
        };
        self.seen = Seen::of(&device);
        let state = link.read("show its state", &Request::State).await?;
        let (lifecycle, nonce) = (state.lifecycle, state.nonce);
        desk.observed(&self.node, state);
        let Some(nonce) = nonce else {
            desk.tell(&self.node, "shows no nonce for a lease");
            desk.count("lease-without-nonce");
            return Ok(Again::Soon);
        };
        match (device.state(), device.farewell()) {
            (_, Some(farewell)) => return self.part(link, desk, farewell, nonce).await,
            (State::Enrolled | State::Quarantined(_), None) => {}
            (state, None) => {
                self.stop(link, desk, lifecycle, nonce).await?;
                return Err(LinkError::Turned(Turned::Untrusted(state)));
            }
        }
        let judged = match self.ask(link, desk, &device, nonce).await? {
            Asked::Judged(judged) => judged,
            Asked::Nothing => return Ok(Again::Soon),
            Asked::Failed(failure) => {
                self.fail(desk, &failure).await;
                self.stop(link, desk, lifecycle, nonce).await?;
                return Ok(Again::Later);
            }
        };
        self.grant(link, desk, &device, judged, (lifecycle, nonce))
            .await
    }

    /// Records the proof, and grants a lease if the record lets it.
    async fn grant(
        &mut self,
        link: &mut Link,
        desk: &Desk,
        device: &Device,
        judged: Judged,
        (lifecycle, nonce): (Option<Lifecycle>, Nonce),
    ) -> Result<Again, LinkError> {
        let now = owner_time();
        let lease = self
            .verifier
            .lease_for(&self.node, self.ldevid, nonce, Status::Affirming, now);
        let renewed = self.renewed(device, now).transpose();

        let ((lease, lease_end), renewed) = match (lease, renewed) {
            (Ok(lease), Ok(renewed)) => (lease, renewed),
            (Err(error), _) | (_, Err(error)) => {
                desk.tell(
                    &self.node,
                    &format!("nothing can be granted: {}", chain(&error)),
                );
                desk.count("lease-unsigned");
                return Ok(Again::Later);
            }
        };
        let (ldevid, certificate) = renewed.unzip();
        let not_after = certificate
            .as_ref()
            .map_or(self.not_after, |renewed| renewed.not_after);
        let attestation = Attestation {
            pins: judged.pins,
            clock: judged.clock,
            floors: judged.floors,
            lease_end,
            certificate,
        };
        let recorded = desk.store.attest(&self.serial, &attestation, now).await;
        if let Ok(device) = &recorded {
            self.seen = Seen::of(device);
        }
        match recorded.map(|device| device.state()) {
            Ok(State::Enrolled) => {}
            Ok(_) | Err(DeviceError::Refused(_)) => {
                // A failure is not cleared by a proof of the same boot.
                self.stop(link, desk, lifecycle, nonce).await?;
                return Ok(Again::Later);
            }
            Err(error) => {
                desk.tell(
                    &self.node,
                    &format!("no proof can be kept: {}", chain(&error)),
                );
                desk.count("attestation-store");
                return Ok(Again::Soon);
            }
        }
        let grant = Request::Grant {
            lease: &lease,
            ldevid: ldevid.as_deref().unwrap_or_default(),
        };
        match link.order(&grant).await? {
            Ok(()) => {
                self.not_after = not_after;
                desk.leased(&self.node, self.verifier.lease());
                Ok(Again::Later)
            }
            Err(refusal) => {
                desk.tell(&self.node, &format!("refused a lease: {refusal}"));
                desk.count("lease-refused");
                Ok(Again::Soon)
            }
        }
    }

    /// A new certificate over the same key, once the one that it has is half over.
    fn renewed(
        &self,
        device: &Device,
        now: OwnerTime,
    ) -> Option<Result<(Vec<Der>, Certificate), crate::verifier::GrantError>> {
        let certificate = device.certificate()?;
        let half = CERTIFICATE_LIFE.checked_div(2).unwrap_or_default();
        if self.not_after.since(now) >= half {
            return None;
        }
        let key = spki(&Der(certificate.der.0.clone())).ok()?;
        Some(self.verifier.certify(&self.node, &key, now))
    }

    /// Makes a gateway that works wipe its keys; one that does not work has none.
    async fn stop(
        &mut self,
        link: &mut Link,
        desk: &Desk,
        lifecycle: Option<Lifecycle>,
        nonce: Nonce,
    ) -> Result<(), LinkError> {
        self.passed = None;
        if !matches!(
            lifecycle,
            Some(Lifecycle::Attested | Lifecycle::Operational)
        ) {
            return Ok(());
        }
        let status = Status::Contraindicated;
        let word = self
            .verifier
            .lease_for(&self.node, self.ldevid, nonce, status, owner_time());
        match word {
            Ok((lease, _)) => {
                let ldevid = &[];
                // It refuses this one, as it should: that is how it takes it.
                let _refused = link
                    .order(&Request::Grant {
                        lease: &lease,
                        ldevid,
                    })
                    .await?;
                desk.tell(&self.node, "is told to stop");
            }
            Err(error) => {
                desk.tell(
                    &self.node,
                    &format!("cannot be told to stop: {}", chain(&error)),
                );
                desk.count("lease-unsigned");
            }
        }
        Ok(())
    }

    /// Ends the ownership.
    async fn part(
        &mut self,
        link: &mut Link,
        desk: &Desk,
        farewell: Farewell,
        nonce: Nonce,
    ) -> Result<Again, LinkError> {
        let now = owner_time();
        let order = self
            .verifier
            .order_for(&self.node, self.ldevid, nonce, farewell, now);
        let order = match order {
            Ok(order) => order,
            Err(error) => {
                desk.tell(
                    &self.node,
                    &format!("no order can be signed: {}", chain(&error)),
                );
                return Ok(Again::Later);
            }
        };
        match link.order(&Request::Order(&order)).await? {
            Ok(()) => {
                if let Err(error) = desk.store.parted(&self.serial, now).await {
                    let words = format!("its end is not kept: {}", chain(&error));
                    desk.tell(&self.node, &words);
                }
                let words = format!("took the order: {farewell:?}").to_lowercase();
                desk.tell(&self.node, &words);
                Ok(Again::Later)
            }
            Err(refusal) => {
                desk.tell(&self.node, &format!("refused an order: {refusal}"));
                desk.count("order-refused");
                Ok(Again::Soon)
            }
        }
    }

    /// Records a failure; the rest follows from the record.
    async fn fail(&mut self, desk: &Desk, failure: &device::Failure) {
        let store = &desk.store;
        let kept = store.fail(&self.serial, Occasion::Attestation, failure, owner_time());
        match kept.await {
            Ok(device) => self.seen = Seen::of(&device),
            Err(error) => {
                let words = format!("its failure is not kept: {}", chain(&error));
                desk.tell(&self.node, &words);
                desk.count("attestation-store");
            }
        }
        let words = format!("failed by {}: {}", failure.rule, failure.text);
        desk.tell(&self.node, &words);
        desk.count("attestation-failed");
    }
}

impl Seen {
    fn of(device: &Device) -> Self {
        Self {
            state: device.state(),
            farewell: device.farewell(),
            demands: device.demands(),
        }
    }
}

/// What came of asking.
#[derive(Debug)]
enum Asked {
    /// A proof.
    Judged(Judged),
    /// The device's failure.
    Failed(device::Failure),
    /// Nothing that counts.
    Nothing,
}

fn identity(text: &str) -> device::Failure {
    failed(&Failure::new(Rule::V14, Class::Identity, text))
}
