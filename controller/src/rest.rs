//! REST for the owner's own network: the same orders as over the local socket, by TLS with client certificates.
//!
//! It is off unless it is configured. What it offers stands in `openapi.json`, which it serves itself.

mod answer;
mod io;
mod rate;
mod routes;

use core::cell::RefCell;
use core::convert::Infallible;
use core::net::SocketAddr;
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use bartizan_process::journal::{self, Level};
use bartizan_tls::{Anchors, Identity, TlsError, accept, server};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::desk::Desk;
use crate::device::Actor;
use crate::serve::{ServeError, chain};
use io::{Loop, Stream};
use rate::Rates;

/// Where REST is served, and to whom.
#[derive(Clone, Debug)]
pub struct RestConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Who signs the operators' certificates; each names one operator as its only `dNSName`.
    pub anchors: Anchors,
}

/// The server.
pub(crate) struct Rest {
    desk: Rc<Desk>,
    tls: Arc<ServerConfig>,
    listener: TcpListener,
    rates: Rc<RefCell<Rates>>,
    connections: JoinSet<()>,
}

/// Connections at once.
const CONNECTIONS: usize = 64;

/// How long a handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// How long the head of a request may take, and a connection without one may stand.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// How long a connection may stand in all.
const CONNECTION_LIMIT: Duration = Duration::from_hours(1);

/// The most bytes of a request's head.
const HEAD_MAX: usize = 16 * 1024;

/// The rest after the system had no descriptor to give.
const BREATH: Duration = Duration::from_millis(200);

impl Rest {
    /// Opens the port.
    ///
    /// # Errors
    ///
    /// [`ServeError`].
    pub(crate) async fn open(
        config: &RestConfig,
        identity: &Identity,
        desk: Rc<Desk>,
    ) -> Result<Self, ServeError> {
        let tls = server(identity, &config.anchors)?;
        let listener = TcpListener::bind(config.listen).await;
        let listener = listener.map_err(|cause| ServeError::Listen {
            what: config.listen.to_string(),
            cause,
        })?;
        if let Ok(address) = listener.local_addr() {
            journal::log(Level::Info, format_args!("REST is listening on {address}"));
        }
        Ok(Self {
            desk,
            tls,
            listener,
            rates: Rc::default(),
            connections: JoinSet::new(),
        })
    }

    /// Serves for ever.
    pub(crate) async fn run(mut self) -> Infallible {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.begin(stream),
                    Err(error) => {
                        journal::log(Level::Warn, format_args!("REST: accept: {error}"));
                        sleep(BREATH).await;
                    }
                },
                Some(_over) = self.connections.join_next() => {}
            }
        }
    }

    fn begin(&mut self, stream: TcpStream) {
        if self.connections.len() >= CONNECTIONS {
            self.desk.count("rest-crowd");
            return;
        }
        // Without it a small answer waits for the acknowledgement of the one before, and is no less right.
        let _slower = stream.set_nodelay(true);
        let desk = Rc::clone(&self.desk);
        let (tls, rates) = (Arc::clone(&self.tls), Rc::clone(&self.rates));
        self.connections.spawn_local(async move {
            if let Err(error) = attend(stream, tls, &desk, &rates).await {
                desk.count("rest-handshake-refused");
                let words = chain(&error);
                journal::log(Level::Warn, format_args!("REST: {}", words.escape_debug()));
            }
        });
    }
}

async fn attend(
    stream: TcpStream,
    tls: Arc<ServerConfig>,
    desk: &Desk,
    rates: &RefCell<Rates>,
) -> Result<(), TlsError> {
    let established = accept(stream, tls, HANDSHAKE_LIMIT).await?;
    let operator = established.node;
    let actor = Actor::new(operator.as_str());
    let service = service_fn(async |request| {
        Ok::<_, Infallible>(if rates.borrow_mut().admits(&operator) {
            answer::answer(desk, &actor, request).await
        } else {
            desk.count("rest-rate");
            answer::too_many()
        })
    });
    let connection = http1::Builder::new()
        .timer(Loop)
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_MAX)
        .serve_connection(Stream::new(established.stream), service);
    match timeout(CONNECTION_LIMIT, connection).await {
        Ok(Ok(())) | Err(_) => {}
        // An operator's program that ends in the middle is no news.
        Ok(Err(error)) => journal::log(Level::Debug, format_args!("REST: {error}")),
    }
    Ok(())
}
