//! `serve`: takes the gateways in that call home, and the owner's commands.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bartizan_evidence::lease::OwnerTime;
use bartizan_model::ids::NodeId;
use bartizan_process::journal::{self, Level};
use bartizan_tls::{Established, TlsError, call_home_client, connect_home};
use rustls::ClientConfig;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::runtime;
use tokio::sync::broadcast;
use tokio::task::{AbortHandle, JoinSet, LocalSet};
use tokio::time::sleep;

use crate::attestation::Attester;
use crate::clock::owner_time;
use crate::config::Config;
use crate::config::attested::Attested;
use crate::descriptors;
use crate::desk::Desk;
use crate::fleet::Fleet;
use crate::link::Link;
use crate::local;
use crate::plan::{Plan, PlanErrors};
use crate::registrar::Registrar;
use crate::rest::Rest;
use crate::session::Call;
use crate::store::{Changed, Store, StoreError};
use crate::verifier::Verifier;

/// How long a handshake may take; a gateway signs in its TPM.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(15);

/// Handshakes at once, in all and from one address: who never ends one keeps nobody else out.
const HANDSHAKES: usize = 128;
const HANDSHAKES_OF_ONE: usize = 8;

/// Commands at once.
const COMMANDS: usize = 32;

/// The rest after the system had no descriptor to give.
const BREATH: Duration = Duration::from_millis(200);

/// `serve` cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The state file cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The plan that was kept does not fit the configuration.
    #[error("the plan that was kept does not fit the configuration")]
    Kept(#[source] PlanErrors),
    /// TLS cannot be configured.
    #[error("TLS")]
    Tls(#[from] TlsError),
    /// A socket cannot be opened.
    #[error("cannot listen on {what}")]
    Listen {
        /// Which.
        what: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The event loop cannot be made.
    #[error("cannot make the event loop")]
    Runtime(#[source] io::Error),
}

/// Serves until the process is killed.
///
/// # Errors
///
/// [`ServeError`] if it cannot begin.
pub fn serve(config: &Config) -> Result<(), ServeError> {
    descriptors::raise();
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(HANDSHAKES)
        .build()
        .map_err(ServeError::Runtime)?;
    LocalSet::new().block_on(&runtime, async {
        let never = Controller::start(config).await?.run().await;
        match never {}
    })
}

struct Controller {
    desk: Rc<Desk>,
    tls: Arc<ClientConfig>,
    gateways: TcpListener,
    commands: UnixListener,
    handshakes: JoinSet<(SocketAddr, Result<Established, TlsError>)>,
    /// How many of them come from one address.
    shaking: BTreeMap<IpAddr, usize>,
    sessions: JoinSet<()>,
    /// The present session of each gateway.
    present: BTreeMap<NodeId, AbortHandle>,
    attended: JoinSet<io::Result<()>>,
    changes: broadcast::Receiver<Changed>,
    followed: JoinSet<()>,
    /// They end with this.
    _servers: JoinSet<core::convert::Infallible>,
    /// Who judges the gateways, where attestation is configured.
    verifier: Option<Arc<Verifier>>,
    /// Gateways whose records are being read.
    admitted: JoinSet<Option<Call>>,
}

impl Controller {
    async fn start(config: &Config) -> Result<Self, ServeError> {
        let store = Store::open(&config.store).await?;
        let kept = store.plan().await?;
        let plan = Plan::try_from(&kept.document).map_err(ServeError::Kept)?;
        let changes = store.changes();
        let mut nodes = config.nodes.clone();
        nodes.extend(store.nodes().await?);
        let fleet = Fleet::new(&nodes, &plan, &kept.reqids).map_err(ServeError::Kept)?;
        let tls = call_home_client(&config.identity, &config.anchors)?;
        let gateways = TcpListener::bind(config.listen).await;
        let gateways = gateways.map_err(|cause| ServeError::Listen {
            what: config.listen.to_string(),
            cause,
        })?;
        let commands = local::listen(&config.socket).map_err(|cause| ServeError::Listen {
            what: config.socket.display().to_string(),
            cause,
        })?;
        let desk = Rc::new(Desk::new(fleet, (store, kept), config));
        let mut servers = JoinSet::new();
        if let Some(rest) = &config.rest {
            let rest = Rest::open(rest, &config.identity, Rc::clone(&desk)).await?;
            servers.spawn_local(rest.run());
        }
        desk.admit_all().await?;
        if let Some(attested) = &config.attested {
            let registrar = registrar(config, attested, &desk).await?;
            servers.spawn_local(registrar.run());
        } else {
            let words = "no leases are granted: no verifier is configured";
            journal::log(Level::Warn, format_args!("{words}"));
        }
        if let Ok(address) = gateways.local_addr() {
            journal::log(Level::Info, format_args!("listening on {address}"));
        }
        Ok(Self {
            desk,
            tls,
            gateways,
            commands,
            handshakes: JoinSet::new(),
            shaking: BTreeMap::new(),
            sessions: JoinSet::new(),
            present: BTreeMap::new(),
            attended: JoinSet::new(),
            changes,
            followed: JoinSet::new(),
            _servers: servers,
            verifier: config
                .attested
                .as_ref()
                .map(|attested| Arc::clone(&attested.verifier)),
            admitted: JoinSet::new(),
        })
    }

    async fn run(mut self) -> core::convert::Infallible {
        loop {
            tokio::select! {
                called = self.gateways.accept() => match called {
                    Ok((stream, address)) => self.shake_hands(stream, address),
                    Err(error) => out_of_breath(&error).await,
                },
                asked = self.commands.accept(), if self.attended.len() < COMMANDS => match asked {
                    Ok((stream, _)) => {
                        let desk = Rc::clone(&self.desk);
                        self.attended.spawn_local(local::attend(stream, desk));
                    }
                    Err(error) => out_of_breath(&error).await,
                },
                Some(shaken) = self.handshakes.join_next() => {
                    // A handshake is never aborted and a panic ends the process.
                    if let Ok((address, result)) = shaken {
                        self.shaken(address, result);
                    }
                },
                changed = self.changes.recv() => {
                    // The desk keeps the sender, so what is missed is all that can go wrong.
                    self.follow(changed.unwrap_or(Changed::Anything));
                }
                Some(_followed) = self.followed.join_next() => {}
                Some(admitted) = self.admitted.join_next() => {
                    if let Ok(Some(call)) = admitted {
                        self.attend(call);
                    }
                }
                Some(_over) = self.sessions.join_next() => {}
                Some(attended) = self.attended.join_next() => {
                    if let Ok(Err(error)) = attended {
                        journal::log(Level::Debug, format_args!("a command: {error}"));
                    }
                }
            }
        }
    }

    fn follow(&mut self, changed: Changed) {
        let desk = Rc::clone(&self.desk);
        self.followed.spawn_local(async move {
            if let Err(error) = desk.follow(changed).await {
                desk.count("store-not-followed");
                let words = chain(&error);
                journal::log(Level::Error, format_args!("what others keep: {words}"));
            }
        });
    }

    fn shake_hands(&mut self, stream: TcpStream, address: SocketAddr) {
        let of_one = self.shaking.entry(address.ip()).or_default();
        if self.handshakes.len() >= HANDSHAKES || *of_one >= HANDSHAKES_OF_ONE {
            self.desk.count("handshake-crowd");
            return;
        }
        *of_one = of_one.saturating_add(1);
        let tls = Arc::clone(&self.tls);
        self.handshakes.spawn_local(async move {
            let established = connect_home(stream, tls, HANDSHAKE_LIMIT).await;
            (address, established)
        });
    }

    fn shaken(&mut self, address: SocketAddr, result: Result<Established, TlsError>) {
        if let Some(of_one) = self.shaking.get_mut(&address.ip()) {
            *of_one = of_one.saturating_sub(1);
            if *of_one == 0 {
                self.shaking.remove(&address.ip());
            }
        }
        match result {
            Ok(established) => self.begin(address, established),
            Err(error) => {
                self.desk.count("handshake-refused");
                journal::log(Level::Warn, format_args!("a call home: {}", chain(&error)));
            }
        }
    }

    /// Reads the record of a gateway that called home.
    fn begin(&mut self, address: SocketAddr, established: Established) {
        let (desk, verifier) = (Rc::clone(&self.desk), self.verifier.clone());
        self.admitted.spawn_local(async move {
            let node = established.node.clone();
            match admit(&desk, verifier.as_ref(), established, address).await {
                Ok(call) => Some(call),
                Err((counter, why)) => {
                    desk.count(counter);
                    let words = why.escape_debug();
                    journal::log(Level::Warn, format_args!("{node} called home: {words}"));
                    None
                }
            }
        });
    }

    /// Begins a session; an older one of the same gateway is over.
    fn attend(&mut self, call: Call) {
        let Call { node, number, .. } = &call;
        let (node, number) = (node.clone(), *number);
        journal::log(Level::Info, format_args!("{node} called home"));
        let desk = Rc::clone(&self.desk);
        let session = self.sessions.spawn_local(async move {
            let node = call.node.clone();
            let error = call.attend(&desk).await;
            desk.disconnected(&node, number, &chain(&error));
        });
        if let Some(older) = self.present.insert(node, session) {
            older.abort();
        }
    }
}

/// Decides whether a gateway that called home may stay; what is counted and the precise reason if
/// it may not.
async fn admit(
    desk: &Desk,
    verifier: Option<&Arc<Verifier>>,
    established: Established,
    address: SocketAddr,
) -> Result<Call, (&'static str, String)> {
    let turned = |words: String| ("gateway-turned-away", words);
    let unknown = || ("unknown-node", "it is no node of ours".to_owned());
    let Established {
        stream,
        node,
        ldevid,
        not_after,
        channel_binding,
    } = established;
    let not_after = OwnerTime(not_after);
    let attester = match verifier {
        None if not_after < owner_time() => {
            return Err(turned("its certificate has ended".to_owned()));
        }
        None => None,
        Some(verifier) => {
            let device = desk.store.device_of(&node).await;
            let device = device.map_err(|error| turned(chain(&error)))?;
            let device = device.ok_or_else(unknown)?;
            let attester = Attester::new(verifier, &device, ldevid, not_after, channel_binding);
            Some(attester.map_err(|why| turned(chain(&why)))?)
        }
    };
    let known = desk.connected(&node, address);
    let (number, desired) = known.ok_or_else(unknown)?;
    Ok(Call {
        node,
        number,
        link: Link::new(stream),
        desired,
        attester,
    })
}

async fn registrar(
    config: &Config,
    attested: &Attested,
    desk: &Rc<Desk>,
) -> Result<Registrar, ServeError> {
    let tls = bartizan_tls::registrar(&config.identity)?;
    let (office, verifier) = (attested.registrar.clone(), Arc::clone(&attested.verifier));
    let listen = office.listen;
    let registrar = Registrar::listen(office, tls, Rc::clone(desk), verifier).await;
    registrar.map_err(|cause| ServeError::Listen {
        what: listen.to_string(),
        cause,
    })
}

pub(crate) async fn out_of_breath(error: &io::Error) {
    journal::log(Level::Warn, format_args!("accept: {error}"));
    sleep(BREATH).await;
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
