//! A connection of enrolment, message by message, each with its deadline.

use core::time::Duration;
use std::io;

use bartizan_bootstrap_protocol::enrol::frame::{Deframer, FrameError, frame};
use bartizan_model::time::BootTime;
use bartizan_process::boot_time;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsStream;

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;

/// How long a box may take to close its side.
const END_LIMIT: Duration = Duration::from_secs(10);

/// The session broke, or we could not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// It broke.
    #[error("the connection broke")]
    Connection(#[from] io::Error),
    /// It waits no longer.
    #[error("the box took too long")]
    TimedOut,
    /// They are none.
    #[error("not the messages of enrolment")]
    Frame(#[from] FrameError),
    /// Nothing can be asked.
    #[error("no randomness")]
    Random,
}

/// A connection, message by message.
pub(super) struct Talk {
    stream: TlsStream<TcpStream>,
    deframer: Deframer,
    chunk: Vec<u8>,
}

impl Talk {
    /// Takes messages of at most `cap` bytes.
    pub(super) fn new(stream: TlsStream<TcpStream>, cap: usize) -> Self {
        Self {
            stream,
            deframer: Deframer::new(cap),
            chunk: vec![0; CHUNK],
        }
    }

    /// From the next message on, takes `cap` bytes.
    pub(super) fn expect(&mut self, cap: usize) {
        self.deframer.expect(cap);
    }

    /// Waits for a message.
    pub(super) async fn receive(&mut self, deadline: BootTime) -> Result<Vec<u8>, SessionError> {
        let limit = deadline.since(boot_time());
        let read = async {
            loop {
                let len = self.stream.read(&mut self.chunk).await?;
                if len == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                let mut piece = self.chunk.get(..len).unwrap_or_default();
                let message = self.deframer.take(&mut piece)?;
                if let Some(message) = message {
                    // What comes behind a message comes too early: each waits for the answer.
                    return if piece.is_empty() {
                        Ok(message)
                    } else {
                        Err(io::Error::from(io::ErrorKind::InvalidData).into())
                    };
                }
            }
        };
        match timeout(limit, read).await {
            Ok(message) => message,
            Err(_elapsed) => Err(SessionError::TimedOut),
        }
    }

    /// Sends a message.
    pub(super) async fn send(
        &mut self,
        message: &[u8],
        limit: Duration,
    ) -> Result<(), SessionError> {
        let framed = frame(message)?;
        let write = async {
            self.stream.write_all(&framed).await?;
            self.stream.flush().await
        };
        match timeout(limit, write).await {
            Ok(written) => Ok(written?),
            Err(_elapsed) => Err(SessionError::TimedOut),
        }
    }

    /// Closes our side, and lets the box close its own first: what was sent is read then.
    pub(super) async fn end(mut self) -> Result<(), SessionError> {
        let close = async {
            self.stream.shutdown().await?;
            self.stream.read(&mut self.chunk).await
        };
        // The box may have closed already.
        let _closed = timeout(END_LIMIT, close).await;
        Ok(())
    }
}
