//! The loop: orders to KMEs, what they bring to the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bartizan_model::config::{KmeConfig, KmeInterface, KmeTransport, RoleConfig};
use bartizan_model::ids::{KeyId, OrderId, SaeId};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{Edge, EngineToQkd, QkdToEngine, RoleToSupervisor, SupervisorToRole};
use bartizan_model::report::QkdRefusal;
use bartizan_model::time::BootTime;
use bartizan_process::journal::{Level, log};
use bartizan_process::{Counters, Exit, Fault, Started, SupervisorChannel, Watchdog, boot_time};
use bartizan_tls::{Anchors, AsyncChannel, Clock, Signer, TlsError, Tpm, kme_client, server_name};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::dispatch::WORKERS;
use crate::kme::Kme;
use crate::line::Way;
use crate::seen::Seen;
use crate::session::Target;
use crate::streams::Streams;
use crate::worker::{self, Report};

mod keys;
mod orders;

/// Handshakes at once.
const HANDSHAKES: usize = 8;

/// The most orders that are not answered yet.
const ORDERS_MAX: usize = 2048;

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
    let signer = Arc::new(Signer::ldevid(Tpm::new(ends.take(Edge::QkdTpm)?)));
    let clock = Clock::known(started.time);
    let mut kmes = Vec::new();
    for kme in config.kmes {
        let seen = seen_by_workers(&kme, &signer, &clock)?;
        kmes.push((kme, seen));
    }
    // A handshake waits for the TPM on a thread; the TPM signs one after the other anyway.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(HANDSHAKES)
        .build()
        .map_err(|error| Fault::because(Exit::OsErr, "cannot start the event loop", error))?;
    let outcome = runtime.block_on(async {
        let engine = AsyncChannel::new(engine)?;
        let qkd = Qkd::new(engine, started.supervisor, started.watchdog, kmes, clock)?;
        qkd.run().await
    });
    // A handshake that hangs must not delay the end of the process.
    runtime.shutdown_background();
    outcome
}

fn seen_by_workers(
    config: &KmeConfig,
    signer: &Arc<Signer>,
    clock: &Clock,
) -> Result<worker::Kme, Fault> {
    let fault = |error: TlsError| Fault::because(Exit::Config, "cannot speak with the KME", error);
    let tls = match (config.transport, config.interface) {
        (KmeTransport::Tls, _) => {
            let anchors = Anchors::new(&config.anchors, clock).map_err(fault)?;
            let signer = Arc::clone(signer);
            let tls = kme_client(&config.chain, signer, &anchors, config.groups).map_err(fault)?;
            let name = server_name(&config.name).map_err(fault)?;
            Some(Target { name, tls })
        }
        (KmeTransport::Plain, KmeInterface::Etsi004Binary | KmeInterface::Etsi004Json) => {
            log(
                Level::Warn,
                format_args!(
                    "no TLS with the KME {}: who is on the wire reads its keys",
                    config.name
                ),
            );
            None
        }
        (KmeTransport::Plain, KmeInterface::Etsi014) => {
            return Err(Fault::new(Exit::Config, "014 is spoken over TLS alone"));
        }
    };
    let port = config.address.port();
    Ok(worker::Kme {
        host: format!("{}:{port}", config.name).into(),
        way: Way {
            address: config.address,
            tls,
        },
        interface: config.interface,
        sae: config.sae.clone(),
    })
}

/// An order that is not answered yet.
#[derive(Debug)]
struct Order {
    peer: SaeId,
    /// The key that the peer named, as it named it.
    named: Option<KeyId>,
    deadline: BootTime,
    /// The KMEs that were asked.
    asked: BTreeSet<usize>,
}

struct Qkd {
    engine: AsyncChannel<EngineToQkd, QkdToEngine>,
    supervisor: AsyncChannel<SupervisorToRole, RoleToSupervisor>,
    watchdog: Watchdog,
    clock: Clock,
    counters: Counters,
    /// The preferred one first; none where none is configured.
    kmes: Vec<Kme>,
    orders: BTreeMap<OrderId, Order>,
    seen: Seen,
    /// Pairs of which there may be something to report.
    changed: BTreeSet<(usize, SaeId)>,
    reports: mpsc::Receiver<Report>,
    workers: JoinSet<()>,
}

impl Qkd {
    fn new(
        engine: AsyncChannel<EngineToQkd, QkdToEngine>,
        supervisor: SupervisorChannel,
        watchdog: Watchdog,
        configs: Vec<(KmeConfig, worker::Kme)>,
        clock: Clock,
    ) -> Result<Self, Fault> {
        let (report, reports) = mpsc::channel(WORKERS);
        let mut workers = JoinSet::new();
        let mut counters = Counters::default();
        let mut kmes = Vec::new();
        for (number, (config, kme)) in configs.into_iter().enumerate() {
            if config.transport == KmeTransport::Plain {
                counters.count("qkd-plain");
            }
            let mut jobs = Vec::new();
            for index in 0..WORKERS {
                let (job, its_jobs) = mpsc::channel(1);
                let place = (number, index);
                workers.spawn(worker::work(place, kme.clone(), its_jobs, report.clone()));
                jobs.push(job);
            }
            kmes.push(Kme::new(&config, jobs));
        }
        Ok(Self {
            engine,
            supervisor: AsyncChannel::new(supervisor)?,
            watchdog,
            clock,
            counters,
            kmes,
            orders: BTreeMap::new(),
            seen: Seen::default(),
            changed: BTreeSet::new(),
            reports,
            workers,
        })
    }

    async fn run(mut self) -> Result<(), Fault> {
        loop {
            let now = boot_time();
            self.watchdog.feed(now);
            self.counters.report(now, self.supervisor.channel_mut())?;
            self.tick(now)?;
            self.assign(now)?;
            self.tell(now)?;
            let mut rest = self.watchdog.interval();
            for deadline in [self.deadline(now), self.counters.deadline()] {
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
                        Some(SupervisorToRole::Lifecycle(Lifecycle::Quarantined)) => {
                            self.kmes.iter_mut().for_each(Kme::wipe);
                        }
                        None | Some(SupervisorToRole::Lifecycle(_)) => {}
                        Some(SupervisorToRole::Time(time)) => self.clock.learn(time),
                        Some(
                            SupervisorToRole::End(_)
                            | SupervisorToRole::Start(_)
                            | SupervisorToRole::Ldevid(_)
                            | SupervisorToRole::Farewell(_)
                            | SupervisorToRole::Sources(_)
                            | SupervisorToRole::KeepLdevid
                            | SupervisorToRole::RaiseRollback(_)
                            | SupervisorToRole::Network(_)
                            | SupervisorToRole::CallAnew,
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

    /// Tells the engine what changed of the links.
    fn tell(&mut self, now: BootTime) -> Result<(), Fault> {
        let due: Vec<(usize, SaeId)> = self
            .changed
            .extract_if(.., |(kme, peer)| {
                let pair = self.kmes.get(*kme).and_then(|kme| kme.pairs.get(peer));
                pair.is_none_or(|pair| pair.report_due(now) <= now)
            })
            .collect();
        for (kme, peer) in due {
            let kme = self.kmes.get_mut(kme);
            if let Some(report) = kme.and_then(|kme| kme.report(&peer, now)) {
                self.engine.send(&QkdToEngine::Link(Box::new(report)))?;
            }
        }
        Ok(())
    }

    fn deadline(&self, now: BootTime) -> Option<BootTime> {
        let links = self.kmes.iter().flat_map(|kme| {
            let pairs = kme.pairs.values().flat_map(|pair| {
                let streams = pair.streams.as_ref().and_then(Streams::deadline);
                [pair.pool.deadline(), streams]
            });
            pairs.chain([kme.dispatch.deadline(now)])
        });
        let reports = self.changed.iter().map(|(kme, peer)| {
            let pair = self.kmes.get(*kme)?.pairs.get(peer)?;
            Some(pair.report_due(now))
        });
        links.chain(reports).flatten().min()
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
