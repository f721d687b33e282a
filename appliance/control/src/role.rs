//! The loop: the controller's session, the engine, the supervisor.

use core::time::Duration;

use bartizan_model::config::{ControlConfig, Der, RoleConfig};
use bartizan_model::message::{
    ControlToEngine, Edge, EngineToControl, RoleToSupervisor, SupervisorToRole,
};
use bartizan_netconf::UnixTime;
use bartizan_netconf::server::{Ended, Finding, Gateway, Heard, Inquiry, Unfound};
use bartizan_process::journal::{Level, log};
use bartizan_process::{Counters, Exit, Fault, Started, SupervisorChannel, Watchdog, boot_time};
use bartizan_tls::{AsyncChannel, Clock, Signer, TlsError, Tpm};
use tokio::time::sleep;

use crate::copy;
use crate::home::{CallError, Home, Step};
use crate::inquiry::TpmDesk;

/// A round at least this often: what is counted is told in time.
const ROUND: Duration = Duration::from_secs(1);

/// What a quote is bound to, of the binding of the link that it is asked for over.
type Bound = Box<dyn Fn([u8; 32]) -> [u8; 32]>;

/// Does the role's work until a neighbour is gone.
///
/// # Errors
///
/// [`Fault`]: why the process ends.
pub fn work(started: Started<()>) -> Result<(), Fault> {
    serve(started, Box::new(core::convert::identity))
}

/// The same without the binding: quotes are bound to what `bound` says, and so can be relayed. A
/// test shows by it what the binding is for; what ships is searched for the words that it logs.
///
/// # Errors
///
/// As [`work`].
pub fn work_unbound(
    started: Started<()>,
    bound: impl Fn([u8; 32]) -> [u8; 32] + 'static,
) -> Result<(), Fault> {
    log(Level::Warn, format_args!("control is bound to no link"));
    serve(started, Box::new(bound))
}

fn serve(started: Started<()>, bound: Bound) -> Result<(), Fault> {
    let RoleConfig::Control(config) = started.config else {
        return Err(Fault::new(Exit::Protocol, "started as another role"));
    };
    let mut gateway = Gateway::new(config.node.clone());
    match (config.restored, started.passed) {
        (true, Some(passed)) => restore(&mut gateway, passed),
        (false, None) => {}
        (true, None) | (false, Some(_)) => {
            let what = "the copy of running is promised and not passed, or passed unasked";
            return Err(Fault::new(Exit::Protocol, what));
        }
    }
    let mut ends = started.ends;
    let engine = ends.take(Edge::ControlEngine)?;
    let tpm = Tpm::new(ends.take(Edge::ControlTpm)?);
    // Two threads more than the loop's own: for the one handshake and the one inquiry there is at a
    // time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(2)
        .build()
        .map_err(|error| Fault::because(Exit::OsErr, "cannot start the event loop", error))?;
    let outcome = runtime.block_on(async {
        let engine = AsyncChannel::new(engine)?;
        let control = Control::new(
            config,
            gateway,
            engine,
            tpm,
            (started.supervisor, started.watchdog),
            Clock::known(started.time),
            bound,
        )?;
        control.run().await
    });
    // A handshake that hangs must not delay the end of the process.
    runtime.shutdown_background();
    outcome
}

fn restore(gateway: &mut Gateway, passed: std::os::fd::OwnedFd) {
    match copy::restore(passed) {
        Ok(running) => {
            log(
                Level::Info,
                format_args!("running is restored: {} entries", running.len()),
            );
            if !running.is_empty() {
                gateway.restore(running);
            }
        }
        // The controller compares and sends its configuration again.
        Err(error) => log(
            Level::Warn,
            format_args!("running is not restored: {error}"),
        ),
    }
}

struct Control {
    home: Home,
    gateway: Gateway,
    tpm: TpmDesk,
    engine: AsyncChannel<EngineToControl, ControlToEngine>,
    supervisor: AsyncChannel<SupervisorToRole, RoleToSupervisor>,
    watchdog: Watchdog,
    counters: Counters,
    /// Requests of the open session that were answered with an error and are counted.
    refused: u64,
    /// Whether the last call failed, so that a change is told once.
    lost: Option<bool>,
    /// What the supervisor was told of whether a session stands.
    stands: bool,
    bound: Bound,
}

impl Control {
    fn new(
        config: ControlConfig,
        gateway: Gateway,
        engine: AsyncChannel<EngineToControl, ControlToEngine>,
        tpm: Tpm,
        (supervisor, watchdog): (SupervisorChannel, Watchdog),
        clock: Clock,
        bound: Bound,
    ) -> Result<Self, Fault> {
        let home = Home::new(config, Signer::ldevid(tpm.clone()), clock).map_err(|error| {
            Fault::because(Exit::Config, "cannot speak with the controller", error)
        })?;
        Ok(Self {
            home,
            gateway,
            tpm: TpmDesk::new(tpm),
            engine,
            supervisor: AsyncChannel::new(supervisor)?,
            watchdog,
            counters: Counters::default(),
            refused: 0,
            lost: None,
            stands: false,
            bound,
        })
    }

    async fn run(mut self) -> Result<(), Fault> {
        loop {
            let now = boot_time();
            self.watchdog.feed(now);
            self.counters.report(now, self.supervisor.channel_mut())?;
            self.order()?;
            self.inquire()?;
            self.tell_whether_it_stands()?;
            tokio::select! {
                received = self.engine.recv() => {
                    if let Some(received) = received? {
                        self.hear(received.message)?;
                    }
                }
                received = self.supervisor.recv() => {
                    match received?.map(|received| received.message) {
                        None => self.advance(),
                        Some(SupervisorToRole::Lifecycle(lifecycle)) => {
                            self.gateway.entered(lifecycle);
                        }
                        Some(SupervisorToRole::Ldevid(chain)) => self.renew(&chain)?,
                        Some(SupervisorToRole::Time(time)) => self.home.clock().learn(time),
                        Some(SupervisorToRole::Network(state)) => self.gateway.network(state),
                        Some(SupervisorToRole::CallAnew) => self.call_anew()?,
                        Some(
                            SupervisorToRole::End(_)
                            | SupervisorToRole::Start(_)
                            | SupervisorToRole::Farewell(_)
                            | SupervisorToRole::Sources(_)
                            | SupervisorToRole::KeepLdevid
                            | SupervisorToRole::RaiseRollback(_),
                        ) => {
                            return Err(Fault::new(Exit::Protocol, "a word out of turn"));
                        }
                    }
                }
                found = self.tpm.found() => {
                    let found = found.map_err(|error| {
                        let what = "the edge to the TPM is broken";
                        Fault::because(Exit::Unavailable, what, error)
                    })?;
                    self.found(found)?;
                }
                step = self.home.step() => self.stepped(step)?,
                () = sleep(self.watchdog.interval().min(ROUND)) => {}
            }
        }
    }

    /// Leaves the session, which may hang on a network that is gone, and calls again at once.
    fn call_anew(&mut self) -> Result<(), Fault> {
        self.home.call_anew();
        self.tell_whether_it_stands()?;
        self.supervisor.send(&RoleToSupervisor::CallingAnew)?;
        Ok(())
    }

    /// Shows a newer certificate in the handshakes to come.
    fn renew(&mut self, chain: &[Der]) -> Result<(), Fault> {
        self.home.identity().renew(chain).map_err(|error| {
            Fault::because(Exit::Protocol, "the renewed LDevID is not ours", error)
        })?;
        self.counters.count("ldevid-renewed");
        Ok(())
    }

    /// Tells the supervisor when a session with the controller begins or ends.
    fn tell_whether_it_stands(&mut self) -> Result<(), Fault> {
        let connection = self.home.connection();
        let stands = connection.is_some_and(|connection| connection.session.is_greeted());
        if stands != self.stands {
            self.stands = stands;
            self.supervisor.send(&RoleToSupervisor::Home(stands))?;
        }
        Ok(())
    }

    /// Tells the engine what it has room for.
    fn order(&mut self) -> Result<(), Fault> {
        while self.engine.has_room()
            && let Some(order) = self.gateway.next_order()
        {
            self.engine.send(&order)?;
        }
        Ok(())
    }

    fn hear(&mut self, word: EngineToControl) -> Result<(), Fault> {
        self.count_word(&word);
        let heard = self.gateway.heard(word);
        self.pass_on(heard)
    }

    /// Begins what the session wants of TPM or certificate.
    fn inquire(&mut self) -> Result<(), Fault> {
        let Some(inquiry) = self.gateway.next_inquiry() else {
            return Ok(());
        };
        match inquiry {
            Inquiry::Quote { nonce, bound, pcrs } => {
                let Some(connection) = self.home.connection() else {
                    // Nobody waits for it any more.
                    return self.found(Err(Unfound::Tpm));
                };
                let binding = (self.bound)(connection.channel_binding);
                self.counters.count("quotes");
                self.tpm.quote(nonce, bound, binding, pcrs);
                Ok(())
            }
            Inquiry::Log { log, offset } => {
                self.counters.count("log-parts");
                self.tpm.log(log, offset);
                Ok(())
            }
            Inquiry::Ldevid(chain) => {
                let judged = self.home.identity().check_renewal(&chain);
                self.found(match judged {
                    Ok(()) => Ok(Finding::Ldevid),
                    Err(error) => {
                        log(Level::Warn, format_args!("a renewed LDevID: {error}"));
                        Err(Unfound::Certificate)
                    }
                })
            }
        }
    }

    fn found(&mut self, found: Result<Finding, Unfound>) -> Result<(), Fault> {
        if let Err(reason) = found {
            self.counters.count(match reason {
                Unfound::NotPermitted => "tpm-not-permitted",
                Unfound::Tpm => "tpm-failed",
                Unfound::Certificate => "ldevid-refused",
            });
        }
        let heard = self.gateway.found(found, boot_time().0);
        self.pass_on(heard)
    }

    fn pass_on(&mut self, heard: Heard) -> Result<(), Fault> {
        if heard.running_changed {
            // Before the controller is told: what it is told is done outlives this process.
            let sealed = copy::seal(self.gateway.running())
                .map_err(|errno| Fault::os("cannot copy running", errno))?;
            let supervisor = self.supervisor.channel_mut();
            supervisor.send_fd(&RoleToSupervisor::Running, sealed)?;
        }
        if let Some(chain) = heard.ldevid {
            self.supervisor.send(&RoleToSupervisor::Ldevid(chain))?;
        }
        let Some(connection) = self.home.connection() else {
            return Ok(());
        };
        if let Some(verdict) = heard.verdict {
            connection.session.answer(verdict);
        }
        if let Some(notice) = heard.notice {
            connection.session.notify(&notice, wall_clock());
        }
        self.advance();
        Ok(())
    }

    fn stepped(&mut self, step: Step) -> Result<(), Fault> {
        match step {
            Step::Moved => self.advance(),
            Step::Opened => {
                self.refused = 0;
                self.counters.count("netconf-sessions");
                self.tell(false, format_args!("the controller answers"));
            }
            Step::CallFailed(CallError::Tls(TlsError::TpmEdge)) => {
                let what = "the edge to the TPM is broken";
                return Err(Fault::new(Exit::Unavailable, what));
            }
            Step::CallFailed(error) => {
                self.counters.count(match &error {
                    CallError::Connect(_) | CallError::TimedOut => "controller-unreachable",
                    CallError::Tls(_) | CallError::OtherNode(_) => "controller-refused",
                });
                self.tell(
                    true,
                    format_args!("no session with the controller: {error}"),
                );
                self.home.rest(entropy()?);
            }
            Step::Lost(error) => {
                self.counters.count("netconf-sessions-lost");
                self.tell(true, format_args!("the session is over: {error}"));
                self.home.rest(entropy()?);
            }
            Step::Left => self.home.rest(entropy()?),
        }
        Ok(())
    }

    /// Lets the session answer, and leaves it once it is over.
    fn advance(&mut self) {
        if self.supervisor.channel_mut().wants_write() {
            // Copies of running would pile up: the next request waits until this one is taken.
            return;
        }
        let Some(connection) = self.home.connection() else {
            return;
        };
        connection.session.advance(&mut self.gateway);
        let refused = connection.session.refused();
        let ended = connection.session.ended();
        for _ in self.refused..refused {
            self.counters.count("netconf-requests-refused");
        }
        self.refused = refused;
        if let Some(ended) = ended {
            self.counters.count(match ended {
                Ended::Closed => "netconf-sessions-closed",
                Ended::Slow => "netconf-subscribers-too-slow",
                Ended::Framing(_) | Ended::Hello | Ended::Nonsense => "netconf-sessions-broken",
            });
            self.tell(true, format_args!("the session is over: {ended}"));
            self.home.leave();
        }
    }

    fn count_word(&mut self, word: &EngineToControl) {
        match word {
            EngineToControl::EditAccepted(_) => self.counters.count("edits-accepted"),
            EngineToControl::EditRefused { reason, .. } => {
                self.counters.count("edits-refused");
                log(
                    Level::Info,
                    format_args!("the engine refused an edit: {reason:?}"),
                );
            }
            EngineToControl::LeaseRefused(reason) => {
                self.counters.count("leases-refused");
                log(
                    Level::Warn,
                    format_args!("the engine refused a lease: {reason:?}"),
                );
            }
            EngineToControl::OrderRefused(reason) => {
                self.counters.count("orders-refused");
                log(
                    Level::Warn,
                    format_args!("the engine refused an order: {reason:?}"),
                );
            }
            EngineToControl::OrderAccepted => {
                log(Level::Warn, format_args!("the owner ends the ownership"));
            }
            EngineToControl::LeaseNonce(_)
            | EngineToControl::LeaseAccepted(_)
            | EngineToControl::Tunnel(_)
            | EngineToControl::TunnelGone(_)
            | EngineToControl::Qkd(_)
            | EngineToControl::QkdGone(_)
            | EngineToControl::Notice(_) => {}
        }
    }

    /// Tells the journal of the controller when it goes or comes, not each time it is called.
    fn tell(&mut self, lost: bool, what: core::fmt::Arguments<'_>) {
        if self.lost != Some(lost) {
            let level = if lost { Level::Warn } else { Level::Info };
            log(level, what);
            self.lost = Some(lost);
        }
    }
}

fn entropy() -> Result<u32, Fault> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| Fault::os("cannot get randomness", errno))?;
    Ok(u32::from_ne_bytes(bytes))
}

/// The time of a notification; nothing is decided by it.
#[expect(
    clippy::disallowed_methods,
    reason = "notifications carry the time of day (RFC 5277, 2.2.1)"
)]
fn wall_clock() -> UnixTime {
    let now = std::time::SystemTime::now();
    UnixTime(
        now.duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default(),
    )
}
