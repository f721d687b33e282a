//! One gateway's session, from its hello to its end: leases on cadence, the plan kept, the state
//! watched.

use core::time::Duration;
use std::sync::Arc;

use bartizan_model::ids::{EntryName, NodeId};
use bartizan_model::policy::Policy;
use bartizan_netconf::client::Request;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::attestation::{Again, Attester};
use crate::desk::Desk;
use crate::gateway::{Configuration, Desired};
use crate::link::{Link, LinkError, Refusal};
use crate::reconcile::{Step, halves, step};

/// The shortest time between two looks at a gateway's state.
const STATE_PAUSE: Duration = Duration::from_millis(500);

/// How long an edit that was refused waits before it is tried again, if nothing changes.
const EDIT_PAUSE: Duration = Duration::from_secs(5);

/// How long a lease that was not granted or not taken waits, if the cadence is not shorter: a gateway that has just
/// started may not have its nonce yet.
const LEASE_PAUSE: Duration = Duration::from_secs(2);

/// How often a gateway's configuration is compared though nothing has changed.
const AUDIT_PAUSE: Duration = Duration::from_mins(5);

/// How often a gateway may show, after an edit that it accepted, that it does not run it.
const ROUNDS: u32 = 3;

/// A gateway that called home.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) node: NodeId,
    /// Which of its sessions this is.
    pub(crate) number: u64,
    pub(crate) link: Link,
    pub(crate) desired: watch::Receiver<Arc<Desired>>,
    /// Who attests it; nobody where no verifier is configured, and then no lease is granted.
    pub(crate) attester: Option<Attester>,
}

/// When the next of each is due.
struct Due {
    lease: Instant,
    configuration: Instant,
    state: Instant,
}

impl Call {
    /// Speaks with the gateway until the session is over.
    pub(crate) async fn attend(mut self, desk: &Desk) -> LinkError {
        let lapsed = self.attester.as_ref().is_some_and(Attester::is_lapsed);
        let over = if lapsed {
            self.readmit(desk).await
        } else {
            self.work(desk).await
        };
        match over {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    /// Speaks with a gateway that was off for so long that its certificate has ended: it is attested
    /// as every other and gets a new one, and nothing else happens in this session.
    async fn readmit(&mut self, desk: &Desk) -> Result<core::convert::Infallible, LinkError> {
        desk.tell(&self.node, "its certificate has ended");
        desk.count("certificate-lapsed");
        let mut record = self.watch(desk);
        self.link.greet().await?;
        loop {
            let pause = match self.renew_lease(desk).await? {
                Again::Later => cadence(desk.lease_cadence),
                Again::Soon => desk.lease_cadence.min(LEASE_PAUSE),
            };
            if !self.attester.as_ref().is_some_and(Attester::is_lapsed) {
                return Err(LinkError::Renewed);
            }
            let next = after(Instant::now(), pause);
            loop {
                tokio::select! {
                    // What it tells is not asked for here.
                    notice = self.link.notice() => drop(notice?),
                    () = changed(record.as_mut()) => {
                        if self.is_urgent(desk).await {
                            break;
                        }
                    }
                    () = sleep_until(next) => break,
                }
            }
        }
    }

    /// The record, to be watched for changes.
    fn watch(&self, desk: &Desk) -> Option<watch::Receiver<u64>> {
        let attester = self.attester.as_ref()?;
        Some(desk.store.watch(attester.serial()))
    }

    /// Whether the record, which has changed, asks for an attestation at once.
    async fn is_urgent(&mut self, desk: &Desk) -> bool {
        match &mut self.attester {
            Some(attester) => attester.is_urgent(desk).await,
            None => false,
        }
    }

    async fn work(&mut self, desk: &Desk) -> Result<core::convert::Infallible, LinkError> {
        let mut record = self.watch(desk);
        self.link.greet().await?;
        if let Err(refusal) = self.link.order(&Request::Subscribe).await? {
            return Err(LinkError::Refused("tell what happens", refusal));
        }
        let now = Instant::now();
        let mut due = Due {
            lease: now,
            configuration: now,
            state: now,
        };
        let mut refused = false;
        loop {
            let now = Instant::now();
            if due.lease <= now {
                let pause = match self.renew_lease(desk).await? {
                    Again::Later => cadence(desk.lease_cadence),
                    Again::Soon => desk.lease_cadence.min(LEASE_PAUSE),
                };
                due.lease = after(now, pause);
                if refused {
                    // What was refused for want of a lease may be taken with one.
                    due.configuration = now;
                }
            }
            if due.configuration <= now || self.desired.has_changed().unwrap_or(false) {
                refused = !self.configure(desk).await?;
                let pause = if refused { EDIT_PAUSE } else { AUDIT_PAUSE };
                due.configuration = after(Instant::now(), pause);
                due.state = Instant::now();
            }
            if due.state <= Instant::now() {
                self.look(desk).await?;
                due.state = after(Instant::now(), desk.poll);
            }
            self.rest(desk, &mut due, record.as_mut()).await?;
        }
    }

    /// Waits until something is due or happens.
    async fn rest(
        &mut self,
        desk: &Desk,
        due: &mut Due,
        record: Option<&mut watch::Receiver<u64>>,
    ) -> Result<(), LinkError> {
        let next = due.lease.min(due.configuration).min(due.state);
        tokio::select! {
            notice = self.link.notice() => {
                desk.noticed(&self.node, &notice?);
                // One look for a crowd of notices.
                due.state = due.state.min(after(Instant::now(), STATE_PAUSE));
            }
            // The desk outlives its sessions, so the sender never goes away.
            _changed = self.desired.changed() => self.desired.mark_changed(),
            () = changed(record) => {
                if self.is_urgent(desk).await {
                    due.lease = Instant::now();
                }
            }
            () = sleep_until(next) => {}
        }
        Ok(())
    }

    /// Attests the gateway and grants what follows from it.
    async fn renew_lease(&mut self, desk: &Desk) -> Result<Again, LinkError> {
        match &mut self.attester {
            Some(attester) => attester.attest(&mut self.link, desk).await,
            None => Ok(Again::Later),
        }
    }

    /// Compares what the gateway runs with what it should, and corrects it; false if it refuses.
    async fn configure(&mut self, desk: &Desk) -> Result<bool, LinkError> {
        for _round in 0..ROUNDS {
            let desired = Arc::clone(&self.desired.borrow_and_update());
            let running = self
                .link
                .read("show its configuration", &Request::Configuration)
                .await?;
            let edit = match step(&running.policies, &desired.policies) {
                Step::Nothing => {
                    desk.configured(&self.node, Configuration::Same(desired.version));
                    return Ok(true);
                }
                Step::Replace => {
                    self.link
                        .order(&Request::Replace(&desired.policies))
                        .await?
                }
                Step::Change { remove, put } => self.change(&remove, &put).await?,
            };
            if let Err(refusal) = edit {
                return Ok(self.refused(desk, &refusal));
            }
        }
        desk.configured(
            &self.node,
            Configuration::Refused("accepts an edit and does not run it".to_owned()),
        );
        Ok(false)
    }

    /// Sends a change; one that no message can hold is sent in parts, each of whole tunnels.
    async fn change(
        &mut self,
        mut remove: &[EntryName],
        put: &[Policy],
    ) -> Result<Result<(), Refusal>, LinkError> {
        let mut parts = vec![put];
        while let Some(put) = parts.pop() {
            match self.link.order(&Request::Change { remove, put }).await? {
                Ok(()) => remove = &[],
                Err(Refusal::TooBig(too_big)) => match halves(put) {
                    Some((first, second)) => parts.extend([second, first]),
                    None => return Ok(Err(Refusal::TooBig(too_big))),
                },
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Ok(Ok(()))
    }

    fn refused(&self, desk: &Desk, refusal: &Refusal) -> bool {
        desk.count("edit-refused");
        desk.configured(&self.node, Configuration::Refused(refusal.to_string()));
        false
    }

    async fn look(&mut self, desk: &Desk) -> Result<(), LinkError> {
        let state = self.link.read("show its state", &Request::State).await?;
        desk.observed(&self.node, state);
        Ok(())
    }
}

/// The cadence with a fifth of chance to either side, so that gateways that came together do not
/// stay together.
fn cadence(mean: Duration) -> Duration {
    let mut chance = [0; 2];
    // Without chance they stay together, and nothing else is lost.
    let _without = aws_lc_rs::rand::fill(&mut chance);
    let span = mean.saturating_mul(2).checked_div(5).unwrap_or_default();
    let part = span.saturating_mul(u16::from_be_bytes(chance).into());
    let part = part.checked_div(u16::MAX.into()).unwrap_or_default();
    mean.saturating_sub(span.checked_div(2).unwrap_or_default())
        .saturating_add(part)
}

/// Waits for a change of the record; for ever where there is none to watch.
async fn changed(record: Option<&mut watch::Receiver<u64>>) {
    if let Some(record) = record
        && record.changed().await.is_ok()
    {
        return;
    }
    core::future::pending::<()>().await;
}

fn after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now)
}
