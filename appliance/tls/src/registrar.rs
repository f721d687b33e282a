//! The links by which a box becomes its owner's: before, no certificate names a node.
//!
//! Whom a certificate is of is decided above TLS here, by signed data or by the TPM. What TLS
//! proves is that the other end holds the certificate's key, and, where its CA is known, its name.

use core::time::Duration;
use std::sync::Arc;

use bartizan_model::config::{Der, Groups};
use bartizan_model::ids::NodeId;
use bartizan_model::time::KnownTime;
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{ClientConfig, CommonState, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::certificate::{Anchors, Identity, certified, server_name};
use crate::clock::Clock;
use crate::config::{client_with, provider, server_with};
use crate::error::TlsError;
use crate::handshake::{channel_binding, ended, off_the_loop};
use crate::verify::{AnyClient, AnyServer, Expected, ServerVerifier};

/// What is spoken over such a link (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Application {
    /// RFC 8572 over HTTP/1.1; also where the other end names nothing.
    Http,
    /// Enrolment.
    Enrolment,
}

/// A connection that stands; the other end holds the key of the certificate that it showed.
#[derive(Debug)]
pub struct Encounter {
    /// The plaintext's two ways.
    pub stream: TlsStream<TcpStream>,
    /// The certificate that the other end showed and what it sent with it, the leaf first; never
    /// empty.
    pub chain: Vec<Der>,
    /// What both ends speak.
    pub application: Application,
    /// The TLS exporter `EXPORTER-Channel-Binding` (RFC 9266): the same at both ends of this one
    /// connection.
    pub channel_binding: [u8; 32],
}

impl Application {
    fn alpn(self) -> Vec<u8> {
        match self {
            Self::Http => b"http/1.1".to_vec(),
            Self::Enrolment => b"bartizan-enrol/1".to_vec(),
        }
    }
}

/// The registrar's side: any client with a certificate, whoever signed it.
///
/// # Errors
///
/// [`TlsError::Config`] if rustls refuses it.
pub fn registrar(identity: &Identity) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider(Groups::HybridOnly);
    let verifier = AnyClient::new(&provider);
    // Whose certificate it is, and until when, is judged above TLS.
    let clock = Clock::system();
    let mut config = server_with(identity.shown(), Arc::new(verifier), provider, clock)?;
    config.alpn_protocols = vec![Application::Enrolment.alpn(), Application::Http.alpn()];
    Ok(Arc::new(config))
}

/// The box's side of a link to its owner's registrar, whose CA it was told by signed data.
///
/// A connection succeeds only with the server whose certificate names the asked node.
///
/// # Errors
///
/// [`TlsError::NoCertificate`], [`TlsError::OtherKey`], [`TlsError::Config`] if rustls refuses it.
pub fn registrar_client(
    chain: &[Der],
    key: Arc<dyn SigningKey>,
    anchors: &Anchors,
    application: Application,
) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider(Groups::HybridOnly);
    let verifier = ServerVerifier::new(Expected::Asked, anchors, &provider);
    bare_client(
        &certified(chain, key)?,
        Arc::new(verifier),
        (provider, anchors.clock.clone()),
        application,
    )
}

/// The box's side of a link to a bootstrap server that **nobody vouches for** (RFC 8572, 5.1): any
/// server is taken, whatever its certificate says. Nothing that comes from there counts but signed
/// data, and nothing secret may go there.
///
/// # Errors
///
/// As [`registrar_client`].
pub fn unauthenticated_bootstrap_client(
    chain: &[Der],
    key: Arc<dyn SigningKey>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider(Groups::HybridOnly);
    let verifier = AnyServer::new(&provider);
    bare_client(
        &certified(chain, key)?,
        Arc::new(verifier),
        (provider, Clock::known(KnownTime::default())),
        Application::Http,
    )
}

/// Opens TLS as the client of a registrar, with a [`registrar_client`] configuration.
///
/// # Errors
///
/// [`TlsError`]; the connection is closed then.
pub async fn connect_registrar(
    stream: TcpStream,
    config: Arc<ClientConfig>,
    node: &NodeId,
    limit: Duration,
) -> Result<Encounter, TlsError> {
    let name = server_name(node)?;
    off_the_loop(limit, client_handshake(stream, config, name)).await
}

/// Opens TLS as the client of a bootstrap server, with an [`unauthenticated_bootstrap_client`]
/// configuration. `host` is a DNS name or an IP address.
///
/// # Errors
///
/// [`TlsError`]; the connection is closed then.
pub async fn connect_bootstrap(
    stream: TcpStream,
    config: Arc<ClientConfig>,
    host: &str,
    limit: Duration,
) -> Result<Encounter, TlsError> {
    let name = ServerName::try_from(String::from(host)).map_err(|_no_name| {
        TlsError::Config(rustls::Error::General("no DNS name or address".into()))
    })?;
    off_the_loop(limit, client_handshake(stream, config, name)).await
}

/// Opens TLS as the registrar, with a [`registrar`] configuration.
///
/// # Errors
///
/// [`TlsError`]; the connection is closed then.
pub async fn accept_box(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    limit: Duration,
) -> Result<Encounter, TlsError> {
    let handshake = async move {
        let stream = TlsAcceptor::from(config)
            .accept(stream)
            .await
            .map_err(ended)?;
        let application = match stream.get_ref().1.alpn_protocol() {
            Some(named) if named == Application::Enrolment.alpn() => Application::Enrolment,
            // rustls takes no other than those that are configured.
            Some(_) | None => Application::Http,
        };
        encounter(stream.into(), application)
    };
    off_the_loop(limit, handshake).await
}

async fn client_handshake(
    stream: TcpStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<Encounter, TlsError> {
    let enrols = config
        .alpn_protocols
        .contains(&Application::Enrolment.alpn());
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(ended)?;
    let application = if enrols {
        Application::Enrolment
    } else {
        Application::Http
    };
    let taken = stream.get_ref().1.alpn_protocol();
    let agreed = taken.map_or(application == Application::Http, |taken| {
        taken == application.alpn()
    });
    if !agreed {
        return Err(TlsError::OtherApplication);
    }
    encounter(stream.into(), application)
}

fn encounter(
    stream: TlsStream<TcpStream>,
    application: Application,
) -> Result<Encounter, TlsError> {
    let common: &CommonState = stream.get_ref().1;
    let chain = common.peer_certificates().unwrap_or_default();
    let chain: Vec<_> = chain.iter().map(|der| Der(der.to_vec())).collect();
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    Ok(Encounter {
        channel_binding: channel_binding(&stream)?,
        stream,
        chain,
        application,
    })
}

fn bare_client(
    certified: &Arc<CertifiedKey>,
    verifier: Arc<dyn rustls::client::danger::ServerCertVerifier>,
    (provider, clock): (Arc<CryptoProvider>, Clock),
    application: Application,
) -> Result<Arc<ClientConfig>, TlsError> {
    let resolver = Arc::new(SingleCertAndKey::from(Arc::clone(certified)));
    let mut config = client_with(resolver, verifier, provider, clock)?;
    config.alpn_protocols = vec![application.alpn()];
    Ok(Arc::new(config))
}
