//! A session without a network; the test plays the engine.

use bartizan_model::ids::NodeId;
use bartizan_model::message::{ControlToEngine, EngineToControl};
use bartizan_netconf::server::{Gateway, Session};
use bartizan_netconf::{Deframer, Frame, Framing, SessionId, frame};

/// A greeted session of base:1.1 with a gateway.
pub(crate) struct Bench {
    pub(crate) gateway: Gateway,
    pub(crate) session: Session,
    /// What the engine was told since the last look.
    pub(crate) orders: Vec<ControlToEngine>,
    deframer: Deframer,
    framing: Framing,
}

/// The parts of an `rpc-error` that tests compare.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Refused {
    pub(crate) tag: String,
    pub(crate) app_tag: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) info: Option<String>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::speaking(Framing::Chunked)
    }

    pub(crate) fn speaking(framing: Framing) -> Self {
        let mut bench = Self {
            gateway: Gateway::new(NodeId::try_from("gw-a.example").unwrap()),
            session: Session::new(SessionId(7)),
            orders: Vec::new(),
            deframer: Deframer::new(usize::MAX / 4),
            framing: Framing::EndOfMessage,
        };
        let hello = bench.messages().remove(0);
        assert!(hello.contains("<session-id>7</session-id>"), "{hello}");
        let version = match framing {
            Framing::Chunked => "1.1",
            Framing::EndOfMessage => "1.0",
        };
        bench.send(&format!(
            "<hello xmlns='urn:ietf:params:xml:ns:netconf:base:1.0'><capabilities>\
             <capability>urn:ietf:params:netconf:base:{version}</capability>\
             </capabilities></hello>"
        ));
        bench.framing = framing;
        bench.deframer.switch(framing, usize::MAX / 4);
        bench
    }

    /// Sends a message, answering nothing for the engine.
    pub(crate) fn send(&mut self, message: &str) {
        let mut bytes = Vec::new();
        frame(message, self.framing, &mut bytes);
        self.session.receive(&bytes);
        self.session.advance(&mut self.gateway);
        while let Some(order) = self.gateway.next_order() {
            self.orders.push(order);
        }
    }

    /// What the session has said.
    pub(crate) fn messages(&mut self) -> Vec<String> {
        let mut messages = Vec::new();
        loop {
            let output = self.session.output().to_vec();
            if output.is_empty() {
                return messages;
            }
            self.session.sent(output.len());
            let mut rest = output.as_slice();
            while let Some(frame) = self.deframer.take(&mut rest).unwrap() {
                let Frame::Whole(body) = frame else {
                    panic!("no reply is too big");
                };
                messages.push(String::from_utf8(body).unwrap());
            }
        }
    }

    /// Sends an operation and gives its reply; the engine accepts every edit.
    pub(crate) fn ask(&mut self, operation: &str) -> String {
        self.send(&rpc(operation));
        self.accept();
        let mut messages = self.messages();
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }

    /// Accepts the edit that the engine was asked about, if any.
    pub(crate) fn accept(&mut self) {
        if let Some(ControlToEngine::CommitEdit(edit)) = self.orders.last() {
            let edit = *edit;
            self.engine_says(EngineToControl::EditAccepted(edit));
        }
    }

    /// Passes a word of the engine on.
    pub(crate) fn engine_says(&mut self, word: EngineToControl) -> bool {
        let heard = self.gateway.heard(word);
        if let Some(verdict) = heard.verdict {
            self.session.answer(verdict);
        }
        self.session.advance(&mut self.gateway);
        while let Some(order) = self.gateway.next_order() {
            self.orders.push(order);
        }
        heard.running_changed
    }

    /// Sends an operation that must be accepted.
    pub(crate) fn ok(&mut self, operation: &str) {
        let reply = self.ask(operation);
        assert!(reply.contains("<ok/>"), "{reply}");
    }

    /// Sends an operation that must be refused, leaving everything as it was.
    pub(crate) fn refused(&mut self, operation: &str) -> Refused {
        let before = self.gateway.running().clone();
        self.orders.clear();
        let reply = self.ask(operation);
        assert_eq!(*self.gateway.running(), before, "{operation}");
        assert_eq!(self.orders, [], "{operation}");
        refused(&reply)
    }

    /// The names of the entries in their order.
    pub(crate) fn names(&mut self) -> Vec<String> {
        let reply = self.ask("<get-config><source><running/></source></get-config>");
        all(&reply, "name")
    }
}

pub(crate) fn rpc(operation: &str) -> String {
    format!(
        "<rpc message-id=\"101\" xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\" \
         xmlns:nc=\"urn:ietf:params:xml:ns:netconf:base:1.0\">{operation}</rpc>"
    )
}

/// The one error of a reply.
pub(crate) fn refused(reply: &str) -> Refused {
    assert_eq!(reply.matches("<rpc-error>").count(), 1, "{reply}");
    assert!(reply.contains("<error-severity>error</error-severity>"));
    Refused {
        tag: one(reply, "error-tag").unwrap(),
        app_tag: one(reply, "error-app-tag"),
        path: one(reply, "error-path"),
        info: one(reply, "error-info"),
    }
}

/// The content of the first element of this name.
pub(crate) fn one(document: &str, name: &str) -> Option<String> {
    all(document, name).into_iter().next()
}

/// The contents of the elements of this name.
pub(crate) fn all(document: &str, name: &str) -> Vec<String> {
    let mut contents = Vec::new();
    let mut rest = document;
    while let Some(start) = rest.find(&format!("<{name}")) {
        rest = &rest[start + name.len() + 1..];
        if !rest.starts_with(['>', ' ']) {
            continue;
        }
        let (_, inner) = rest.split_once('>').unwrap();
        let (content, after) = inner.split_once(&format!("</{name}>")).unwrap();
        let content = content
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&apos;", "'")
            .replace("&amp;", "&");
        contents.push(content);
        rest = after;
    }
    contents
}
