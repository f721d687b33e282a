//! The owner's end of NETCONF, without I/O: what a controller asks a gateway and what it is told.
//!
//! Bytes from the gateway go into [`Client::receive`], bytes for it come out of [`Client::output`].
//! Requests may follow each other without waiting; replies come in their order.

mod answer;
mod request;

use std::collections::VecDeque;

use bartizan_model::report::Notice;

use crate::attestation::{Evidence, LogPart};
use crate::error::RpcError;
use crate::framing::{Deframer, Frame, Framing, FramingError, frame};
use crate::hello::{self, SessionId};
use crate::limits;
use crate::xml::XmlError;

pub use answer::Data;
pub use request::{Qualified, Request};

/// One connection with a gateway.
#[derive(Debug)]
pub struct Client {
    framing: Framing,
    greeted: bool,
    deframer: Deframer,
    output: Vec<u8>,
    sent: usize,
    last: MessageId,
    /// What the gateway has yet to answer.
    asked: VecDeque<MessageId>,
}

/// A request's number, repeated by its reply.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct MessageId(pub u64);

/// What the gateway said.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// Its hello: the session stands.
    Hello {
        /// The session's number.
        session: SessionId,
        /// What it can do.
        capabilities: Vec<String>,
    },
    /// The reply to a request.
    Reply {
        /// Which.
        to: MessageId,
        /// What came of it.
        outcome: Result<Reply, Vec<RpcError>>,
    },
    /// Something happened.
    Notification {
        /// When, by the gateway's clock: RFC 3339.
        time: String,
        /// What.
        notice: Box<Notice>,
    },
}

/// A reply without errors.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Done.
    Ok,
    /// What was asked for.
    Data(Box<Data>),
    /// A quote.
    Evidence(Box<Evidence>),
    /// A part of a log.
    Log(LogPart),
}

/// The gateway, or whoever is at the other end, does not speak as a gateway; the session is over.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The stream breaks its framing.
    #[error("the stream breaks its framing")]
    Framing(#[from] FramingError),
    /// A message of more than [`limits::REPLY`] bytes.
    #[error("a message is too long")]
    TooBig,
    /// A message that is no well-formed XML or no message of NETCONF.
    #[error("a message cannot be read")]
    Malformed,
    /// No hello, or no version of NETCONF that both ends speak.
    #[error("no hello that can be answered")]
    Hello,
    /// A reply to nothing that was asked.
    #[error("a reply to no request")]
    Unasked,
    /// A document that does not keep to its module.
    #[error("a document does not keep to its module")]
    Document(#[source] Box<RpcError>),
}

/// A request of more than [`limits::BODY`] bytes, which no gateway takes; it is not sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the request is longer than a gateway takes")]
pub struct RequestTooBig;

impl From<XmlError> for ClientError {
    fn from(_cause: XmlError) -> Self {
        Self::Malformed
    }
}

impl From<RpcError> for ClientError {
    fn from(error: RpcError) -> Self {
        Self::Document(Box::new(error))
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// Begins a session; our hello waits in [`Client::output`].
    pub fn new() -> Self {
        let mut output = Vec::new();
        frame(&hello::of_client(), Framing::EndOfMessage, &mut output);
        Self {
            framing: Framing::EndOfMessage,
            greeted: false,
            deframer: Deframer::new(limits::HELLO),
            output,
            sent: 0,
            last: MessageId(0),
            asked: VecDeque::new(),
        }
    }

    /// Sends a request. Before the gateway's hello is here, nothing may be sent.
    ///
    /// # Errors
    ///
    /// [`RequestTooBig`]; it must be split.
    pub fn send(&mut self, request: &Request<'_>) -> Result<MessageId, RequestTooBig> {
        let id = MessageId(self.last.0.wrapping_add(1));
        let message = request.write(id);
        if message.len() > limits::BODY {
            return Err(RequestTooBig);
        }
        self.last = id;
        self.asked.push_back(id);
        frame(&message, self.framing, &mut self.output);
        Ok(id)
    }

    /// Takes bytes of the gateway and says what they come to.
    ///
    /// # Errors
    ///
    /// [`ClientError`]: the session is over.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Result<Vec<Received>, ClientError> {
        let mut received = Vec::new();
        while let Some(message) = self.deframer.take(&mut bytes)? {
            let Frame::Whole(body) = message else {
                return Err(ClientError::TooBig);
            };
            if !self.greeted {
                received.push(self.greet(&body)?);
                continue;
            }
            match answer::read(&body)? {
                Some(Received::Reply { to, outcome }) => {
                    if self.asked.pop_front() != Some(to) {
                        return Err(ClientError::Unasked);
                    }
                    received.push(Received::Reply { to, outcome });
                }
                Some(other) => received.push(other),
                // A notification of a module that is not ours.
                None => {}
            }
        }
        Ok(received)
    }

    /// What is to be sent.
    pub fn output(&self) -> &[u8] {
        self.output.get(self.sent..).unwrap_or_default()
    }

    /// Says that the first `len` bytes of [`Client::output`] are sent.
    pub fn sent(&mut self, len: usize) {
        self.sent = self.sent.saturating_add(len);
        if self.sent >= self.output.len() {
            self.output = Vec::new();
            self.sent = 0;
        }
    }

    fn greet(&mut self, body: &[u8]) -> Result<Received, ClientError> {
        let hello = hello::read(body).map_err(|_cause| ClientError::Hello)?;
        let framing = hello.framing().ok_or(ClientError::Hello)?;
        let session = hello.session.ok_or(ClientError::Hello)?;
        self.greeted = true;
        self.framing = framing;
        self.deframer.switch(framing, limits::REPLY);
        Ok(Received::Hello {
            session,
            capabilities: hello.capabilities,
        })
    }
}
