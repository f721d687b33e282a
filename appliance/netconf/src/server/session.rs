//! One connection with a controller.

use core::fmt;

use bartizan_model::report::Notice;

use crate::error::{ErrorTag, ErrorType, RpcError};
use crate::filter::{Filter, Selection};
use crate::framing::{Deframer, Frame, Framing, FramingError, frame};
use crate::hello::{self, SessionId};
use crate::limits;
use crate::namespace::Namespace;
use crate::notification;
use crate::path;
use crate::rpc::{self, Envelope, Request};
use crate::server::gateway::{Datastore, Gateway, Told, Verdict};
use crate::time::UnixTime;
use crate::xml::Writer;

/// A session: bytes in, bytes out.
pub struct Session {
    id: SessionId,
    framing: Framing,
    greeted: bool,
    deframer: Deframer,
    /// What came in and is not yet a message.
    input: Vec<u8>,
    output: Vec<u8>,
    /// How much of `output` is sent.
    sent: usize,
    /// Notifications that wait for a gap between replies.
    queue: Vec<u8>,
    subscription: Option<Subscription>,
    /// The request that waits for its verdict.
    asked: Option<Envelope>,
    messages: u64,
    refused: u64,
    nonsense: u32,
    ended: Option<Ended>,
}

/// What a subscriber wants to be told.
struct Subscription {
    filter: Option<Filter>,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Ended {
    /// The controller closed it.
    #[error("the controller closed the session")]
    Closed,
    /// The stream breaks its framing.
    #[error("the stream breaks its framing")]
    Framing(#[from] FramingError),
    /// The first message is no hello, or of no version that both ends speak.
    #[error("no hello that can be answered")]
    Hello,
    /// Too many messages without sense.
    #[error("too many messages without sense")]
    Nonsense,
    /// Notifications are not read as fast as they come.
    #[error("the controller does not read its notifications")]
    Slow,
}

impl Session {
    /// Begins a session; our hello waits in [`Session::output`].
    pub fn new(id: SessionId) -> Self {
        let mut session = Self {
            id,
            framing: Framing::EndOfMessage,
            greeted: false,
            deframer: Deframer::new(limits::HELLO),
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            queue: Vec::new(),
            subscription: None,
            asked: None,
            messages: 0,
            refused: 0,
            nonsense: 0,
            ended: None,
        };
        session.say(&hello::of_server(id));
        session
    }

    /// Takes bytes of the controller; [`Session::advance`] looks at them.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Says whether more bytes would be looked at: while an answer is owed or not yet sent, reading
    /// on would only pile up memory.
    pub fn wants_input(&self) -> bool {
        self.input.is_empty() && self.output.is_empty() && self.asked.is_none()
    }

    /// Says whether the controller is in the middle of a message, or owes its hello.
    pub fn is_owed_input(&self) -> bool {
        !self.greeted || self.deframer.is_within_a_message()
    }

    /// How many whole messages came in.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// How many requests were answered with an error.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Says whether the hellos are exchanged.
    pub fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Answers what can be answered of what came in.
    pub fn advance(&mut self, gateway: &mut Gateway) {
        let input = core::mem::take(&mut self.input);
        let mut rest = input.as_slice();
        // An edit waits for the engine, a challenge for the TPM, and what follows waits with it; also
        // for what an earlier session or a restoration asked.
        while self.ended.is_none() && self.asked.is_none() && !gateway.is_busy() {
            match self.deframer.take(&mut rest) {
                Ok(Some(frame)) => self.message(frame, gateway),
                Ok(None) => break,
                Err(error) => self.ended = Some(Ended::Framing(error)),
            }
        }
        self.input = rest.to_vec();
    }

    /// Gives the verdict to the request that waits for it.
    pub fn answer(&mut self, verdict: Verdict) {
        if let Some(envelope) = self.asked.take() {
            self.reply(&envelope, verdict.0.map(Answer::Told));
        }
    }

    /// Tells a subscriber what happened at `time`.
    pub fn notify(&mut self, notice: &Notice, time: UnixTime) {
        let Some(subscription) = &self.subscription else {
            return;
        };
        if self.ended.is_some() {
            return;
        }
        let event = notification::event(notice);
        let Some(event) = Selection::of(subscription.filter.as_ref()).pick(&event) else {
            return;
        };
        let message = notification::message(&event, time);
        frame(&message, self.framing, &mut self.queue);
        if self.queue.len() > limits::NOTIFICATIONS {
            self.ended = Some(Ended::Slow);
        }
    }

    /// What is to be sent; notifications come between replies.
    pub fn output(&mut self) -> &[u8] {
        if self.output.is_empty() {
            core::mem::swap(&mut self.output, &mut self.queue);
        }
        self.output.get(self.sent..).unwrap_or_default()
    }

    /// Says that the first `len` bytes of [`Session::output`] are sent.
    pub fn sent(&mut self, len: usize) {
        self.sent = self.sent.saturating_add(len);
        if self.sent >= self.output.len() {
            self.output = Vec::new();
            self.sent = 0;
        }
    }

    /// Says whether the session is over; what is in [`Session::output`] may still be sent.
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    fn message(&mut self, message: Frame, gateway: &mut Gateway) {
        self.messages = self.messages.saturating_add(1);
        let body = match message {
            Frame::Whole(body) => body,
            Frame::TooBig(_) if !self.greeted => {
                self.ended = Some(Ended::Hello);
                return;
            }
            Frame::TooBig(head) => {
                let error =
                    RpcError::new(ErrorType::Rpc, ErrorTag::TooBig, "the message is too long");
                self.reply(&rpc::envelope_of(&head), Err(error.app_tag("body")));
                return;
            }
        };
        if self.greeted {
            self.request(&body, gateway);
        } else {
            self.greet(&body);
        }
    }

    fn greet(&mut self, body: &[u8]) {
        let hello = hello::read(body).ok();
        // RFC 6241, 8.1: a client that numbers the session is none.
        let hello = hello.filter(|hello| hello.session.is_none());
        match hello.and_then(|hello| hello.framing()) {
            Some(framing) => {
                self.greeted = true;
                self.framing = framing;
                self.deframer.switch(framing, limits::BODY);
            }
            None => self.ended = Some(Ended::Hello),
        }
    }

    fn request(&mut self, body: &[u8], gateway: &mut Gateway) {
        let (envelope, request) = rpc::read(body, gateway.running());
        let answer = match request {
            Err(error) => Err(error),
            Ok(Request::Ask(wanted)) => {
                let Some(verdict) = gateway.ask(wanted) else {
                    self.asked = Some(envelope);
                    return;
                };
                verdict.0.map(Answer::Told)
            }
            Ok(Request::Get(filter)) => Ok(Answer::data(gateway, Datastore::Everything, filter)),
            Ok(Request::GetConfig(filter)) => {
                Ok(Answer::data(gateway, Datastore::Configuration, filter))
            }
            Ok(Request::Close) => {
                self.ended = Some(Ended::Closed);
                Ok(Answer::Told(Told::Ok))
            }
            Ok(Request::Kill(session)) => Err(self.no_session_to_kill(session)),
            Ok(Request::Subscribe(filter)) => self.subscribe(filter),
        };
        self.reply(&envelope, answer);
    }

    fn subscribe(&mut self, filter: Option<Filter>) -> Result<Answer<'static>, RpcError> {
        if self.subscription.is_some() {
            return Err(RpcError::new(
                ErrorType::Protocol,
                ErrorTag::OperationFailed,
                "the session has a subscription already",
            ));
        }
        self.subscription = Some(Subscription { filter });
        Ok(Answer::Told(Told::Ok))
    }

    /// There is one session at a time, and no session kills itself (RFC 6241, 7.9).
    fn no_session_to_kill(&self, session: SessionId) -> RpcError {
        let message = if session == self.id {
            "a session is not killed by itself"
        } else {
            "there is no such session"
        };
        RpcError::new(ErrorType::Protocol, ErrorTag::InvalidValue, message)
            .at(path::rpc(&["kill-session", "session-id"]))
    }

    fn reply(&mut self, envelope: &Envelope, answer: Result<Answer<'_>, RpcError>) {
        let mut writer = Writer::new();
        envelope.open_reply(&mut writer);
        match answer {
            Ok(Answer::Told(Told::Ok)) => writer.leaf(Namespace::Netconf, "ok", ""),
            Ok(Answer::Told(Told::Tree(tree))) => tree.write_with(&mut writer, &[]),
            Ok(Answer::Data {
                gateway,
                datastore,
                filter,
            }) => {
                writer.open(Namespace::Netconf, "data");
                gateway.write(datastore, &Selection::of(filter.as_ref()), &mut writer);
                writer.close();
            }
            Err(mut error) => {
                self.refused = self.refused.saturating_add(1);
                if error.kind == ErrorType::Rpc {
                    self.nonsense = self.nonsense.saturating_add(1);
                    if self.nonsense > limits::NONSENSE {
                        self.ended = Some(Ended::Nonsense);
                    }
                }
                // RFC 6241, appendix A: base:1.0 does not know the tag.
                if error.tag == ErrorTag::MalformedMessage && self.framing == Framing::EndOfMessage
                {
                    error.tag = ErrorTag::OperationFailed;
                }
                error.write(&mut writer);
            }
        }
        self.say(&writer.finish());
    }

    fn say(&mut self, message: &str) {
        frame(message, self.framing, &mut self.output);
    }
}

/// What a request is answered with.
enum Answer<'a> {
    Told(Told),
    Data {
        gateway: &'a Gateway,
        datastore: Datastore,
        filter: Option<Filter>,
    },
}

impl<'a> Answer<'a> {
    const fn data(gateway: &'a Gateway, datastore: Datastore, filter: Option<Filter>) -> Self {
        Self::Data {
            gateway,
            datastore,
            filter,
        }
    }
}

impl fmt::Debug for Session {
    /// Says how it stands, and nothing of what it carries.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("framing", &self.framing)
            .field("subscribed", &self.subscription.is_some())
            .field("asked", &self.asked.is_some())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
