//! The listeners: mutual TLS, one task a connection, on a thread of their own.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::api::{State, route};
use super::certificate::sae_of;
use super::fault::Request;
use super::http::read_request;
use super::key::Link;
use super::orders;
use super::reply::{After, Reply, send_raw};
use super::store::{Pace, Store};
use super::stream::{Call, Streams, binary, json};

/// Which key agreement the KME offers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Groups {
    /// X25519MLKEM768 and SecP256r1MLKEM768, then classical ones.
    Hybrid,
    /// Only classical ones, as a KME of the field.
    Classical,
}

/// A wire form of 004.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// Heads of 8 bytes and bodies.
    Binary,
    /// JSON objects.
    Json,
}

/// A listener for 004.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Door {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What is spoken there.
    pub form: Form,
    /// Whether in TLS with client certificates, or in plain TCP.
    pub tls: bool,
}

/// What makes one KME.
#[derive(Debug)]
pub struct Options {
    /// Where to listen for 014; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where to listen for 004.
    pub doors: Vec<Door>,
    /// A folder that both KMEs of the link see: which streams are open at both ends shows in it.
    pub rendezvous: Option<PathBuf>,
    /// How many trusted nodes are between the two KMEs.
    pub hops: u32,
    /// `source_KME_ID`.
    pub name: String,
    /// `target_KME_ID`: the KME at the other end.
    pub target: String,
    /// The server's certificate and its chain, the leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the leaf.
    pub key: PrivateKeyDer<'static>,
    /// Who may have signed an SAE's certificate.
    pub client_anchors: Vec<CertificateDer<'static>>,
    /// What the two KMEs of a link share.
    pub seed: u64,
    /// How fast the link makes keys.
    pub pace: Pace,
    /// Which key agreement to offer.
    pub groups: Groups,
    /// The socket that takes orders, if there is to be one; replaced if it exists.
    pub control: Option<PathBuf>,
}

/// A KME cannot start.
#[derive(Debug, thiserror::Error)]
pub enum KmeError {
    /// Certificates, key or anchors do not fit.
    #[error("cannot use the certificates")]
    Tls(#[source] rustls::Error),
    /// The anchors make no verifier.
    #[error("cannot use the client anchors")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// A socket or the thread.
    #[error("cannot serve")]
    Serve(#[source] io::Error),
}

/// A KME that serves until it is dropped.
#[derive(Debug)]
pub struct Kme {
    address: SocketAddr,
    doors: Vec<SocketAddr>,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Kme {
    /// Listens and serves on a thread of its own.
    ///
    /// # Errors
    ///
    /// [`KmeError`].
    pub fn start(options: Options) -> Result<Self, KmeError> {
        let tls = Arc::new(tls(&options)?);
        let first = first_counter();
        let store = Store::new(Link::new(options.seed), options.pace, first);
        let streams = Streams::new(
            options.name.clone(),
            first,
            options.rendezvous,
            options.hops,
        );
        let state = Arc::new(Mutex::new(State::new(
            options.name,
            options.target,
            options.pace.capacity,
            store,
            streams,
        )));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(KmeError::Serve)?;
        let listeners = runtime
            .block_on(listen(
                options.listen,
                &options.doors,
                options.control.as_deref(),
            ))
            .map_err(KmeError::Serve)?;
        let address = listeners.tcp.local_addr().map_err(KmeError::Serve)?;
        let doors = listeners.doors.iter().map(|(door, _)| door.local_addr());
        let doors = doors.collect::<Result<_, _>>().map_err(KmeError::Serve)?;
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("kme".to_owned())
            .spawn(move || runtime.block_on(serve(listeners, tls, served, stopped)))
            .map_err(KmeError::Serve)?;
        Ok(Self {
            address,
            doors,
            state,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens for 004, in the order of [`Options::doors`].
    pub fn doors(&self) -> &[SocketAddr] {
        &self.doors
    }

    /// Where it listens for 014.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Carries out a line of the control socket's protocol; what it answers.
    pub fn order(&self, line: &str) -> String {
        orders::obey(&self.state, line)
    }

    /// How often this was counted.
    pub fn count(&self, name: &str) -> u64 {
        let state = locked(&self.state);
        state.plan.counts().get(name).copied().unwrap_or_default()
    }

    /// Serves until the process ends.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by its hook.
            drop(thread.join());
        }
    }
}

impl Drop for Kme {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Where nobody listens any more, the thread has ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by its hook.
            drop(thread.join());
        }
    }
}

/// A poisoned state is as good as any for a simulator.
pub(super) fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tls(options: &Options) -> Result<ServerConfig, KmeError> {
    let mut provider = default_provider();
    provider.kx_groups = match options.groups {
        Groups::Hybrid => vec![
            kx_group::X25519MLKEM768,
            kx_group::SECP256R1MLKEM768,
            kx_group::X25519,
            kx_group::SECP256R1,
        ],
        Groups::Classical => vec![kx_group::X25519, kx_group::SECP256R1],
    };
    let provider: Arc<CryptoProvider> = Arc::new(provider);
    let mut roots = RootCertStore::empty();
    for anchor in &options.client_anchors {
        roots.add(anchor.clone()).map_err(KmeError::Tls)?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(KmeError::Verifier)?;
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(KmeError::Tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(options.chain.clone(), options.key.clone_key())
        .map_err(KmeError::Tls)
}

/// A counter that no earlier start of this KME came to: microseconds outrun any key rate.
fn first_counter() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

struct Listeners {
    tcp: TcpListener,
    doors: Vec<(TcpListener, Door)>,
    control: Option<UnixListener>,
}

async fn listen(
    address: SocketAddr,
    doors: &[Door],
    control: Option<&Path>,
) -> io::Result<Listeners> {
    let tcp = TcpListener::bind(address).await?;
    let mut bound = Vec::new();
    for door in doors {
        bound.push((TcpListener::bind(door.listen).await?, *door));
    }
    let control = match control {
        None => None,
        Some(path) => match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => Some(UnixListener::bind(path)?),
        },
    };
    Ok(Listeners {
        tcp,
        doors: bound,
        control,
    })
}

async fn serve(
    listeners: Listeners,
    tls: Arc<ServerConfig>,
    state: Arc<Mutex<State>>,
    mut stopped: oneshot::Receiver<()>,
) {
    let Listeners {
        tcp,
        doors,
        control,
    } = listeners;
    let start = Instant::now();
    let acceptor = TlsAcceptor::from(tls);
    let mut connections = JoinSet::new();
    for (listener, door) in doors {
        connections.spawn(attend(
            listener,
            door,
            acceptor.clone(),
            Arc::clone(&state),
            start,
        ));
    }
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            Some(_) = connections.join_next() => {}
            accepted = tcp.accept() => {
                if let Ok((stream, _)) = accepted {
                    let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
                    connections.spawn(async move {
                        // What a client does wrong ends its connection and is counted.
                        if connection(&acceptor, &state, stream, start).await.is_err() {
                            locked(&state).plan.count("broken");
                        }
                    });
                }
            }
            Ok((stream, _)) = accept(control.as_ref()) => {
                let state = Arc::clone(&state);
                connections.spawn(async move {
                    // Whoever ordered sees that the answer is missing.
                    drop(orders::serve(&state, stream).await);
                });
            }
        }
    }
}

async fn accept(
    control: Option<&UnixListener>,
) -> io::Result<(tokio::net::UnixStream, tokio::net::unix::SocketAddr)> {
    match control {
        Some(control) => control.accept().await,
        None => core::future::pending().await,
    }
}

async fn connection(
    acceptor: &TlsAcceptor,
    state: &Mutex<State>,
    stream: TcpStream,
    start: Instant,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = acceptor.accept(stream).await?;
    locked(state).plan.count("connections");
    let caller = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| sae_of(chain.first()?));
    let mut left = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut left).await? {
        let (reply, behaviours) = match (&caller, route(&request)) {
            (None, _) => (
                Reply::error(401, "the certificate names no SAE"),
                Vec::new(),
            ),
            (_, None) => (Reply::error(404, "no such resource"), Vec::new()),
            (Some(caller), Some(route)) => {
                let mut state = locked(state);
                let behaviours = state.plan.meet(route.0);
                let now = start.elapsed();
                let reply = state.answer(caller, route, &request, &behaviours, now);
                (reply, behaviours)
            }
        };
        if reply.send(&mut stream, &behaviours).await? == After::Close {
            break;
        }
    }
    // Drop and Hang end without a farewell as well; a client must bear it.
    Ok(())
}

/// Serves one listener of 004.
async fn attend(
    listener: TcpListener,
    door: Door,
    acceptor: TlsAcceptor,
    state: Arc<Mutex<State>>,
    start: Instant,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
                    connections.spawn(async move {
                        if caller(door, &acceptor, &state, stream, start).await.is_err() {
                            locked(&state).plan.count("broken");
                        }
                    });
                }
            }
        }
    }
}

async fn caller(
    door: Door,
    acceptor: &TlsAcceptor,
    state: &Mutex<State>,
    stream: TcpStream,
    start: Instant,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if !door.tls {
        locked(state).plan.count("connections");
        return streams(door.form, state, stream, None, start).await;
    }
    let stream = acceptor.accept(stream).await?;
    locked(state).plan.count("connections");
    let chain = stream.get_ref().1.peer_certificates();
    let sae = chain.and_then(|chain| sae_of(chain.first()?));
    match sae {
        Some(sae) => streams(door.form, state, stream, Some(&sae), start).await,
        None => Err(io::Error::other("the certificate names no SAE")),
    }
}

async fn streams(
    form: Form,
    state: &Mutex<State>,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    sae: Option<&str>,
    start: Instant,
) -> io::Result<()> {
    let mut left = Vec::new();
    loop {
        let call = match form {
            Form::Binary => binary::read(&mut stream).await?,
            Form::Json => json::read(&mut stream, &mut left).await?,
        };
        let Some(call) = call else { return Ok(()) };
        let (answer, behaviours) = {
            let mut state = locked(state);
            let behaviours = state.plan.meet(match call {
                Call::Open { .. } => Request::Open,
                Call::Get { .. } => Request::Get,
                Call::Close { .. } => Request::Close,
            });
            let answer = state.stream(sae, &call, &behaviours, start.elapsed());
            (answer, behaviours)
        };
        let bytes = match form {
            Form::Binary => binary::write(&call, &answer),
            Form::Json => json::write(&answer),
        };
        if send_raw(&mut stream, bytes, &behaviours).await? == After::Close {
            return Ok(());
        }
    }
}
