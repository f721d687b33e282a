//! The loop: the engine's orders, connections that come, stand and go, what peers say.

mod tasks;

use core::time::Duration;
use std::collections::BTreeMap;

use bartizan_model::config::RoleConfig;
use bartizan_model::ids::NodeId;
use bartizan_model::message::{
    Edge, EngineToPeer, PeerMessage, PeerToEngine, RoleToSupervisor, SupervisorToRole,
};
use bartizan_model::time::BootTime;
use bartizan_process::journal::{Level, log};
use bartizan_process::{Counters, Exit, Fault, Started, Watchdog, boot_time};
use bartizan_tls::{AsyncChannel, Clock, Signer, Tpm};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::connection::Message;
use crate::door::{Door, EXPECTED_MAX, STRANGERS_MAX};
use crate::frame::Frame;
use crate::links::{Action, ConnectionId, DIALS_MAX, End, Links};
use crate::listen::Listeners;
use crate::outbox::{Outbox, Slow, Total};
use crate::tls::Tls;
use tasks::{Connection, Outcome};

/// Messages that wait for the loop. Few: their senders take turns, each with one at a time.
const MESSAGES: usize = 16;

/// After the kernel could not give us a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Does the role's work until a neighbour is gone.
///
/// # Errors
///
/// [`Fault`]: why the process ends.
pub fn work(started: Started<()>) -> Result<(), Fault> {
    let RoleConfig::Peer(config) = started.config else {
        return Err(Fault::new(Exit::Protocol, "started as another role"));
    };
    let mut ends = started.ends;
    let engine = ends.take(Edge::EnginePeer)?;
    let signer = Signer::ldevid(Tpm::new(ends.take(Edge::PeerTpm)?));
    let tls = Tls::new(&config, signer, Clock::known(started.time))?;
    // Each handshake that runs has a thread, in which it waits for the TPM.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(EXPECTED_MAX + STRANGERS_MAX + DIALS_MAX)
        .build()
        .map_err(|error| Fault::because(Exit::OsErr, "cannot start the event loop", error))?;
    let outcome = runtime.block_on(async {
        let (message, messages) = mpsc::channel(MESSAGES);
        let peer = Peer {
            engine: AsyncChannel::new(engine)?,
            supervisor: AsyncChannel::new(started.supervisor)?,
            watchdog: started.watchdog,
            counters: Counters::default(),
            tls,
            listeners: Listeners::open(&config.listen)?,
            door: Door::new(),
            links: Links::default(),
            connections: BTreeMap::new(),
            total: Total::default(),
            tasks: JoinSet::new(),
            message,
            messages,
        };
        peer.run().await
    });
    // A handshake that hangs must not delay the end of the process.
    runtime.shutdown_background();
    outcome
}

struct Peer {
    engine: AsyncChannel<EngineToPeer, PeerToEngine>,
    supervisor: AsyncChannel<SupervisorToRole, RoleToSupervisor>,
    watchdog: Watchdog,
    counters: Counters,
    tls: Tls,
    listeners: Listeners,
    door: Door,
    links: Links,
    connections: BTreeMap<ConnectionId, Connection>,
    total: Total,
    tasks: JoinSet<Outcome>,
    message: mpsc::Sender<Message>,
    messages: mpsc::Receiver<Message>,
}

impl Peer {
    async fn run(mut self) -> Result<(), Fault> {
        let mut accept_from = BootTime::default();
        loop {
            let now = boot_time();
            self.watchdog.feed(now);
            self.counters.report(now, self.supervisor.channel_mut())?;
            let actions = self.links.dial(now);
            self.act(actions)?;
            let mut rest = self.watchdog.interval();
            for deadline in [self.links.deadline(), self.counters.deadline()] {
                rest = deadline.map_or(rest, |deadline| rest.min(deadline.since(now)));
            }
            let paused = now < accept_from;
            if paused {
                rest = rest.min(accept_from.since(now));
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
                        Some(SupervisorToRole::Time(time)) => self.tls.clock.learn(time),
                        Some(SupervisorToRole::Ldevid(chain)) => {
                            self.tls.renew(&chain)?;
                            self.counters.count("ldevid-renewed");
                        }
                        Some(
                            SupervisorToRole::End(_)
                            | SupervisorToRole::Start(_)
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
                // While the engine does not keep up, peers wait.
                Some(message) = self.messages.recv(), if self.engine.has_room() => {
                    self.hear(message)?;
                }
                Some(joined) = self.tasks.join_next() => {
                    // An aborted task says nothing: whoever aborted it has drawn the conclusions.
                    if let Ok(outcome) = joined {
                        self.finish(outcome)?;
                    }
                }
                accepted = self.listeners.accept(), if !paused => {
                    if accepted.is_err() {
                        accept_from = now.after(ACCEPT_PAUSE);
                    }
                    self.greet(accepted);
                }
                () = sleep(rest) => {}
            }
        }
    }

    fn order(&mut self, order: EngineToPeer) -> Result<(), Fault> {
        match order {
            EngineToPeer::Link(wanted) => {
                let Ok(actions) = self.links.want(wanted) else {
                    log(Level::Warn, format_args!("too many links"));
                    self.counters.count("peer-too-many-links");
                    return Ok(());
                };
                self.act(actions)
            }
            EngineToPeer::Unlink(node) => {
                let actions = self.links.unwant(&node);
                self.act(actions)
            }
            EngineToPeer::Send { to, message } => self.say(&to, message),
            EngineToPeer::Close(node) => {
                log(
                    Level::Warn,
                    format_args!("{node} repeats itself in nonsense"),
                );
                self.counters.count("peer-closed");
                let actions = self.links.bar(&node, boot_time());
                self.act(actions)
            }
        }
    }

    fn say(&mut self, node: &NodeId, message: Box<PeerMessage>) -> Result<(), Fault> {
        let Some(id) = self.links.connection_of(node) else {
            return Ok(());
        };
        let Ok(frame) = Frame::Message(message).encode() else {
            return Err(Fault::new(
                Exit::Protocol,
                "the engine says more than a frame holds",
            ));
        };
        let connection = self.connections.get(&id);
        let pushed = connection
            .and_then(|connection| connection.outbox.as_ref())
            .map_or(Ok(()), |outbox| outbox.push(frame));
        if pushed == Err(Slow) {
            return self.give_up(id);
        }
        if self.total.is_exceeded() {
            let waiting = |connection: &Connection| {
                let outbox = connection.outbox.as_ref();
                outbox.map_or(0, Outbox::waiting)
            };
            let slowest = self
                .connections
                .iter()
                .max_by_key(|(_, connection)| waiting(connection))
                .map(|(id, _)| *id);
            return slowest.map_or(Ok(()), |id| self.give_up(id));
        }
        Ok(())
    }

    /// Ends a connection whose peer does not keep up.
    fn give_up(&mut self, id: ConnectionId) -> Result<(), Fault> {
        let Some(connection) = self.connections.remove(&id) else {
            return Ok(());
        };
        connection.task.abort();
        self.counters.count("peer-slow");
        let node = connection.node;
        log(Level::Warn, format_args!("{node} does not keep up"));
        self.gone(id, &node, End::Lost)
    }

    /// Hands on what a peer said, if its connection still counts.
    fn hear(&mut self, (id, message): Message) -> Result<(), Fault> {
        if let Some(connection) = self.connections.get(&id) {
            let from = connection.node.clone();
            self.engine
                .send(&PeerToEngine::Received { from, message })?;
        }
        Ok(())
    }

    fn act(&mut self, actions: Vec<Action>) -> Result<(), Fault> {
        for action in actions {
            match action {
                Action::Dial { id, node, address } => self.dial(id, node, address),
                Action::Drop(id) => {
                    if let Some(connection) = self.connections.remove(&id) {
                        connection.task.abort();
                    }
                }
                Action::Disconnected(node) => {
                    log(Level::Info, format_args!("no link with {node}"));
                    self.engine.send(&PeerToEngine::Disconnected(node))?;
                }
            }
        }
        Ok(())
    }
}
