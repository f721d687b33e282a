//! How the database is reached: a Unix socket as it is, everything else by TLS.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Config, Socket};
use tokio_rustls::TlsConnector;
use tokio_rustls::client;

/// A database and how it is reached.
#[derive(Clone, Debug)]
pub struct Database {
    config: Config,
    tls: Option<Arc<ClientConfig>>,
}

/// A database that cannot be reached safely.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It is not understood.
    #[error("connection")]
    Malformed(#[from] tokio_postgres::Error),
    /// It names no server.
    #[error("connection: no host; name a folder of a socket (host=/run/postgresql) or a server")]
    NoHost,
    /// A server over the network, and no certificate to know it by.
    #[error(
        "a server over the network is reached by TLS: anchors must say who may have signed its certificate"
    )]
    Unprotected,
    /// A socket needs none.
    #[error("anchors: a socket of this machine has no certificate")]
    Needless,
}

impl Database {
    /// Reads a connection string (libpq's keywords or a URL).
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub fn new(connection: &str, tls: Option<Arc<ClientConfig>>) -> Result<Self, DatabaseError> {
        let mut config: Config = connection.parse()?;
        let hosts = config.get_hosts();
        if hosts.is_empty() {
            return Err(DatabaseError::NoHost);
        }
        let local = hosts.iter().all(|host| matches!(host, Host::Unix(_)));
        match (&tls, local) {
            (None, true) => config.ssl_mode(SslMode::Disable),
            (Some(_), false) if !hosts.iter().any(|host| matches!(host, Host::Unix(_))) => {
                config.ssl_mode(SslMode::Require)
            }
            (Some(_), true) => return Err(DatabaseError::Needless),
            _ => return Err(DatabaseError::Unprotected),
        };
        config
            .application_name("bartizan-controller")
            // After a failover the one that may be written to is wanted.
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .keepalives_idle(core::time::Duration::from_secs(15))
            .tcp_user_timeout(core::time::Duration::from_secs(15));
        Ok(Self { config, tls })
    }

    pub(super) fn config(&self) -> Config {
        self.config.clone()
    }

    pub(super) fn connector(&self) -> Connector {
        Connector(self.tls.clone())
    }
}

/// Makes the TLS of a connection.
#[derive(Clone)]
pub(super) struct Connector(Option<Arc<ClientConfig>>);

/// One connection to be.
pub(super) struct Connecting {
    tls: Option<Arc<ClientConfig>>,
    name: Option<ServerName<'static>>,
}

/// The connection's TLS.
pub(super) struct Stream(client::TlsStream<Socket>);

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Stream;
    type TlsConnect = Connecting;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Connecting> {
        Ok(Connecting {
            tls: self.0.clone(),
            // A socket's folder is no name, and needs none.
            name: ServerName::try_from(domain.to_owned()).ok(),
        })
    }
}

impl TlsConnect<Socket> for Connecting {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(async move {
            let (Some(tls), Some(name)) = (self.tls, self.name) else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            let connected = TlsConnector::from(tls).connect(name, stream).await;
            connected.map(Stream)
        })
    }
}

impl TlsStream for Stream {
    // The server is known by its certificate, which the anchors vouch for.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
