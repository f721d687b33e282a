//! The handshake, off the loop.
//!
//! rustls signs in the middle of it, synchronously, and a TPM takes its time over a signature. So
//! the whole handshake runs on a thread of the runtime's blocking pool; the sockets stay with the
//! runtime's loop, which goes on serving everything else. After the handshake nothing signs, and
//! the stream belongs to the loop like any other.

use core::pin::pin;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use bartizan_model::ids::{NodeId, Thumbprint};
use rustls::{ClientConfig, OtherError, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::certificate::{not_after, peer_node, peer_thumbprint, server_name};
use crate::error::TlsError;
use crate::tpm::TpmError;

/// A connection that stands, and with whom.
#[derive(Debug)]
pub struct Established {
    /// The plaintext's two ways.
    pub stream: TlsStream<TcpStream>,
    /// The node that the other end's certificate names.
    pub node: NodeId,
    /// The thumbprint of that certificate's key.
    pub ldevid: Thumbprint,
    /// When that certificate ends, in seconds since 1970.
    pub not_after: u64,
    /// The TLS exporter `EXPORTER-Channel-Binding` (RFC 9266): the same at both ends of this one
    /// connection, so that what is bound to it cannot be relayed.
    pub channel_binding: [u8; 32],
}

/// Opens TLS as a client of a known node.
///
/// TLS 1.3 ends here before the server has looked at our certificate: that it refuses us shows at
/// the first read.
///
/// # Errors
///
/// [`TlsError`]; the connection is closed then.
pub async fn connect(
    stream: TcpStream,
    config: Arc<ClientConfig>,
    node: &NodeId,
    limit: Duration,
) -> Result<Established, TlsError> {
    let name = server_name(node)?;
    let established = off_the_loop(limit, client_handshake(stream, config, name)).await?;
    if established.node != *node {
        return Err(TlsError::OtherNode {
            expected: node.clone(),
            presented: established.node,
        });
    }
    Ok(established)
}

/// Opens TLS as the client of whoever called home, with a [`call_home_client`] configuration.
///
/// [`call_home_client`]: crate::call_home_client
///
/// # Errors
///
/// [`TlsError`]; the connection is closed then.
pub async fn connect_home(
    stream: TcpStream,
    config: Arc<ClientConfig>,
    limit: Duration,
) -> Result<Established, TlsError> {
    // An address is never sent as SNI; the configuration asks for no name.
    let name = ServerName::IpAddress(stream.peer_addr().map_err(TlsError::Handshake)?.ip().into());
    off_the_loop(limit, client_handshake(stream, config, name)).await
}

/// Opens TLS as a server; the caller decides whether it wants this node.
///
/// # Errors
///
/// [`TlsError`]; the connection is closed then.
pub async fn accept(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    limit: Duration,
) -> Result<Established, TlsError> {
    off_the_loop(limit, server_handshake(stream, config)).await
}

async fn client_handshake(
    stream: TcpStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<Established, TlsError> {
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(ended)?;
    established(stream.into())
}

async fn server_handshake(
    stream: TcpStream,
    config: Arc<ServerConfig>,
) -> Result<Established, TlsError> {
    let stream = TlsAcceptor::from(config)
        .accept(stream)
        .await
        .map_err(ended)?;
    established(stream.into())
}

fn established(stream: TlsStream<TcpStream>) -> Result<Established, TlsError> {
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let (node, ldevid) = (peer_node(chain)?, peer_thumbprint(chain)?);
    let leaf = chain.first().ok_or(TlsError::NoCertificate)?;
    Ok(Established {
        not_after: not_after(leaf)?,
        channel_binding: channel_binding(&stream)?,
        stream,
        node,
        ldevid,
    })
}

/// RFC 9266, 3: the label `EXPORTER-Channel-Binding`, a zero-length context, 32 bytes.
pub(crate) fn channel_binding(stream: &TlsStream<TcpStream>) -> Result<[u8; 32], TlsError> {
    const LABEL: &[u8] = b"EXPORTER-Channel-Binding";
    let exported = match stream {
        TlsStream::Client(stream) => {
            let session = stream.get_ref().1;
            session.export_keying_material([0; 32], LABEL, Some(&[]))
        }
        TlsStream::Server(stream) => {
            let session = stream.get_ref().1;
            session.export_keying_material([0; 32], LABEL, Some(&[]))
        }
    };
    exported.map_err(TlsError::NoBinding)
}

/// Tells a broken tpm edge, which ends the process, from everything else, which ends a connection.
pub(crate) fn ended(error: io::Error) -> TlsError {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(inner) if is_tpm_edge(inner) => TlsError::TpmEdge,
        _ => TlsError::Handshake(error),
    }
}

fn is_tpm_edge(error: &rustls::Error) -> bool {
    if let rustls::Error::Other(OtherError(inner)) = error {
        matches!(
            inner.downcast_ref(),
            Some(TpmError::Edge(_) | TpmError::OtherAnswer)
        )
    } else {
        false
    }
}

impl From<rustls::Error> for TlsError {
    /// For whoever drives rustls by hand.
    fn from(error: rustls::Error) -> Self {
        if is_tpm_edge(&error) {
            Self::TpmEdge
        } else {
            Self::Handshake(io::Error::new(io::ErrorKind::InvalidData, error))
        }
    }
}

/// Runs a handshake, or what else may wait for a signature, on a thread that may wait.
///
/// # Errors
///
/// Its own; [`TlsError::TimedOut`] after `limit`.
//
// The thread is told to stop when the caller no longer waits, so it needs no timer of its own: a
// timer would panic in a runtime that shuts down.
pub async fn off_the_loop<T: Send + 'static>(
    limit: Duration,
    handshake: impl Future<Output = Result<T, TlsError>> + Send + 'static,
) -> Result<T, TlsError> {
    let runtime = Handle::current();
    let (waiting, given_up) = oneshot::channel::<()>();
    let thread = spawn_blocking(move || {
        runtime.block_on(async {
            let mut handshake = pin!(handshake);
            tokio::select! {
                biased;
                _sender_gone = given_up => Err(TlsError::GivenUp),
                result = &mut handshake => result,
            }
        })
    });
    let result = match timeout(limit, thread).await {
        Ok(Ok(result)) => result,
        Ok(Err(joined)) => Err(TlsError::Handshake(io::Error::other(joined))),
        Err(_elapsed) => Err(TlsError::TimedOut),
    };
    drop(waiting);
    result
}
