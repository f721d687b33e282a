//! One connection with the controller: bytes between TLS and a NETCONF session, with deadlines.

use core::future::pending;
use core::time::Duration;
use std::io;

use bartizan_netconf::SessionId;
use bartizan_netconf::server::Session;
use bartizan_tls::Established;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsStream;

/// How long a message may take from its first byte to its last, and the hello from the handshake.
const MESSAGE_LIMIT: Duration = Duration::from_mins(2);

/// How long the controller may take nothing of what is for it.
const STALL_LIMIT: Duration = Duration::from_mins(1);

/// How long the last words of a session may take.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;

/// A connection and the session on it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) session: Session,
    /// The TLS session's (RFC 9266).
    pub(crate) channel_binding: [u8; 32],
    reader: ReadHalf<TlsStream<TcpStream>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
    chunk: Vec<u8>,
    unflushed: bool,
    /// The message that is being received, by its number, and until when.
    due: Option<(u64, Instant)>,
    /// Since when something is to be sent, or when the controller last took some of it.
    waits: Option<Instant>,
}

/// A connection that is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// TCP or TLS broke.
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    /// The controller closed it.
    #[error("the controller closed the connection")]
    Closed,
    /// A message was begun, or the hello is due, and does not come.
    #[error("the controller does not finish its message")]
    Late,
    /// The controller reads nothing.
    #[error("the controller reads nothing")]
    Stalled,
}

impl Connection {
    /// Begins a session on a connection that stands.
    pub(crate) fn new(established: Established, id: SessionId) -> Self {
        let (reader, writer) = split(established.stream);
        Self {
            session: Session::new(id),
            channel_binding: established.channel_binding,
            reader,
            writer,
            chunk: vec![0; CHUNK],
            unflushed: false,
            due: None,
            waits: None,
        }
    }

    /// Moves bytes one step, in whichever direction goes; the session is to be advanced then.
    ///
    /// Nothing is lost if the future is dropped.
    pub(crate) async fn step(&mut self) -> Result<(), ConnectionError> {
        let reads = self.session.wants_input();
        let sends = self.unflushed || !self.session.output().is_empty();
        let late = self.message_deadline(reads);
        let stalled = self.stall_deadline(sends);
        tokio::select! {
            read = self.reader.read(&mut self.chunk), if reads => {
                let len = read?;
                if len == 0 {
                    return Err(ConnectionError::Closed);
                }
                self.session.receive(self.chunk.get(..len).unwrap_or_default());
                Ok(())
            }
            sent = send(&mut self.writer, &mut self.session, &mut self.unflushed), if sends => {
                self.waits = Some(Instant::now());
                Ok(sent?)
            }
            () = until(late) => Err(ConnectionError::Late),
            () = until(stalled) => Err(ConnectionError::Stalled),
        }
    }

    /// Sends the last words of a session that is over, and closes the connection.
    pub(crate) async fn leave(mut self) {
        let farewell = async {
            while self.unflushed || !self.session.output().is_empty() {
                send(&mut self.writer, &mut self.session, &mut self.unflushed).await?;
            }
            self.writer.shutdown().await
        };
        // Whether the controller hears them is its own affair.
        let _outcome = timeout(FAREWELL_LIMIT, farewell).await;
    }

    /// Until when the message that has begun must be whole.
    fn message_deadline(&mut self, reads: bool) -> Option<Instant> {
        if !reads || !self.session.is_owed_input() {
            self.due = None;
            return None;
        }
        let number = self.session.messages();
        let due = self.due.filter(|(message, _)| *message == number);
        let due = due.unwrap_or_else(|| (number, after(Instant::now(), MESSAGE_LIMIT)));
        self.due = Some(due);
        Some(due.1)
    }

    /// Until when the controller must have taken something of what waits for it.
    fn stall_deadline(&mut self, sends: bool) -> Option<Instant> {
        if !sends {
            self.waits = None;
            return None;
        }
        let since = *self.waits.get_or_insert_with(Instant::now);
        Some(after(since, STALL_LIMIT))
    }
}

/// Sends some of what waits, or pushes on what TLS holds back.
async fn send(
    writer: &mut WriteHalf<TlsStream<TcpStream>>,
    session: &mut Session,
    unflushed: &mut bool,
) -> io::Result<()> {
    let output = session.output();
    if output.is_empty() {
        writer.flush().await?;
        *unflushed = false;
        return Ok(());
    }
    let sent = writer.write(output).await?;
    if sent == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    session.sent(sent);
    *unflushed = true;
    Ok(())
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

fn after(moment: Instant, wait: Duration) -> Instant {
    moment.checked_add(wait).unwrap_or(moment)
}
