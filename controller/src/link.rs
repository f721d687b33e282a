//! One gateway's NETCONF over its TLS connection: questions, answers and what it tells unasked.

use core::time::Duration;
use std::collections::VecDeque;
use std::io;

use bartizan_model::report::Notice;
use bartizan_netconf::RpcError;
use bartizan_netconf::client::{
    Client, ClientError, Data, MessageId, Received, Reply, Request, RequestTooBig,
};
use bartizan_netconf::{Evidence, LogPart};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsStream;

use crate::attestation::Turned;

/// How long a gateway may take over an answer; an edit of ten thousand entries is the longest.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);

/// Bytes read at once.
const CHUNK: usize = 32 * 1024;

/// The connection.
#[derive(Debug)]
pub(crate) struct Link {
    reader: ReadHalf<TlsStream<TcpStream>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
    unflushed: bool,
    client: Client,
    chunk: Vec<u8>,
    received: VecDeque<Received>,
    notices: VecDeque<Notice>,
}

/// The session is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The connection broke.
    #[error("the connection broke")]
    Connection(#[from] io::Error),
    /// The gateway closed the connection.
    #[error("the gateway closed the connection")]
    Closed,
    /// The gateway does not speak NETCONF as it should.
    #[error("the gateway does not speak as one")]
    Client(#[from] ClientError),
    /// It took too long.
    #[error("the gateway did not answer in time")]
    TimedOut,
    /// It greets twice, or answers what was not asked.
    #[error("the gateway said something out of turn")]
    OutOfTurn,
    /// It has a certificate again, and is to come with that.
    #[error("the gateway comes back with its renewed certificate")]
    Renewed,
    /// Its owner does not want it.
    #[error("the gateway is turned away")]
    Turned(#[from] Turned),
    /// It refuses what every gateway grants.
    #[error("the gateway refused to {0}")]
    Refused(&'static str, #[source] Refusal),
}

/// A gateway says no.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// By these errors.
    #[error("{}", words(.0))]
    Errors(Vec<RpcError>),
    /// Unasked: the request does not fit into a message.
    #[error(transparent)]
    TooBig(#[from] RequestTooBig),
}

impl Link {
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> Self {
        // A small message must not wait for the acknowledgement of the one before; without this the link
        // is slower and no less right.
        let _slower = stream.get_ref().0.set_nodelay(true);
        let (reader, writer) = split(stream);
        Self {
            reader,
            writer,
            unflushed: false,
            client: Client::new(),
            chunk: vec![0; CHUNK],
            received: VecDeque::new(),
            notices: VecDeque::new(),
        }
    }

    /// Exchanges the hellos.
    pub(crate) async fn greet(&mut self) -> Result<(), LinkError> {
        match self.answer(limit()).await? {
            Received::Hello { .. } => Ok(()),
            Received::Reply { .. } | Received::Notification { .. } => Err(LinkError::OutOfTurn),
        }
    }

    /// Asks for data.
    pub(crate) async fn read(
        &mut self,
        what: &'static str,
        request: &Request<'_>,
    ) -> Result<Data, LinkError> {
        match self.ask(request).await? {
            Ok(Reply::Data(data)) => Ok(*data),
            Ok(Reply::Ok | Reply::Evidence(_) | Reply::Log(_)) => Err(LinkError::OutOfTurn),
            Err(refusal) => Err(LinkError::Refused(what, refusal)),
        }
    }

    /// Asks for a quote; the outer error ends the session, the inner one does not.
    pub(crate) async fn quote(
        &mut self,
        request: &Request<'_>,
    ) -> Result<Result<Evidence, Refusal>, LinkError> {
        match self.ask(request).await? {
            Ok(Reply::Evidence(evidence)) => Ok(Ok(*evidence)),
            Ok(Reply::Ok | Reply::Data(_) | Reply::Log(_)) => Err(LinkError::OutOfTurn),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Asks for a part of a log; the outer error ends the session, the inner one does not.
    pub(crate) async fn log(
        &mut self,
        request: &Request<'_>,
    ) -> Result<Result<LogPart, Refusal>, LinkError> {
        match self.ask(request).await? {
            Ok(Reply::Log(part)) => Ok(Ok(part)),
            Ok(Reply::Ok | Reply::Data(_) | Reply::Evidence(_)) => Err(LinkError::OutOfTurn),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Gives an order; the outer error ends the session, the inner one does not.
    pub(crate) async fn order(
        &mut self,
        request: &Request<'_>,
    ) -> Result<Result<(), Refusal>, LinkError> {
        match self.ask(request).await? {
            Ok(Reply::Ok) => Ok(Ok(())),
            Ok(Reply::Data(_) | Reply::Evidence(_) | Reply::Log(_)) => Err(LinkError::OutOfTurn),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Waits for something that the gateway tells by itself. May be dropped at any time.
    pub(crate) async fn notice(&mut self) -> Result<Notice, LinkError> {
        loop {
            if let Some(notice) = self.notices.pop_front() {
                return Ok(notice);
            }
            match self.received.pop_front() {
                Some(Received::Notification { notice, .. }) => return Ok(*notice),
                Some(_) => return Err(LinkError::OutOfTurn),
                None => self.pump().await?,
            }
        }
    }

    async fn ask(&mut self, request: &Request<'_>) -> Result<Result<Reply, Refusal>, LinkError> {
        let asked = match self.client.send(request) {
            Ok(asked) => asked,
            Err(too_big) => return Ok(Err(too_big.into())),
        };
        self.reply(asked).await
    }

    async fn reply(&mut self, asked: MessageId) -> Result<Result<Reply, Refusal>, LinkError> {
        match self.answer(limit()).await? {
            Received::Reply { to, outcome } if to == asked => Ok(outcome.map_err(Refusal::Errors)),
            Received::Hello { .. } | Received::Reply { .. } | Received::Notification { .. } => {
                Err(LinkError::OutOfTurn)
            }
        }
    }

    /// Waits for what is no notification; notifications are kept for [`Link::notice`].
    async fn answer(&mut self, limit: Instant) -> Result<Received, LinkError> {
        loop {
            match self.received.pop_front() {
                Some(Received::Notification { notice, .. }) => {
                    // The newest say what counts; the state is asked for anyway.
                    if self.notices.len() == NOTICES {
                        self.notices.pop_front();
                    }
                    self.notices.push_back(*notice);
                }
                Some(answer) => return Ok(answer),
                None => match timeout_at(limit, self.pump()).await {
                    Ok(pumped) => pumped?,
                    Err(_elapsed) => return Err(LinkError::TimedOut),
                },
            }
        }
    }

    /// Moves bytes one step, in whichever direction goes. May be dropped at any time.
    async fn pump(&mut self) -> Result<(), LinkError> {
        let read = self.reader.read(&mut self.chunk);
        let len = if !self.client.output().is_empty() {
            tokio::select! {
                len = read => len?,
                sent = self.writer.write(self.client.output()) => {
                    self.client.sent(sent?);
                    self.unflushed = true;
                    return Ok(());
                }
            }
        } else if self.unflushed {
            tokio::select! {
                len = read => len?,
                flushed = self.writer.flush() => {
                    flushed?;
                    self.unflushed = false;
                    return Ok(());
                }
            }
        } else {
            read.await?
        };
        if len == 0 {
            return Err(LinkError::Closed);
        }
        let bytes = self.chunk.get(..len).unwrap_or_default();
        self.received.extend(self.client.receive(bytes)?);
        Ok(())
    }
}

/// Notifications that are kept while an answer is waited for.
const NOTICES: usize = 4096;

fn limit() -> Instant {
    let now = Instant::now();
    now.checked_add(ANSWER_LIMIT).unwrap_or(now)
}

fn words(errors: &[RpcError]) -> String {
    let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
    words.join("; ")
}
