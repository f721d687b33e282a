//! Connections as tasks of the loop: how they begin and what follows from their end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bartizan_model::ids::NodeId;
use bartizan_model::message::PeerToEngine;
use bartizan_process::journal::{Level, log};
use bartizan_process::{Exit, Fault, boot_time};
use bartizan_tls::{Established, TlsError, accept};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::Peer;
use crate::connection::{Broken, Dialled, HANDSHAKE_LIMIT, dial, serve};
use crate::door::{Guest, Place};
use crate::frame::{Decoder, Frame};
use crate::links::{Action, ConnectionId, End, Verdict};
use crate::outbox::{Outbox, Slow, outbox};

/// A task that runs for a connection, or for an attempt to make one.
pub(super) struct Connection {
    pub(super) node: NodeId,
    pub(super) task: AbortHandle,
    /// Where the connection stands.
    pub(super) outbox: Option<Outbox>,
}

/// How a task ended.
pub(super) enum Outcome {
    Dialled {
        id: ConnectionId,
        node: NodeId,
        result: Box<Result<Dialled, Broken>>,
    },
    Greeted {
        place: Place,
        result: Box<Result<Established, TlsError>>,
    },
    Ended {
        id: ConnectionId,
        node: NodeId,
        broken: Broken,
    },
}

impl Peer {
    pub(super) fn dial(&mut self, id: ConnectionId, node: NodeId, address: SocketAddr) {
        let config = Arc::clone(&self.tls.client);
        let whom = node.clone();
        let task = self.tasks.spawn(async move {
            let result = Box::new(dial(address, config, whom.clone()).await);
            Outcome::Dialled {
                id,
                node: whom,
                result,
            }
        });
        let outbox = None;
        self.connections
            .insert(id, Connection { node, task, outbox });
    }

    /// Begins the handshake with whoever connected, if there is place.
    pub(super) fn greet(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let Ok((stream, source)) = accepted else {
            self.counters.count("peer-accept-failed");
            return;
        };
        let source = source.ip();
        let guest = if self.links.expects(source) {
            Guest::Expected
        } else {
            Guest::Stranger
        };
        let Ok(place) = self.door.knock(source, guest, boot_time()) else {
            self.counters.count("peer-turned-away");
            return;
        };
        let config = Arc::clone(&self.tls.server);
        self.tasks.spawn(async move {
            let result = match stream.set_nodelay(true) {
                Ok(()) => accept(stream, config, HANDSHAKE_LIMIT).await,
                Err(error) => Err(TlsError::Handshake(error)),
            };
            let result = Box::new(result);
            Outcome::Greeted { place, result }
        });
    }

    pub(super) fn finish(&mut self, outcome: Outcome) -> Result<(), Fault> {
        match outcome {
            Outcome::Greeted { place, result } => {
                self.door.leave(&place);
                match *result {
                    Ok(established) => self.adopt(established),
                    Err(error) => {
                        self.counters.count("peer-handshake-failed");
                        check(&error)
                    }
                }
            }
            Outcome::Dialled { id, node, result } => {
                self.connections.remove(&id);
                match *result {
                    Ok(dialled) => {
                        if self.links.dialled(id, &node, boot_time()) {
                            self.start(id, dialled.established, dialled.decoder, None)?;
                        }
                        Ok(())
                    }
                    Err(broken) => {
                        self.counters.count("peer-dial-failed");
                        self.broken(id, &node, &broken)
                    }
                }
            }
            Outcome::Ended { id, node, broken } => {
                // What it still said before its end waits in the queue.
                while let Ok(message) = self.messages.try_recv() {
                    self.hear(message)?;
                }
                self.connections.remove(&id);
                self.counters.count("peer-link-ended");
                self.broken(id, &node, &broken)
            }
        }
    }

    /// Takes an accepted connection for a link, or drops it.
    fn adopt(&mut self, established: Established) -> Result<(), Fault> {
        let node = &established.node;
        let (name, why) = match self.links.accepted(node, boot_time()) {
            Verdict::Adopted { id, replaces } => {
                self.act(replaces.map(Action::Drop).into_iter().collect())?;
                let first = Frame::Adopted.encode().ok();
                return self.start(id, established, Decoder::default(), first);
            }
            Verdict::Unknown => ("peer-unknown-node", "no tunnel needs it"),
            Verdict::OursToDial => ("peer-ours-to-dial", "it is ours to dial"),
            Verdict::Barred => ("peer-barred", "it talked nonsense"),
            Verdict::TooOften => ("peer-too-often", "it connects too often"),
        };
        log(Level::Debug, format_args!("{node} is not taken: {why}"));
        self.counters.count(name);
        Ok(())
    }

    fn start(
        &mut self,
        id: ConnectionId,
        established: Established,
        decoder: Decoder,
        first: Option<Vec<u8>>,
    ) -> Result<(), Fault> {
        let Established {
            stream,
            node,
            ldevid,
            ..
        } = established;
        let (outbox, outgoing) = outbox(&self.total);
        if let Some(first) = first
            && outbox.push(first) == Err(Slow)
        {
            return Err(Fault::new(Exit::Software, "an empty queue is full"));
        }
        let messages = self.message.clone();
        let whom = node.clone();
        let task = self.tasks.spawn(async move {
            let broken = serve(id, stream, decoder, outgoing, messages).await;
            let node = whom;
            Outcome::Ended { id, node, broken }
        });
        log(Level::Info, format_args!("link with {node}"));
        let connection = Connection {
            node: node.clone(),
            task,
            outbox: Some(outbox),
        };
        self.connections.insert(id, connection);
        self.engine
            .send(&PeerToEngine::Connected { node, ldevid })?;
        Ok(())
    }

    fn broken(&mut self, id: ConnectionId, node: &NodeId, broken: &Broken) -> Result<(), Fault> {
        log(Level::Debug, format_args!("{node}: {broken}"));
        let end = match broken {
            Broken::Tls(error) => {
                check(error)?;
                End::Lost
            }
            Broken::Frame(_) => {
                log(Level::Warn, format_args!("{node} sent a bad frame"));
                self.counters.count("peer-bad-frame");
                End::Nonsense
            }
            Broken::Silent => {
                self.counters.count("peer-silent");
                End::Lost
            }
            Broken::Stuck => {
                self.counters.count("peer-slow");
                End::Lost
            }
            Broken::Tcp(_) | Broken::NoAnswer | Broken::NotAdopted | Broken::GivenUp => End::Lost,
        };
        self.gone(id, node, end)
    }

    pub(super) fn gone(&mut self, id: ConnectionId, node: &NodeId, end: End) -> Result<(), Fault> {
        let mut entropy = [0; 4];
        rustix::rand::getrandom(&mut entropy, rustix::rand::GetRandomFlags::empty())
            .map_err(|errno| Fault::os("cannot get randomness", errno))?;
        let entropy = u32::from_ne_bytes(entropy);
        let actions = self.links.ended(id, node, end, boot_time(), entropy);
        self.act(actions)
    }
}

/// Lets a broken edge to the TPM end the process.
fn check(error: &TlsError) -> Result<(), Fault> {
    if matches!(error, TlsError::TpmEdge) {
        return Err(Fault::new(
            Exit::Unavailable,
            "the edge to the TPM is broken",
        ));
    }
    Ok(())
}
