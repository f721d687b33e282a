//! The memory that a message costs is bounded whatever it holds. Alone in its process, because the
//! measure is the process's.
#![cfg(test)]
#![forbid(unsafe_code)]
#![expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]

use bartizan_model::ids::NodeId;
use bartizan_netconf::server::{Gateway, Session};
use bartizan_netconf::{Framing, SessionId, frame, limits};

/// A line of this process's status, in bytes.
fn status(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib = line.split_ascii_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() * 1024
}

/// What the worst message may cost: its bytes, a text of that size and its copy.
const BOUND: usize = 4 * limits::BODY;

/// How much is sent at a time.
const BLOCK: usize = 16 * 1024;

/// A message that begins so and goes on so, up to the limit.
struct Message {
    head: String,
    piece: Box<dyn Fn(usize) -> String>,
    len: usize,
}

fn message(head: &str, piece: &'static str) -> Message {
    let block = piece.repeat(BLOCK / piece.len().max(1));
    Message {
        head: String::from(head),
        piece: Box::new(move |_| block.clone()),
        len: limits::BODY,
    }
}

fn entry(number: usize) -> String {
    format!(
        "<spd-entry><name>{number}</name><direction>inbound</direction><reqid>1</reqid>\
         <ipsec-policy-config><traffic-selector><local-prefix>::/0</local-prefix>\
         <remote-prefix>::/0</remote-prefix></traffic-selector></ipsec-policy-config></spd-entry>"
    )
}

fn hostile() -> Vec<Message> {
    const RPC: &str = "<rpc message-id=\"1\" xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\">";
    const SPD: &str = "<edit-config><target><running/></target><config><ipsec-ikeless \
                       xmlns=\"urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless\"><spd>";

    let rpc = |inner: &str, piece| message(&format!("{RPC}{inner}"), piece);
    let spd = |inner: &str, piece| message(&format!("{RPC}{SPD}{inner}"), piece);
    vec![
        message("", "<"),
        message("", "<a>"),
        message("", "]]>"),
        message("", "&amp;"),
        message("", "\u{10FFFF}"),
        message("<!DOCTYPE a [", "<!ENTITY a 'b'>"),
        rpc("", "<!-- -->"),
        rpc("<!--", "a"),
        rpc("<get><filter>", "<a/>"),
        rpc("<get><filter><a>", "b"),
        rpc("<get ", "xmlns:a='b' "),
        rpc("<get a='", "b"),
        spd("", "<spd-entry/>"),
        spd("<spd-entry><name>", "n"),
        spd("<spd-entry><name>", "&amp;"),
        spd("<spd-entry><name>", "<![CDATA[]]>"),
        spd("<spd-entry><name><![CDATA[", "n"),
        spd("<spd-entry>", "<reqid>1</reqid>"),
        Message {
            piece: Box::new(entry),
            ..spd("", "")
        },
        Message {
            len: 2 * limits::BODY,
            ..rpc("", "x")
        },
    ]
}

/// Sends a message without ever having it whole; gives the reply.
fn send(message: &Message, gateway: &mut Gateway) -> String {
    let hello = "<hello xmlns='urn:ietf:params:xml:ns:netconf:base:1.0'><capabilities>\
                 <capability>urn:ietf:params:netconf:base:1.1</capability></capabilities></hello>";
    let mut bytes = Vec::new();
    frame(hello, Framing::EndOfMessage, &mut bytes);
    let mut session = Session::new(SessionId(1));
    session.receive(&bytes);
    session.advance(gateway);

    let mut text = message.head.clone();
    let mut sent = 0;
    let mut number = 0;
    while sent < message.len {
        while text.len() < BLOCK {
            text.push_str(&(message.piece)(number));
            number += 1;
        }
        let piece = &text.as_bytes()[..text.len().min(message.len - sent)];
        session.receive(format!("\n#{}\n", piece.len()).as_bytes());
        session.receive(piece);
        session.advance(gateway);
        sent += piece.len();
        text.clear();
    }
    session.receive(b"\n##\n");
    session.advance(gateway);
    String::from_utf8(session.output().to_vec()).unwrap()
}

#[test]
fn no_message_costs_more_than_its_bound() {
    let mut gateway = Gateway::new(NodeId::try_from("gw-a").unwrap());
    let before = status("VmRSS:");
    for message in hostile() {
        let reply = send(&message, &mut gateway);
        // What an allocator keeps of the messages before counts too, so this is no less than the
        // worst of them.
        let cost = status("VmHWM:") - before;
        assert!(cost < BOUND, "{cost} after {:?}", message.head);
        assert!(reply.contains("<rpc-error>"), "{:?}: {reply}", message.head);
        assert!(gateway.running().is_empty());
        assert!(gateway.next_order().is_none());
    }
}
