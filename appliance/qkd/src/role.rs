//! The loop: orders to workers, their reports to the engine.

use std::collections::BTreeSet;
use std::sync::Arc;

use bartizan_model::config::{KmeConfig, RoleConfig};
use bartizan_model::ids::{KeyId, OrderId, SaeId};
use bartizan_model::message::{Edge, EngineToQkd, QkdToEngine, RoleToSupervisor, SupervisorToRole};
use bartizan_model::report::QkdRefusal;
use bartizan_process::journal::{Level, log};
use bartizan_process::{Counters, Exit, Fault, Started, SupervisorChannel, Watchdog, boot_time};
use bartizan_secret::Secret;
use bartizan_tls::{Anchors, AsyncChannel, Clock, Signer, TlsError, Tpm, kme_client, server_name};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::dispatch::{Ask, Busy, Connect, Dispatch, Link, WORKERS};
use crate::seen::{Novelty, Seen};
use crate::session::Target;
use crate::worker::{self, Failure, Job, Kme, Report, Status};

/// Handshakes at once.
const HANDSHAKES: usize = 8;

/// How many SAEs the KME is remembered to serve; beyond them it is asked again.
const SERVED_MAX: usize = 1024;

/// Does the role's work until a neighbour is gone.
///
/// # Errors
///
/// [`Fault`]: why the process ends.
pub fn work(started: Started<()>) -> Result<(), Fault> {
    let RoleConfig::Qkd(config) = started.config else {
        return Err(Fault::new(Exit::Protocol, "started as another role"));
    };
    let mut ends = started.ends;
    let engine = ends.take(Edge::EngineQkd)?;
    let signer = Signer::ldevid(Tpm::new(ends.take(Edge::QkdTpm)?));
    let clock = Clock::known(started.time);
    let kme = config
        .kmes
        .into_iter()
        .next()
        .map(|kme| target(kme, signer, &clock))
        .transpose()?;
    // A handshake waits for the TPM on a thread; the TPM signs one after the other anyway.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(HANDSHAKES)
        .build()
        .map_err(|error| Fault::because(Exit::OsErr, "cannot start the event loop", error))?;
    let outcome = runtime.block_on(async {
        let engine = AsyncChannel::new(engine)?;
        let qkd = Qkd::new(engine, started.supervisor, started.watchdog, (kme, clock))?;
        qkd.run().await
    });
    // A handshake that hangs must not delay the end of the process.
    runtime.shutdown_background();
    outcome
}

fn target(config: KmeConfig, signer: Signer, clock: &Clock) -> Result<Kme, Fault> {
    let fault = |error: TlsError| Fault::because(Exit::Config, "cannot speak with the KME", error);
    let anchors = Anchors::new(&config.anchors, clock).map_err(fault)?;
    let tls =
        kme_client(&config.chain, Arc::new(signer), &anchors, config.groups).map_err(fault)?;
    let port = config.address.port();
    Ok(Kme {
        host: format!("{}:{port}", config.name).into(),
        target: Target {
            address: config.address,
            name: server_name(&config.name).map_err(fault)?,
            tls,
        },
        sae: config.sae,
    })
}

struct Qkd {
    engine: AsyncChannel<EngineToQkd, QkdToEngine>,
    supervisor: AsyncChannel<SupervisorToRole, RoleToSupervisor>,
    watchdog: Watchdog,
    /// By which the KME's certificate is judged.
    clock: Clock,
    counters: Counters,
    dispatch: Dispatch,
    seen: Seen,
    served: BTreeSet<SaeId>,
    /// How the last attempt to connect ended.
    link: Option<Link>,
    /// No jobs where no KME is configured.
    jobs: Vec<mpsc::Sender<Job>>,
    reports: mpsc::Receiver<Report>,
    workers: JoinSet<()>,
}

impl Qkd {
    fn new(
        engine: AsyncChannel<EngineToQkd, QkdToEngine>,
        supervisor: SupervisorChannel,
        watchdog: Watchdog,
        (kme, clock): (Option<Kme>, Clock),
    ) -> Result<Self, Fault> {
        let (report, reports) = mpsc::channel(WORKERS);
        let mut workers = JoinSet::new();
        let mut jobs = Vec::new();
        if let Some(kme) = kme {
            for index in 0..WORKERS {
                let (job, its_jobs) = mpsc::channel(1);
                workers.spawn(worker::work(index, kme.clone(), its_jobs, report.clone()));
                jobs.push(job);
            }
        }
        Ok(Self {
            engine,
            supervisor: AsyncChannel::new(supervisor)?,
            watchdog,
            clock,
            counters: Counters::default(),
            dispatch: Dispatch::new(),
            seen: Seen::default(),
            served: BTreeSet::new(),
            link: None,
            jobs,
            reports,
            workers,
        })
    }

    async fn run(mut self) -> Result<(), Fault> {
        loop {
            let now = boot_time();
            self.watchdog.feed(now);
            self.counters.report(now, self.supervisor.channel_mut())?;
            for order in self.dispatch.expire(now) {
                self.refuse(order, QkdRefusal::TimedOut)?;
            }
            self.assign()?;
            let mut rest = self.watchdog.interval();
            for deadline in [self.dispatch.deadline(), self.counters.deadline()] {
                rest = deadline.map_or(rest, |deadline| rest.min(deadline.since(now)));
            }
            tokio::select! {
                received = self.engine.recv() => {
                    if let Some(received) = received? {
                        self.order(received.message)?;
                    }
                }
                received = self.supervisor.recv() => {
                    match received?.map(|received| received.message) {
                        None | Some(SupervisorToRole::Lifecycle(_)) => {}
                        Some(SupervisorToRole::Time(time)) => self.clock.learn(time),
                        Some(
                            SupervisorToRole::End(_)
                            | SupervisorToRole::Start(_)
                            | SupervisorToRole::Ldevid(_)
                            | SupervisorToRole::Farewell(_)
                            | SupervisorToRole::Sources(_)
                            | SupervisorToRole::KeepLdevid,
                        ) => {
                            return Err(Fault::new(Exit::Protocol, "a word out of turn"));
                        }
                    }
                }
                Some(report) = self.reports.recv() => self.report(report)?,
                Some(ended) = self.workers.join_next() => {
                    let what = "a worker ended";
                    return Err(match ended {
                        Ok(()) => Fault::new(Exit::Software, what),
                        Err(error) => Fault::because(Exit::Software, what, error),
                    });
                }
                () = sleep(rest) => {}
            }
        }
    }

    fn order(&mut self, message: EngineToQkd) -> Result<(), Fault> {
        let (order, ask) = match message {
            EngineToQkd::NewKey { order, peer } => (order, Ask::NewKey { peer }),
            EngineToQkd::SameKey { order, peer, key } => (order, Ask::SameKey { peer, key }),
            EngineToQkd::Cancel(order) => {
                self.dispatch.cancel(order);
                return Ok(());
            }
            // A KME of 014 has no streams.
            EngineToQkd::Join { .. } | EngineToQkd::Unused { .. } => return Ok(()),
        };
        if self.jobs.is_empty() {
            return self.refuse(order, QkdRefusal::Unreachable);
        }
        match self.dispatch.take(order, ask, boot_time()) {
            Ok(()) => Ok(()),
            Err(Busy) => self.refuse(order, QkdRefusal::Busy),
        }
    }

    fn assign(&mut self) -> Result<(), Fault> {
        let now = boot_time();
        while let Some((worker, order)) = self.dispatch.assign(now) {
            let known = match &order.ask {
                Ask::NewKey { peer } => self.served.contains(peer),
                Ask::SameKey { .. } => true,
            };
            let job = Job {
                ask: order.ask,
                status: if known {
                    Status::Known
                } else {
                    Status::Unknown
                },
                limit: order.deadline.since(now),
            };
            let handed = self.jobs.get(worker).map(|jobs| jobs.try_send(job));
            if !matches!(handed, Some(Ok(()))) {
                return Err(Fault::new(Exit::Software, "an idle worker takes no job"));
            }
        }
        Ok(())
    }

    fn report(&mut self, report: Report) -> Result<(), Fault> {
        let (worker, outcome, served, connect, link) = match report {
            Report::Lost { worker } => {
                self.dispatch.lost(worker);
                return Ok(());
            }
            Report::Done {
                worker,
                outcome,
                served,
                connect,
                link,
            } => (worker, outcome, served, connect, link),
        };
        if let Some(served) = served
            && self.served.len() < SERVED_MAX
        {
            self.served.insert(served);
        }
        let order = self.dispatch.finish(worker, link);
        match (outcome, order) {
            (Ok((key, secret)), order) => self.key(order, key, secret)?,
            (Err(Failure::Refused(reason)), Some(order)) => self.refuse(order, reason)?,
            (Err(Failure::Refused(_)), None) => {}
            (Err(Failure::TpmEdge), _) => {
                return Err(Fault::new(
                    Exit::Unavailable,
                    "the edge to the TPM is broken",
                ));
            }
        }
        self.connected(connect)
    }

    /// Hands a key over; also one that nobody wants any more is remembered.
    fn key(&mut self, order: Option<OrderId>, key: KeyId, secret: Secret) -> Result<(), Fault> {
        let novelty = self.seen.remember(&key, &secret);
        match (order, novelty) {
            (None, _) => Ok(()),
            (Some(order), Novelty::Repeated) => self.refuse(order, QkdRefusal::RepeatedKey),
            (Some(order), Novelty::New) => {
                self.counters.count("qkd-keys");
                self.engine
                    .send_secret(&QkdToEngine::Key { order, key }, secret)?;
                Ok(())
            }
        }
    }

    fn connected(&mut self, connect: Connect) -> Result<(), Fault> {
        let entropy = entropy()?;
        match connect {
            Connect::NotTried => {}
            Connect::Done => {
                if self.link != Some(Link::Up) {
                    log(Level::Info, format_args!("connected to the KME"));
                }
                self.link = Some(Link::Up);
            }
            Connect::Failed => {
                if self.link != Some(Link::Down) {
                    log(Level::Warn, format_args!("no connection to the KME"));
                }
                self.link = Some(Link::Down);
                self.counters.count("qkd-no-connection");
                // Who comes back may be another.
                self.served.clear();
            }
        }
        for order in self.dispatch.connected(connect, boot_time(), entropy) {
            self.refuse(order, QkdRefusal::Unreachable)?;
        }
        Ok(())
    }

    fn refuse(&mut self, order: OrderId, reason: QkdRefusal) -> Result<(), Fault> {
        self.counters.count(counter(reason));
        self.engine.send(&QkdToEngine::Refused { order, reason })?;
        Ok(())
    }
}

fn entropy() -> Result<u32, Fault> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| Fault::os("cannot get randomness", errno))?;
    Ok(u32::from_ne_bytes(bytes))
}

/// What each refusal is counted under.
fn counter(reason: QkdRefusal) -> &'static str {
    match reason {
        QkdRefusal::Unreachable => "qkd-unreachable",
        QkdRefusal::TimedOut => "qkd-timed-out",
        QkdRefusal::BadRequest => "qkd-bad-request",
        QkdRefusal::Unauthorized => "qkd-unauthorized",
        QkdRefusal::Unavailable => "qkd-unavailable",
        QkdRefusal::BadReply => "qkd-bad-reply",
        QkdRefusal::WrongKeyId => "qkd-wrong-key-id",
        QkdRefusal::WrongLength => "qkd-wrong-length",
        QkdRefusal::ZeroKey => "qkd-zero-key",
        QkdRefusal::RepeatedKey => "qkd-repeated-key",
        QkdRefusal::Busy => "qkd-busy",
        QkdRefusal::LockedMemory => "qkd-locked-memory",
        // The engine's own words.
        QkdRefusal::Budget => "qkd-budget",
        QkdRefusal::PeerWithout => "qkd-peer-without",
    }
}
