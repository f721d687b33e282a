//! Certified peers of the test's own making, which say what they like.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bartizan_tests::pki::Certified;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::gateway::Owner;

/// The frame by which a listener takes a connection, without its length.
pub(crate) const ADOPTED: [u8; 2] = [1, 0];
/// The frame that says nothing, with its length.
pub(crate) const HEARTBEAT: [u8; 4] = [0, 2, 1, 1];

const PATIENCE: Duration = Duration::from_secs(30);

/// The key agreement that a rogue offers.
#[derive(Clone, Copy)]
pub(crate) enum Groups {
    Hybrid,
    Classical,
}

/// A connection with a gateway.
pub(crate) struct Rogue {
    stream: TlsStream<TcpStream>,
    runtime: Arc<Runtime>,
}

impl Rogue {
    /// Connects to a gateway, whatever its name is.
    pub(crate) fn connect(
        address: SocketAddr,
        owner: &Owner,
        certified: Option<&Certified>,
        groups: Groups,
    ) -> io::Result<Self> {
        let builder = ClientConfig::builder_with_provider(provider(groups))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots(owner));
        let config = match certified {
            None => builder.with_no_client_auth(),
            Some(certified) => builder
                .with_client_auth_cert(chain(certified), key(certified).into())
                .unwrap(),
        };
        let runtime = runtime();
        let stream = runtime.block_on(async {
            let tcp = TcpStream::connect(address).await?;
            let connector = TlsConnector::from(Arc::new(config));
            let name = ServerName::try_from("gw-b").unwrap();
            timeout(PATIENCE, connector.connect(name, tcp)).await?
        })?;
        let stream = stream.into();
        Ok(Self { stream, runtime })
    }

    /// The certificate that the gateway has shown.
    pub(crate) fn shown(&self) -> Vec<u8> {
        let chain = self.stream.get_ref().1.peer_certificates();
        chain.expect("a certificate")[0].to_vec()
    }

    /// Sends these bytes as they are; fails once the gateway has closed the connection.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = &mut self.stream;
        self.runtime.block_on(async {
            timeout(PATIENCE, async {
                stream.write_all(bytes).await?;
                stream.flush().await
            })
            .await?
        })
    }

    /// The next frame without its length; `None` once the gateway has closed the connection.
    pub(crate) fn frame(&mut self) -> Option<Vec<u8>> {
        let stream = &mut self.stream;
        let frame = async {
            let length = stream.read_u16().await.ok()?;
            let mut frame = vec![0; length.into()];
            stream.read_exact(&mut frame).await.ok()?;
            Some(frame)
        };
        let frame = self
            .runtime
            .block_on(async { timeout(PATIENCE, frame).await });
        frame.expect("neither a frame nor an end")
    }

    /// Waits until the gateway closes the connection.
    pub(crate) fn wait_closed(&mut self) {
        while self.frame().is_some() {}
    }
}

/// A node that gateways dial.
pub(crate) struct RogueListener {
    listener: TcpListener,
    runtime: Arc<Runtime>,
    config: Arc<ServerConfig>,
}

impl RogueListener {
    pub(crate) fn bind(owner: &Owner, certified: &Certified, groups: Groups) -> Self {
        let runtime = runtime();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots(owner).into(), provider(groups));
        let config = ServerConfig::builder_with_provider(provider(groups))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain(certified), key(certified).into())
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        Self {
            listener,
            runtime,
            config: config.into(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Takes the next connection.
    pub(crate) fn accept(&self) -> io::Result<Rogue> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let stream = self.runtime.block_on(async {
            let (tcp, _) = timeout(PATIENCE, self.listener.accept()).await??;
            timeout(PATIENCE, acceptor.accept(tcp)).await?
        });
        Ok(Rogue {
            stream: stream?.into(),
            runtime: Arc::clone(&self.runtime),
        })
    }
}

fn runtime() -> Arc<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .into()
}

fn provider(groups: Groups) -> Arc<CryptoProvider> {
    let kx_groups: Vec<&'static dyn SupportedKxGroup> = match groups {
        Groups::Hybrid => vec![kx_group::X25519MLKEM768],
        Groups::Classical => vec![kx_group::X25519, kx_group::SECP256R1],
    };
    Arc::new(CryptoProvider {
        kx_groups,
        ..default_provider()
    })
}

fn roots(owner: &Owner) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(owner.authority.anchor().0.into()).unwrap();
    roots
}

fn chain(certified: &Certified) -> Vec<CertificateDer<'static>> {
    let chain = certified.chain().iter();
    chain.map(|der| der.0.clone().into()).collect()
}

fn key(certified: &Certified) -> PrivatePkcs8KeyDer<'static> {
    certified.key().to_vec().into()
}
