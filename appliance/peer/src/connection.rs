//! One TLS connection to a peer: dialled, then served until it ends.

use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bartizan_model::ids::NodeId;
use bartizan_model::message::PeerMessage;
use bartizan_process::boot_time;
use bartizan_tls::{Established, TlsError, connect};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsStream;

use crate::frame::{BadFrame, Decoder, Frame};
use crate::links::ConnectionId;
use crate::outbox::Outgoing;
use crate::pace::Pace;

/// For a handshake, the TPM's signature included.
pub(crate) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// For TCP, and for the listener to take the connection.
const DIAL_LIMIT: Duration = Duration::from_secs(5);
/// An end that has nothing to say says so this often.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// An end that says nothing for so long is gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(15);
/// For one batch of frames to leave.
const WRITE_LIMIT: Duration = Duration::from_secs(15);
/// Frames are sent together up to about so many bytes.
const BATCH: usize = 16 * 1024;
/// Bytes read at once.
const READ: usize = 4 * 1024;
/// Frames from one peer: a thousand tunnels may begin at once; beyond it the peer waits.
const FRAMES: Pace = Pace::new(8192, Duration::from_micros(500));

/// What a connection received, and which.
pub(crate) type Message = (ConnectionId, Box<PeerMessage>);

/// A connection that the listener has taken for the link.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) established: Established,
    pub(crate) decoder: Decoder,
}

/// Why there is no connection, or no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// TLS, or who is at the other end.
    #[error("TLS")]
    Tls(#[from] TlsError),
    /// TCP.
    #[error("the connection ended")]
    Tcp(#[from] io::Error),
    /// The other end does not answer.
    #[error("no answer")]
    NoAnswer,
    /// The listener does not take the connection, or took another.
    #[error("the peer does not take the connection")]
    NotAdopted,
    /// The other end fell silent.
    #[error("nothing was heard")]
    Silent,
    /// The other end takes nothing.
    #[error("nothing was taken")]
    Stuck,
    /// What came is no frame.
    #[error("bad frame")]
    Frame(#[from] BadFrame),
    /// The loop has given the connection up.
    #[error("given up")]
    GivenUp,
}

/// Opens a connection to a peer and waits until its listener has taken it for the link: only then
/// is it known that it takes our certificate.
pub(crate) async fn dial(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    node: NodeId,
) -> Result<Dialled, Broken> {
    let stream = timeout(DIAL_LIMIT, TcpStream::connect(address))
        .await
        .map_err(|_elapsed| Broken::NoAnswer)??;
    stream.set_nodelay(true)?;
    let mut established = connect(stream, config, &node, HANDSHAKE_LIMIT).await?;
    let mut decoder = Decoder::default();
    let frame = timeout(DIAL_LIMIT, read(&mut established.stream, &mut decoder));
    match frame.await {
        Ok(Ok(Frame::Adopted)) => Ok(Dialled {
            established,
            decoder,
        }),
        Ok(Ok(Frame::Heartbeat | Frame::Message(_))) => Err(BadFrame::Unexpected.into()),
        Ok(Err(Broken::Tcp(_))) | Err(_) => Err(Broken::NotAdopted),
        Ok(Err(broken)) => Err(broken),
    }
}

/// Serves a connection until it ends; why it did.
pub(crate) async fn serve(
    id: ConnectionId,
    stream: TlsStream<TcpStream>,
    decoder: Decoder,
    outgoing: Outgoing,
    messages: mpsc::Sender<Message>,
) -> Broken {
    let (reader, writer) = split(stream);
    tokio::select! {
        broken = hear(id, reader, decoder, messages) => broken,
        broken = speak(writer, outgoing) => broken,
    }
}

async fn hear(
    id: ConnectionId,
    mut stream: impl AsyncRead + Unpin,
    mut decoder: Decoder,
    messages: mpsc::Sender<Message>,
) -> Broken {
    let mut pace = FRAMES;
    loop {
        let frame = timeout(SILENCE_LIMIT, read(&mut stream, &mut decoder));
        let message = match frame.await {
            Ok(Ok(Frame::Message(message))) => Some(message),
            Ok(Ok(Frame::Heartbeat)) => None,
            Ok(Ok(Frame::Adopted)) => return BadFrame::Unexpected.into(),
            Ok(Err(broken)) => return broken,
            Err(_elapsed) => return Broken::Silent,
        };
        if let Err(wait) = pace.take(boot_time()) {
            sleep(wait).await;
        }
        // The queue is short and its senders take turns: nobody's flood stands before another's
        // word.
        if let Some(message) = message
            && messages.send((id, message)).await.is_err()
        {
            return Broken::GivenUp;
        }
    }
}

async fn speak(mut stream: impl AsyncWrite + Unpin, mut outgoing: Outgoing) -> Broken {
    let Ok(heartbeat) = Frame::Heartbeat.encode() else {
        return Broken::GivenUp;
    };
    loop {
        let mut batch = match timeout(HEARTBEAT, outgoing.next()).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Broken::GivenUp,
            Err(_elapsed) => heartbeat.clone(),
        };
        while batch.len() < BATCH
            && let Some(frame) = outgoing.try_next()
        {
            batch.extend(frame);
        }
        let sent = async {
            stream.write_all(&batch).await?;
            stream.flush().await
        };
        match timeout(WRITE_LIMIT, sent).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.into(),
            Err(_elapsed) => return Broken::Stuck,
        }
    }
}

/// Reads up to the end of the next frame.
async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    decoder: &mut Decoder,
) -> Result<Frame, Broken> {
    loop {
        if let Some(frame) = decoder.frame()? {
            return Ok(frame);
        }
        let mut bytes = [0; READ];
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        decoder.feed(bytes.get(..count).unwrap_or_default());
    }
}
