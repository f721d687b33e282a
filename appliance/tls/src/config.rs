//! The only configurations of rustls in the gateway and its controller.

use std::sync::Arc;

use bartizan_model::config::{Der, Groups};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{SigningKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use crate::certificate::{Anchors, Identity, certified};
use crate::clock::Clock;
use crate::error::TlsError;
use crate::verify::{ClientVerifier, Expected, ServerVerifier};

/// The groups of every link but a KME's, the preferred one first.
static HYBRID: [&dyn SupportedKxGroup; 2] = [kx_group::X25519MLKEM768, kx_group::SECP256R1MLKEM768];

/// What a KME's link may use besides.
static CLASSICAL: [&dyn SupportedKxGroup; 2] = [kx_group::X25519, kx_group::SECP256R1];

/// The client's side of a link to a node that is known by name.
///
/// A connection succeeds only with the server whose certificate names the asked
/// [`server_name`](crate::server_name), and with our own certificate sent.
///
/// # Errors
///
/// [`TlsError::Config`] if rustls refuses it.
pub fn client(identity: &Identity, anchors: &Anchors) -> Result<Arc<ClientConfig>, TlsError> {
    client_expecting(
        Expected::Asked,
        identity.shown(),
        anchors,
        Groups::HybridOnly,
    )
}

/// The client's side of a KME's link, the only one that classical groups may be allowed for.
///
/// Its operator names both ends there: our certificate may name anything, and the KME's may have
/// other names beside the asked [`server_name`](crate::server_name).
///
/// # Errors
///
/// [`TlsError::NoCertificate`], [`TlsError::OtherKey`], [`TlsError::Config`] if rustls refuses it.
pub fn kme_client(
    chain: &[Der],
    key: Arc<dyn SigningKey>,
    anchors: &Anchors,
    groups: Groups,
) -> Result<Arc<ClientConfig>, TlsError> {
    let resolver = SingleCertAndKey::from(certified(chain, key)?);
    client_expecting(Expected::Kme, Arc::new(resolver), anchors, groups)
}

/// The client's side of call home (RFC 8071, 3.2): whichever node of the anchors answers, **also one
/// whose own certificate has ended**: a box that was off for a day has no other to come back with.
///
/// The caller takes who it is, and until when it was vouched for, from
/// [`Established`](crate::Established) and decides.
///
/// # Errors
///
/// [`TlsError::Config`] if rustls refuses it.
pub fn call_home_client(
    identity: &Identity,
    anchors: &Anchors,
) -> Result<Arc<ClientConfig>, TlsError> {
    client_expecting(
        Expected::AnyOfTheAnchors,
        identity.shown(),
        anchors,
        Groups::HybridOnly,
    )
}

/// The server's side of a link: any node of the anchors, with its certificate.
///
/// # Errors
///
/// [`TlsError::Config`] if rustls refuses it.
pub fn server(identity: &Identity, anchors: &Anchors) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider(Groups::HybridOnly);
    let verifier = ClientVerifier::new(anchors, Arc::clone(&provider))?;
    let clock = anchors.clock.clone();
    server_with(identity.shown(), Arc::new(verifier), provider, clock).map(Arc::new)
}

/// The client's side of the link to the controller's database, which knows its clients by their passwords.
///
/// The server's certificate names what the client was told to connect to, and chains to the anchors.
///
/// # Errors
///
/// [`TlsError::Config`] if rustls refuses it.
pub fn database_client(anchors: &Anchors, groups: Groups) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config =
        ClientConfig::builder_with_details(provider(groups), Arc::new(anchors.clock.clone()))
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Config)?
            .with_root_certificates(Arc::clone(&anchors.roots))
            .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn client_expecting(
    expected: Expected,
    resolver: Arc<dyn ResolvesClientCert>,
    anchors: &Anchors,
    groups: Groups,
) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider(groups);
    let verifier = ServerVerifier::new(expected, anchors, &provider);
    let clock = anchors.clock.clone();
    client_with(resolver, Arc::new(verifier), provider, clock).map(Arc::new)
}

pub(crate) fn server_with(
    resolver: Arc<dyn ResolvesServerCert>,
    verifier: Arc<dyn ClientCertVerifier>,
    provider: Arc<CryptoProvider>,
    clock: Clock,
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(clock))
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Config)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    // A resumed session would skip the proof of the key.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

pub(crate) fn client_with(
    resolver: Arc<dyn ResolvesClientCert>,
    verifier: Arc<dyn ServerCertVerifier>,
    provider: Arc<CryptoProvider>,
    clock: Clock,
) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(clock))
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Config)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(resolver);
    config.resumption = Resumption::disabled();
    Ok(config)
}

pub(crate) fn provider(groups: Groups) -> Arc<CryptoProvider> {
    let mut kx_groups = HYBRID.to_vec();
    match groups {
        Groups::HybridOnly => {}
        Groups::ClassicalAllowed => kx_groups.extend(CLASSICAL),
    }
    Arc::new(CryptoProvider {
        kx_groups,
        ..default_provider()
    })
}
