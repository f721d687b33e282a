//! The way home: waiting, calling, speaking, leaving, and again.

use core::fmt;
use core::future::pending;
use core::pin::Pin;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use bartizan_model::config::ControlConfig;
use bartizan_model::ids::NodeId;
use bartizan_netconf::SessionId;
use bartizan_tls::{
    Anchors, Backoff, Clock, Established, Identity, Signer, TlsError, accept, server,
};
use rustix::net::sockopt;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::connection::{Connection, ConnectionError};

/// How long the controller's host may take to answer a call.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long the handshake may take, the TPM's signature included.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(20);

/// The wait between two calls: for ever, and never a crowd's.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(15));

/// A controller that is silent for so long is asked for a sign of life, then again this often, so
/// that one that is gone is noticed within a minute.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(20);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 3;

/// How long what was sent may stay without the kernel's acknowledgement at the other end.
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(50);

/// The controller, and how the gateway stands with it.
pub(crate) struct Home {
    config: ControlConfig,
    identity: Identity,
    clock: Clock,
    tls: Arc<ServerConfig>,
    backoff: Backoff,
    last_session: u32,
    way: Way,
}

type Calling = Pin<Box<dyn Future<Output = Result<Established, CallError>>>>;
type Leaving = Pin<Box<dyn Future<Output = ()>>>;

enum Way {
    /// Until then; `None` is until [`Home::rest`] says.
    Resting(Option<Instant>),
    Calling(Calling),
    Speaking(Box<Connection>),
    Leaving(Leaving),
}

/// A call that came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Nobody answers.
    #[error("the controller cannot be reached")]
    Connect(#[source] io::Error),
    /// It took too long.
    #[error("the controller does not answer")]
    TimedOut,
    /// No TLS.
    #[error("no TLS with the controller")]
    Tls(#[from] TlsError),
    /// The certificate is of the owner's, and of another node.
    #[error("the controller's certificate names {0}")]
    OtherNode(NodeId),
}

/// What came of a step. After all but the first two, [`Home::rest`] is due.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing to be told.
    Moved,
    /// A session has begun.
    Opened,
    /// A call came to nothing.
    CallFailed(CallError),
    /// The connection is over before the session was.
    Lost(ConnectionError),
    /// A session that was over is left.
    Left,
}

impl Home {
    pub(crate) fn new(
        config: ControlConfig,
        signer: Signer,
        clock: Clock,
    ) -> Result<Self, TlsError> {
        let anchors = Anchors::new(&config.anchors, &clock)?;
        let identity = Identity::new(&config.chain, Arc::new(signer))?;
        Ok(Self {
            tls: server(&identity, &anchors)?,
            identity,
            clock,
            config,
            backoff: BACKOFF,
            last_session: 0,
            way: Way::Resting(Some(Instant::now())),
        })
    }

    /// Who we are in the handshakes to come.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// By which the controller's certificate is judged.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The connection, while a session is open on it.
    pub(crate) fn connection(&mut self) -> Option<&mut Connection> {
        match &mut self.way {
            Way::Speaking(connection) => Some(connection),
            Way::Resting(_) | Way::Calling(_) | Way::Leaving(_) => None,
        }
    }

    /// Goes one step on the way, however long that takes. Nothing is lost if the future is dropped.
    pub(crate) async fn step(&mut self) -> Step {
        let (step, way) = match &mut self.way {
            Way::Resting(None) => pending().await,
            Way::Resting(Some(until)) => {
                sleep_until(*until).await;
                let call = call(self.config.clone(), Arc::clone(&self.tls));
                (Step::Moved, Way::Calling(Box::pin(call)))
            }
            Way::Calling(calling) => match calling.await {
                Ok(established) => {
                    self.last_session = self.last_session.checked_add(1).unwrap_or(1);
                    let id = SessionId(self.last_session);
                    let connection = Connection::new(established, id);
                    (Step::Opened, Way::Speaking(Box::new(connection)))
                }
                Err(error) => (Step::CallFailed(error), Way::Resting(None)),
            },
            Way::Speaking(connection) => match connection.step().await {
                Ok(()) => return Step::Moved,
                Err(error) => {
                    self.forgive();
                    (Step::Lost(error), Way::Resting(None))
                }
            },
            Way::Leaving(leaving) => {
                leaving.await;
                (Step::Left, Way::Resting(None))
            }
        };
        self.way = way;
        step
    }

    /// Waits before the next call, with `entropy` for chance.
    pub(crate) fn rest(&mut self, entropy: u32) {
        let now = Instant::now();
        let wait = self.backoff.failed(entropy);
        self.way = Way::Resting(Some(now.checked_add(wait).unwrap_or(now)));
    }

    /// Drops what is under way, without a word, and calls at once.
    pub(crate) fn call_anew(&mut self) {
        self.backoff.succeeded();
        self.way = Way::Resting(Some(Instant::now()));
    }

    /// Leaves a session that is over.
    pub(crate) fn leave(&mut self) {
        self.forgive();
        if let Way::Speaking(connection) = core::mem::replace(&mut self.way, Way::Resting(None)) {
            self.way = Way::Leaving(Box::pin(connection.leave()));
        }
    }

    /// A controller that has said hello is one that works: the next call comes soon.
    fn forgive(&mut self) {
        if let Way::Speaking(connection) = &self.way
            && connection.session.is_greeted()
        {
            self.backoff.succeeded();
        }
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home").finish_non_exhaustive()
    }
}

async fn call(config: ControlConfig, tls: Arc<ServerConfig>) -> Result<Established, CallError> {
    let stream = timeout(CONNECT_LIMIT, TcpStream::connect(config.controller))
        .await
        .map_err(|_elapsed| CallError::TimedOut)?
        .map_err(CallError::Connect)?;
    watch(&stream).map_err(CallError::Connect)?;
    let established = accept(stream, tls, HANDSHAKE_LIMIT).await?;
    if established.node != config.controller_name {
        return Err(CallError::OtherNode(established.node));
    }
    Ok(established)
}

/// Has the kernel notice a controller that is gone.
fn watch(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
    let limit = u32::try_from(UNACKNOWLEDGED_LIMIT.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(stream, limit)?)
}
