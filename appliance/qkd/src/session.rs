//! A TLS connection to the KME whose plaintext stays in locked memory.
//!
//! rustls' buffered connections keep what they have decrypted on the heap for as long as they live.
//! So its unbuffered one is driven here over locked buffers: a record is decrypted where it was
//! received, and what rustls hands out is copied to the reply and freed (and so wiped by the
//! allocator) before anything waits.

use std::io;
use std::sync::Arc;

use bartizan_secret::{LockError, LockedBuffer};
use bartizan_tls::{TlsError, off_the_loop};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedStatus, WriteTraffic,
};
use rustls::{AlertDescription, ClientConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Duration;

use crate::response::Stream;

/// The most bytes of a reply, its head included.
pub(crate) const REPLY_MAX: usize = 32 * 1024;
/// Holds one record of the greatest length (RFC 8446, 5.2), or the KME's flight of the handshake.
const INCOMING_MAX: usize = 32 * 1024;
/// The most bytes of what is sent at once: our flight of the handshake with its certificates.
const OUTGOING_MAX: usize = 64 * 1024;

/// How to speak TLS with the KME.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: ServerName<'static>,
    pub(crate) tls: Arc<ClientConfig>,
}

/// Why a connection is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// It could not be opened, or TLS found something wrong.
    #[error("TLS")]
    Tls(#[from] TlsError),
    /// The KME does not take our certificate.
    #[error("the KME refuses the certificate")]
    Unauthorized,
    /// TCP broke, or ended without a farewell.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The KME sends more than it may at once.
    #[error("more than fits a buffer")]
    TooLong,
    /// No locked memory.
    #[error("locked memory")]
    Lock(#[from] LockError),
}

/// An open connection.
pub(crate) struct Session {
    tls: UnbufferedClientConnection,
    stream: TcpStream,
    /// Records from the KME, `filled` bytes; in place they become plaintext.
    incoming: LockedBuffer,
    filled: usize,
    /// Records to the KME. Requests hold no secret.
    outgoing: Vec<u8>,
    /// Plaintext since the last [`Session::forget_reply`], `received` bytes.
    reply: LockedBuffer,
    received: usize,
}

/// What a step of rustls asks for.
enum Step {
    /// Another step.
    Again,
    /// That what is in `outgoing` is sent.
    Transmit,
    /// The same, and the request is in it.
    Encrypted,
    /// More records, in the handshake.
    Blocked,
    /// More records, or something to send.
    Ready,
    /// Nothing: something was received.
    Received,
    /// Nothing: the KME said farewell.
    Ended,
}

impl Session {
    /// Opens TLS over TCP within `limit`.
    pub(crate) async fn open(
        stream: TcpStream,
        target: Target,
        limit: Duration,
    ) -> Result<Self, SessionError> {
        let incoming = LockedBuffer::new(INCOMING_MAX)?;
        let reply = LockedBuffer::new(REPLY_MAX)?;
        let tls = UnbufferedClientConnection::new(target.tls, target.name)
            .map_err(|error| SessionError::Tls(error.into()))?;
        let mut session = Self {
            tls,
            stream,
            incoming,
            filled: 0,
            outgoing: Vec::new(),
            reply,
            received: 0,
        };
        let handshake = off_the_loop(limit, async move {
            session.handshake().await.map_err(in_handshake)?;
            Ok(session)
        });
        Ok(handshake.await?)
    }

    /// Sends a request.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<(), SessionError> {
        loop {
            match self.step(request)? {
                Step::Again => {}
                Step::Transmit => self.flush().await?,
                Step::Encrypted => return self.flush().await,
                // Nothing was asked for yet.
                Step::Received => return Err(SessionError::TooLong),
                Step::Blocked | Step::Ready | Step::Ended => return Err(ended()),
            }
        }
    }

    /// Waits until there is more of the reply, or it ends. Between two requests either means that
    /// the connection is of no use any more.
    ///
    /// Nothing is lost if the future is dropped.
    pub(crate) async fn receive(&mut self) -> Result<Stream, SessionError> {
        loop {
            match self.step(&[])? {
                Step::Again => {}
                Step::Transmit | Step::Encrypted => self.flush().await?,
                Step::Blocked | Step::Ready => {
                    self.flush().await?;
                    self.fill().await?;
                }
                Step::Received => return Ok(Stream::Open),
                Step::Ended => return Ok(Stream::Ended),
            }
        }
    }

    /// The reply as far as it came.
    pub(crate) fn reply(&mut self) -> &mut [u8] {
        self.reply
            .as_mut_slice()
            .get_mut(..self.received)
            .unwrap_or_default()
    }

    /// Wipes the reply.
    pub(crate) fn forget_reply(&mut self) {
        self.reply.wipe();
        self.received = 0;
    }

    async fn handshake(&mut self) -> Result<(), SessionError> {
        loop {
            match self.step(&[])? {
                Step::Again => {}
                Step::Transmit => self.flush().await?,
                Step::Blocked => self.fill().await?,
                Step::Ready => return Ok(()),
                Step::Encrypted | Step::Received | Step::Ended => return Err(ended()),
            }
        }
    }

    /// Lets rustls do its next step; encrypts `request`, if that is not empty and the time has come.
    fn step(&mut self, request: &[u8]) -> Result<Step, SessionError> {
        let records = self
            .incoming
            .as_mut_slice()
            .get_mut(..self.filled)
            .unwrap_or_default();
        let UnbufferedStatus { mut discard, state } = self.tls.process_tls_records(records);
        let step = match state.map_err(tls_error)? {
            ConnectionState::EncodeTlsData(data) => {
                encode(data, &mut self.outgoing)?;
                Step::Again
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                Step::Transmit
            }
            ConnectionState::BlockedHandshake => Step::Blocked,
            ConnectionState::WriteTraffic(traffic) => {
                if request.is_empty() {
                    Step::Ready
                } else {
                    encrypt(traffic, request, &mut self.outgoing)?;
                    Step::Encrypted
                }
            }
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record.map_err(tls_error)?;
                    discard = discard.saturating_add(record.discard);
                    append(&mut self.reply, &mut self.received, record.payload)?;
                }
                Step::Received
            }
            ConnectionState::PeerClosed | ConnectionState::Closed => Step::Ended,
            // No ticket is ever used, so nothing comes early; and what rustls invents later is not
            // known to be harmless.
            ConnectionState::ReadEarlyData(_) | _ => return Err(SessionError::TooLong),
        };
        self.discard(discard);
        Ok(step)
    }

    /// Takes the first bytes out of `incoming`, without a trace.
    fn discard(&mut self, count: usize) {
        let bytes = self.incoming.as_mut_slice();
        let count = count.min(self.filled);
        bytes.copy_within(count..self.filled, 0);
        let left = self.filled.saturating_sub(count);
        if let Some(stale) = bytes.get_mut(left..self.filled) {
            zeroize::Zeroize::zeroize(stale);
        }
        self.filled = left;
    }

    async fn fill(&mut self) -> Result<(), SessionError> {
        let free = self
            .incoming
            .as_mut_slice()
            .get_mut(self.filled..)
            .unwrap_or_default();
        if free.is_empty() {
            return Err(SessionError::TooLong);
        }
        let count = self.stream.read(free).await.map_err(SessionError::Broken)?;
        if count == 0 {
            return Err(ended());
        }
        self.filled = self.filled.saturating_add(count);
        Ok(())
    }

    /// Sends what is encoded; where the future is dropped, the rest is still there.
    async fn flush(&mut self) -> Result<(), SessionError> {
        while !self.outgoing.is_empty() {
            let sent = self
                .stream
                .write(&self.outgoing)
                .await
                .map_err(SessionError::Broken)?;
            self.outgoing.drain(..sent.min(self.outgoing.len()));
        }
        Ok(())
    }
}

impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Session")
    }
}

fn ended() -> SessionError {
    SessionError::Broken(io::ErrorKind::UnexpectedEof.into())
}

/// Tells a KME that refuses our certificate from everything else: that is seldom the network's
/// fault. It shows only after the handshake (RFC 8446, 4.4.2.4).
fn tls_error(error: rustls::Error) -> SessionError {
    const REFUSALS: [AlertDescription; 8] = [
        AlertDescription::AccessDenied,
        AlertDescription::BadCertificate,
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateRequired,
        AlertDescription::CertificateRevoked,
        AlertDescription::CertificateUnknown,
        AlertDescription::UnknownCA,
        AlertDescription::UnsupportedCertificate,
    ];
    if let rustls::Error::AlertReceived(alert) = &error
        && REFUSALS.contains(alert)
    {
        return SessionError::Unauthorized;
    }
    SessionError::Tls(error.into())
}

fn in_handshake(error: SessionError) -> TlsError {
    match error {
        SessionError::Tls(error) => error,
        SessionError::Broken(error) => TlsError::Handshake(error),
        error @ (SessionError::Unauthorized | SessionError::TooLong | SessionError::Lock(_)) => {
            TlsError::Handshake(io::Error::other(error))
        }
    }
}

fn append(
    reply: &mut LockedBuffer,
    received: &mut usize,
    payload: &[u8],
) -> Result<(), SessionError> {
    let end = received
        .checked_add(payload.len())
        .ok_or(SessionError::TooLong)?;
    let space = reply.as_mut_slice().get_mut(*received..end);
    space.ok_or(SessionError::TooLong)?.copy_from_slice(payload);
    *received = end;
    Ok(())
}

fn encode(
    mut data: EncodeTlsData<'_, ClientConnectionData>,
    outgoing: &mut Vec<u8>,
) -> Result<(), SessionError> {
    write(outgoing, |space| {
        data.encode(space).map_err(|error| match error {
            EncodeError::InsufficientSize(size) => Some(size),
            EncodeError::AlreadyEncoded => None,
        })
    })
}

fn encrypt(
    mut traffic: WriteTraffic<'_, ClientConnectionData>,
    request: &[u8],
    outgoing: &mut Vec<u8>,
) -> Result<(), SessionError> {
    write(outgoing, |space| {
        traffic
            .encrypt(request, space)
            .map_err(|error| match error {
                EncryptError::InsufficientSize(size) => Some(size),
                EncryptError::EncryptExhausted => None,
            })
    })
}

/// Lets `into` write behind what waits in `outgoing`, with as much space as it asks for.
fn write(
    outgoing: &mut Vec<u8>,
    mut into: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) -> Result<(), SessionError> {
    let start = outgoing.len();
    let mut space = 0;
    loop {
        let end = start.saturating_add(space);
        if end > OUTGOING_MAX {
            return Err(SessionError::TooLong);
        }
        outgoing.resize(end, 0);
        match into(outgoing.get_mut(start..).unwrap_or_default()) {
            Ok(written) => {
                outgoing.truncate(start.saturating_add(written));
                return Ok(());
            }
            Err(Some(size)) if size.required_size > space => space = size.required_size,
            Err(_) => return Err(SessionError::TooLong),
        }
    }
}
