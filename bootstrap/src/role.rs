//! The loop: hears the supervisor, while a worker looks for the owner.

use core::time::Duration;
use std::sync::Arc;

use bartizan_bootstrap_protocol::sztp::{Progress, Step};
use bartizan_model::config::{BootstrapConfig, Purpose, RoleConfig, Sources};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{Edge, RoleToSupervisor, SupervisorToRole};
use bartizan_model::time::KnownTime;
use bartizan_process::journal::{self, Level};
use bartizan_process::{Exit, Fault, Started, SupervisorChannel, Watchdog, boot_time};
use bartizan_tls::{AsyncChannel, Backoff, Tpm};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::discover;
use crate::enrol::{Gateway, Registrar};
use crate::error::AttemptError;
use crate::identity::Identity;
use crate::seek::{Sought, random, seek};

/// Between rounds of the search, between attempts to enrol, between reports from quarantine.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(2);

/// How often one owner is tried before the search begins anew.
const ENROLMENTS_MAX: usize = 8;

/// The worker and a handshake.
const THREADS: usize = 4;

/// What evidence is bound to, of the binding of the link that it goes over.
type Bound = Arc<dyn Fn([u8; 32]) -> [u8; 32] + Send + Sync>;

/// Does the role's work until a neighbour is gone, or the owner is enrolled with.
///
/// # Errors
///
/// [`Fault`]: why the process ends.
pub fn work(started: Started<()>) -> Result<(), Fault> {
    begin(started, Arc::new(core::convert::identity))
}

/// The same without the binding: evidence is bound to what `bound` says of the link's own, and so
/// can be relayed. A test shows by it what the binding is for; what ships is searched for the words
/// that it logs.
///
/// # Errors
///
/// As [`work`].
pub fn work_unbound(
    started: Started<()>,
    bound: impl Fn([u8; 32]) -> [u8; 32] + Send + Sync + 'static,
) -> Result<(), Fault> {
    journal::log(Level::Warn, format_args!("bootstrap is bound to no link"));
    begin(started, Arc::new(bound))
}

fn begin(started: Started<()>, bound: Bound) -> Result<(), Fault> {
    let RoleConfig::Bootstrap(config) = started.config else {
        return Err(Fault::new(Exit::Protocol, "started as another role"));
    };
    let mut ends = started.ends;
    let tpm = Tpm::new(ends.take(Edge::BootstrapTpm)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(THREADS)
        .build()
        .map_err(|error| Fault::because(Exit::OsErr, "cannot start the event loop", error))?;
    let outcome = runtime.block_on(serve(
        *config,
        tpm,
        (started.supervisor, started.watchdog),
        (started.time, bound),
    ));
    // What waits for the TPM must not delay the end of the process.
    runtime.shutdown_background();
    outcome
}

async fn serve(
    config: BootstrapConfig,
    tpm: Tpm,
    (supervisor, mut watchdog): (SupervisorChannel, Watchdog),
    (time, bound): (KnownTime, Bound),
) -> Result<(), Fault> {
    let mut supervisor = AsyncChannel::new(supervisor)?;
    let (sources, seen_sources) = watch::channel(config.sources.clone());
    let (state, seen_state) = watch::channel(Lifecycle::Factory);
    let (keep, may_keep) = watch::channel(false);
    let (say, mut words) = mpsc::channel(1);
    let worker = Worker {
        config: Arc::new(config),
        tpm,
        sources: seen_sources,
        state: seen_state,
        may_keep,
        time,
        bound,
        say,
    };
    // It waits for the TPM, so it has a thread of its own; its sockets are this loop's.
    let runtime = Handle::current();
    let mut worker = spawn_blocking(move || runtime.block_on(worker.work()));
    loop {
        watchdog.feed(boot_time());
        tokio::select! {
            received = supervisor.recv() => {
                match received?.map(|received| received.message) {
                    None => {}
                    // The worker may have ended; then the loop does, too.
                    Some(SupervisorToRole::Lifecycle(now)) => drop(state.send(now)),
                    Some(SupervisorToRole::Sources(now)) => drop(sources.send(*now)),
                    Some(SupervisorToRole::KeepLdevid) => drop(keep.send(true)),
                    Some(
                        SupervisorToRole::End(_)
                        | SupervisorToRole::Start(_)
                        | SupervisorToRole::Ldevid(_)
                        | SupervisorToRole::Farewell(_)
                        | SupervisorToRole::Time(_)
                        | SupervisorToRole::RaiseRollback(_)
                        | SupervisorToRole::Network(_)
                        | SupervisorToRole::CallAnew,
                    ) => {
                        return Err(Fault::new(Exit::Protocol, "a word out of turn"));
                    }
                }
            }
            Some(word) = words.recv() => supervisor.send(&word)?,
            ended = &mut worker => {
                return match ended {
                    Ok(Ok(never)) => match never {},
                    Ok(Err(fault)) => Err(fault),
                    Err(error) => Err(Fault::because(Exit::Software, "the worker", error)),
                };
            }
            () = sleep(watchdog.interval()) => {}
        }
    }
}

struct Worker {
    config: Arc<BootstrapConfig>,
    tpm: Tpm,
    sources: watch::Receiver<Sources>,
    state: watch::Receiver<Lifecycle>,
    /// Whether the ownership is on the disk.
    may_keep: watch::Receiver<bool>,
    time: KnownTime,
    bound: Bound,
    say: mpsc::Sender<RoleToSupervisor>,
}

impl Worker {
    async fn work(mut self) -> Result<core::convert::Infallible, Fault> {
        match self.config.purpose.clone() {
            Purpose::Enrol => self.find_owner().await,
            Purpose::Quarantine {
                registrar,
                name,
                anchors,
            } => {
                let registrar = Registrar {
                    address: registrar,
                    name,
                    anchors,
                    time: self.time,
                };
                self.report_for_ever(&registrar).await
            }
        }
    }

    async fn find_owner(&mut self) -> Result<core::convert::Infallible, Fault> {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let (identity, sought) = loop {
            match self.look().await {
                Ok(Some(found)) => break found,
                Ok(None) => {}
                Err(error) => tell("cannot look for an owner", &error.fatal()?),
            }
            let wait = pause(&mut backoff)?;
            tokio::select! {
                () = sleep(wait) => {}
                changed = self.sources.changed() => gone(changed.is_err())?,
            }
        };
        journal::log(
            Level::Info,
            format_args!("the owner is {}", sought.owner.site.controller),
        );
        self.tell_supervisor(RoleToSupervisor::OwnerFound).await?;
        let enrolling = self.state.wait_for(|state| *state == Lifecycle::Enrolling);
        gone(enrolling.await.is_err())?;
        self.enrol(&identity, sought).await
    }

    /// One round of the search.
    async fn look(&mut self) -> Result<Option<(Identity, Sought)>, AttemptError> {
        let identity = Identity::learn(&self.config, &self.tpm)?;
        let sources = self.sources.borrow_and_update().clone();
        match seek(&identity, &sources).await {
            Ok(found) => Ok(found.map(|sought| (identity, sought))),
            Err(fault) => Err(AttemptError::Ended(fault)),
        }
    }

    async fn enrol(
        &mut self,
        identity: &Identity,
        sought: Sought,
    ) -> Result<core::convert::Infallible, Fault> {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let (config, tpm) = (Arc::clone(&self.config), self.tpm.clone());
        let bound = Arc::clone(&self.bound);
        let gateway = Gateway {
            config: &config,
            identity,
            tpm: &tpm,
            bound: &*bound,
        };
        for _ in 0..ENROLMENTS_MAX {
            match gateway.enrol(sought.owner.clone()).await {
                Ok(ownership) => {
                    let enrolled = RoleToSupervisor::Enrolled(Box::new(ownership));
                    self.tell_supervisor(enrolled).await?;
                    let on_the_disk = self.may_keep.wait_for(|may_keep| *may_keep);
                    gone(on_the_disk.await.is_err())?;
                    gateway.keep().map_err(kept_by_nobody)?;
                    self.report(identity, &sought, Step::BootstrapComplete)
                        .await;
                    self.tell_supervisor(RoleToSupervisor::LdevidKept).await?;
                    // The supervisor ends everything, us too.
                    return core::future::pending().await;
                }
                Err(error) => tell("not enrolled", &error.fatal()?),
            }
            self.report(identity, &sought, Step::BootstrapWarning).await;
            sleep(pause(&mut backoff)?).await;
        }
        self.report(identity, &sought, Step::BootstrapError).await;
        Err(Fault::new(
            Exit::TempFail,
            "the owner was found and does not enrol this box; the search begins anew",
        ))
    }

    /// Tells who knew the owner how it went; that it cannot be told changes nothing.
    async fn report(&self, identity: &Identity, sought: &Sought, step: Step) {
        let Some(server) = &sought.told_by else {
            return;
        };
        let progress = Progress {
            step,
            message: None,
        };
        let resolvers = self.sources.borrow().resolvers.clone();
        if let Err(error) = discover::report(server, &resolvers, identity, &progress).await {
            tell("progress is not reported", &error);
        }
    }

    async fn report_for_ever(
        &mut self,
        registrar: &Registrar,
    ) -> Result<core::convert::Infallible, Fault> {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let told = self
            .state
            .wait_for(|state| *state == Lifecycle::Quarantined);
        gone(told.await.is_err())?;
        loop {
            match self.report_once(registrar).await {
                Ok(()) => journal::log(Level::Info, format_args!("the quarantine is reported")),
                Err(error) => tell("the quarantine is not reported", &error.fatal()?),
            }
            sleep(pause(&mut backoff)?).await;
        }
    }

    async fn report_once(&self, registrar: &Registrar) -> Result<(), AttemptError> {
        let identity = Identity::learn(&self.config, &self.tpm)?;
        let gateway = Gateway {
            config: &self.config,
            identity: &identity,
            tpm: &self.tpm,
            bound: &*self.bound,
        };
        gateway.report(registrar).await
    }

    async fn tell_supervisor(&self, word: RoleToSupervisor) -> Result<(), Fault> {
        gone(self.say.send(word).await.is_err())
    }
}

/// The loop is gone, and with it this worker.
fn gone(is_gone: bool) -> Result<(), Fault> {
    if is_gone {
        Err(Fault::new(Exit::Software, "the loop is gone"))
    } else {
        Ok(())
    }
}

/// The ownership is pending and comes to nothing; the next start looks for an owner again.
fn kept_by_nobody(error: AttemptError) -> Fault {
    match error.fatal() {
        Ok(error) => Fault::new(
            Exit::TempFail,
            format!("the TPM does not keep the LDevID: {}", error.words()),
        ),
        Err(fault) => fault,
    }
}

fn pause(backoff: &mut Backoff) -> Result<Duration, Fault> {
    let mut entropy = [0; 4];
    random(&mut entropy)?;
    Ok(backoff.failed(u32::from_be_bytes(entropy)))
}

fn tell(what: &str, error: &AttemptError) {
    journal::log(Level::Warn, format_args!("{what}: {}", error.words()));
}
