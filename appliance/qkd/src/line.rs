//! A connection to a KME: TLS, or, of 004 and where it is configured, TCP alone.

use std::io;
use std::net::SocketAddr;

use bartizan_secret::LockedBuffer;
use bartizan_tls::TlsError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, timeout};

use crate::response::Stream;
use crate::session::{REPLY_MAX, Session, SessionError, Target};

/// Where a KME is and what is spoken with it.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    /// Nothing for TCP alone.
    pub(crate) tls: Option<Target>,
}

/// An open connection.
#[derive(Debug)]
pub(crate) enum Line {
    /// The one that is shipped.
    Tls(Box<Session>),
    /// Whoever is on the wire reads the keys.
    Plain(Plain),
}

/// TCP alone. What comes is a key in clear, so it goes into locked memory all the same.
#[derive(Debug)]
pub(crate) struct Plain {
    stream: TcpStream,
    /// What came since the last [`Line::forget_reply`], `received` bytes.
    reply: LockedBuffer,
    received: usize,
}

impl Line {
    /// Opens a connection within `limit`.
    pub(crate) async fn open(way: Way, limit: Duration) -> Result<Self, SessionError> {
        let begun = Instant::now();
        let stream = match timeout(limit, TcpStream::connect(way.address)).await {
            Ok(connected) => connected.map_err(SessionError::Broken)?,
            Err(_elapsed) => return Err(TlsError::TimedOut.into()),
        };
        // A request is one small write, and its answer is waited for.
        stream.set_nodelay(true).map_err(SessionError::Broken)?;
        let limit = limit.saturating_sub(begun.elapsed());
        Ok(match way.tls {
            Some(target) => {
                let session = Session::open(stream, target, limit).await?;
                Self::Tls(Box::new(session))
            }
            None => Self::Plain(Plain {
                stream,
                reply: LockedBuffer::new(REPLY_MAX)?,
                received: 0,
            }),
        })
    }

    /// Sends a request.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<(), SessionError> {
        match self {
            Self::Tls(session) => session.send(request).await,
            Self::Plain(plain) => {
                let sent = plain.stream.write_all(request).await;
                sent.map_err(SessionError::Broken)
            }
        }
    }

    /// Waits until there is more of the reply, or it ends. Between two requests either means that
    /// the connection is of no use any more.
    ///
    /// Nothing is lost if the future is dropped.
    pub(crate) async fn receive(&mut self) -> Result<Stream, SessionError> {
        match self {
            Self::Tls(session) => session.receive().await,
            Self::Plain(plain) => {
                let free = plain.reply.as_mut_slice().get_mut(plain.received..);
                let free = free.unwrap_or_default();
                if free.is_empty() {
                    return Err(SessionError::TooLong);
                }
                let count = plain
                    .stream
                    .read(free)
                    .await
                    .map_err(SessionError::Broken)?;
                if count == 0 {
                    return Err(SessionError::Broken(io::ErrorKind::UnexpectedEof.into()));
                }
                plain.received = plain.received.saturating_add(count);
                Ok(Stream::Open)
            }
        }
    }

    /// The reply as far as it came.
    pub(crate) fn reply(&mut self) -> &mut [u8] {
        match self {
            Self::Tls(session) => session.reply(),
            Self::Plain(plain) => plain
                .reply
                .as_mut_slice()
                .get_mut(..plain.received)
                .unwrap_or_default(),
        }
    }

    /// Wipes the reply.
    pub(crate) fn forget_reply(&mut self) {
        match self {
            Self::Tls(session) => session.forget_reply(),
            Self::Plain(plain) => {
                plain.reply.wipe();
                plain.received = 0;
            }
        }
    }
}
