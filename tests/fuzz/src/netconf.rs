//! NETCONF: what a controller sends to a gateway, and a gateway to its controller.

use core::time::Duration;

use bartizan_model::ids::NodeId;
use bartizan_model::message::{ControlToEngine, EngineToControl};
use bartizan_netconf::client::{Client, Request};
use bartizan_netconf::server::{Gateway, Session, Unfound};
use bartizan_netconf::{Deframer, Frame, Framing, FramingError, Running, SessionId, frame};

const CAP: usize = 512;

/// However a stream is cut, it holds the same messages; and a message comes through its framing.
pub(super) fn framing(data: &[u8]) {
    for framing in [Framing::EndOfMessage, Framing::Chunked] {
        let whole = frames(framing, data, data.len().max(1));
        for step in [1, 2, 7] {
            assert_eq!(frames(framing, data, step), whole);
        }
        if let Ok(text) = core::str::from_utf8(data)
            && !text.is_empty()
            && !(framing == Framing::EndOfMessage && (text.contains("]]>") || text.ends_with(']')))
        {
            let mut framed = Vec::new();
            frame(text, framing, &mut framed);
            let expected = match data.len() {
                ..=CAP => Ok(vec![Frame::Whole(data.to_vec())]),
                len if len <= 2 * CAP => Ok(vec![Frame::TooBig(data[..CAP].to_vec())]),
                _ => Err(FramingError::Endless),
            };
            assert_eq!(frames(framing, &framed, 5), expected);
        }
    }
}

fn frames(framing: Framing, data: &[u8], step: usize) -> Result<Vec<Frame>, FramingError> {
    let mut deframer = Deframer::new(CAP);
    deframer.switch(framing, CAP);
    let mut frames = Vec::new();
    for mut piece in data.chunks(step) {
        while let Some(frame) = deframer.take(&mut piece)? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

/// A gateway answers any message with one reply, changes nothing unasked, and what it then shows
/// is what it would take again.
pub(super) fn session(data: &[u8]) {
    let mut ends = Ends::new();
    let Ok(message) = core::str::from_utf8(data) else {
        return;
    };
    if message.is_empty() {
        return;
    }
    ends.say(message);
    let asked = ends.settle();
    let reply = ends.reply();
    assert!(
        reply.starts_with("<?xml") && reply.ends_with("</rpc-reply>"),
        "{reply}"
    );
    if reply.contains("<rpc-error>") {
        assert!(!asked && ends.gateway.running().is_empty(), "{reply}");
    }

    let running = ends.gateway.running().clone();
    assert_eq!(Running::from_copy(&running.to_copy()), Ok(running.clone()));
    if running.is_empty() || ends.session.ended().is_some() {
        return;
    }
    ends.say(&rpc("<get-config><source><running/></source></get-config>"));
    let shown = ends.reply();
    let (_, config) = shown.split_once("<data>").expect("data");
    let (config, _) = config.split_once("</data>").expect("data");
    ends.say(&rpc(&format!(
        "<edit-config><target><running/></target>\
         <default-operation>replace</default-operation><config>{config}</config></edit-config>"
    )));
    ends.settle();
    let reply = ends.reply();
    assert!(reply.contains("<ok/>"), "{reply}\n{config}");
    assert_eq!(*ends.gateway.running(), running);
}

/// The owner's end ends in an error, never in a panic.
pub(super) fn client(data: &[u8]) {
    for framing in [Framing::EndOfMessage, Framing::Chunked] {
        let mut client = Client::new();
        let version = match framing {
            Framing::EndOfMessage => "1.0",
            Framing::Chunked => "1.1",
        };
        let hello = format!(
            "<hello xmlns='urn:ietf:params:xml:ns:netconf:base:1.0'><capabilities><capability>\
             urn:ietf:params:netconf:base:{version}</capability></capabilities>\
             <session-id>1</session-id></hello>]]>]]>"
        );
        client.receive(hello.as_bytes()).expect("a hello");
        client.send(&Request::Everything).expect("a short request");
        let mut framed = Vec::new();
        match core::str::from_utf8(data) {
            Ok(text) if !text.is_empty() => frame(text, framing, &mut framed),
            _ => framed.extend_from_slice(data),
        }
        // Whatever comes of it, it is no panic.
        drop(client.receive(&framed));
    }
    drop(Client::new().receive(data));
}

struct Ends {
    session: Session,
    gateway: Gateway,
    deframer: Deframer,
}

impl Ends {
    fn new() -> Self {
        let mut ends = Self {
            session: Session::new(SessionId(1)),
            gateway: Gateway::new(NodeId::try_from("gw-a").expect("a node id")),
            deframer: Deframer::new(usize::MAX / 4),
        };
        ends.reply();
        let mut hello = Vec::new();
        frame(
            "<hello xmlns='urn:ietf:params:xml:ns:netconf:base:1.0'><capabilities><capability>\
             urn:ietf:params:netconf:base:1.1</capability></capabilities></hello>",
            Framing::EndOfMessage,
            &mut hello,
        );
        ends.session.receive(&hello);
        ends.session.advance(&mut ends.gateway);
        ends.deframer.switch(Framing::Chunked, usize::MAX / 4);
        ends
    }

    fn say(&mut self, message: &str) {
        let mut framed = Vec::new();
        frame(message, Framing::Chunked, &mut framed);
        self.session.receive(&framed);
        self.session.advance(&mut self.gateway);
    }

    /// Has the engine accept everything and the TPM nothing; whether the engine was asked anything.
    fn settle(&mut self) -> bool {
        let mut asked = false;
        if self.gateway.next_inquiry().is_some() {
            let heard = self.gateway.found(Err(Unfound::Tpm), Duration::ZERO);
            self.session.answer(heard.verdict.expect("a verdict"));
        }
        while let Some(order) = self.gateway.next_order() {
            asked = true;
            let word = match order {
                ControlToEngine::CommitEdit(edit) => EngineToControl::EditAccepted(edit),
                ControlToEngine::Lease(_) => EngineToControl::LeaseAccepted(Duration::ZERO),
                ControlToEngine::Order(_) => EngineToControl::OrderAccepted,
                ControlToEngine::BeginEdit(_)
                | ControlToEngine::BeginRestore(_)
                | ControlToEngine::Put(_)
                | ControlToEngine::Remove(_) => continue,
            };
            let verdict = self.gateway.heard(word).verdict.expect("a verdict");
            self.session.answer(verdict);
        }
        asked
    }

    fn reply(&mut self) -> String {
        let output = self.session.output().to_vec();
        self.session.sent(output.len());
        let mut rest = output.as_slice();
        let Ok(Some(Frame::Whole(body))) = self.deframer.take(&mut rest) else {
            panic!("no reply");
        };
        assert!(rest.is_empty(), "two replies");
        String::from_utf8(body).expect("UTF-8")
    }
}

fn rpc(operation: &str) -> String {
    format!(
        "<rpc message-id=\"1\" xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\">{operation}</rpc>"
    )
}
