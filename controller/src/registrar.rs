//! The registrar: one port where boxes find their owner (RFC 8572) and enrol.
//!
//! Whoever holds the key of any certificate gets through the handshake; who it is, is decided
//! above. So nothing here waits for ever, and nobody takes all of it.

mod bootstrap;
mod enrol;
mod http;
mod talk;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bartizan_bootstrap_protocol::sztp::{BODY_MAX, MEDIA_TYPE};
use bartizan_process::journal::{self, Level};
use bartizan_tls::{Application, accept_box};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::config::attested::RegistrarConfig;
use crate::desk::Desk;
use crate::serve::{chain, out_of_breath};
use crate::verifier::Verifier;

/// How long a handshake may take; a box signs in its TPM.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(15);

/// How long a box may ask what it has to ask by HTTP.
const HTTP_LIMIT: Duration = Duration::from_secs(30);

/// Connections at once, in all and from one address.
const CONNECTIONS: usize = 128;
const CONNECTIONS_OF_ONE: usize = 8;

/// The registrar.
#[derive(Debug)]
pub(crate) struct Registrar {
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    /// What is shared with every connection.
    office: Rc<Office>,
    connections: JoinSet<IpAddr>,
    /// How many of them come from one address.
    present: BTreeMap<IpAddr, usize>,
}

/// What a connection needs.
#[derive(Debug)]
struct Office {
    desk: Rc<Desk>,
    verifier: Arc<Verifier>,
    config: RegistrarConfig,
}

impl Registrar {
    /// Listens.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub(crate) async fn listen(
        config: RegistrarConfig,
        tls: Arc<ServerConfig>,
        desk: Rc<Desk>,
        verifier: Arc<Verifier>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        if let Ok(address) = listener.local_addr() {
            journal::log(Level::Info, format_args!("registrar on {address}"));
        }
        Ok(Self {
            listener,
            tls,
            office: Rc::new(Office {
                desk,
                verifier,
                config,
            }),
            connections: JoinSet::new(),
            present: BTreeMap::new(),
        })
    }

    /// Takes boxes in until the process ends.
    pub(crate) async fn run(mut self) -> core::convert::Infallible {
        loop {
            tokio::select! {
                came = self.listener.accept() => match came {
                    Ok((stream, address)) => self.take_in(stream, address),
                    Err(error) => out_of_breath(&error).await,
                },
                Some(over) = self.connections.join_next() => {
                    // A connection is never aborted and a panic ends the process.
                    if let Ok(address) = over {
                        self.gone(address);
                    }
                }
            }
        }
    }

    fn take_in(&mut self, stream: TcpStream, address: SocketAddr) {
        let of_one = self.present.entry(address.ip()).or_default();
        if self.connections.len() >= CONNECTIONS || *of_one >= CONNECTIONS_OF_ONE {
            self.office.desk.count("registrar-crowd");
            return;
        }
        *of_one = of_one.saturating_add(1);
        // Without it a small message waits for the acknowledgement of the one before, and is no less right.
        let _slower = stream.set_nodelay(true);
        let (tls, office) = (Arc::clone(&self.tls), Rc::clone(&self.office));
        self.connections.spawn_local(async move {
            office.receive(stream, tls, address).await;
            address.ip()
        });
    }

    fn gone(&mut self, address: IpAddr) {
        if let Some(of_one) = self.present.get_mut(&address) {
            *of_one = of_one.saturating_sub(1);
            if *of_one == 0 {
                self.present.remove(&address);
            }
        }
    }
}

impl Office {
    async fn receive(&self, stream: TcpStream, tls: Arc<ServerConfig>, address: SocketAddr) {
        let met = match accept_box(stream, tls, HANDSHAKE_LIMIT).await {
            Ok(met) => met,
            Err(error) => {
                self.desk.count("registrar-handshake-refused");
                let words = chain(&error);
                journal::log(Level::Info, format_args!("registrar: {words}"));
                return;
            }
        };
        let done = match met.application {
            Application::Enrolment => enrol::attend(self, met)
                .await
                .map_err(|error| chain(&error)),
            Application::Http => {
                let certificates = met.chain;
                let answer = async |asked| bootstrap::answer(self, &certificates, &asked).await;
                http::serve(met.stream, MEDIA_TYPE, BODY_MAX, HTTP_LIMIT, answer)
                    .await
                    .map_err(|error| chain(&error))
            }
        };
        if let Err(words) = done {
            self.desk.count("registrar-broken");
            journal::log(
                Level::Info,
                format_args!("registrar: {address}: {}", words.escape_debug()),
            );
        }
    }
}
