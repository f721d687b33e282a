//! The hello of both ends (RFC 6241, 8.1).

use crate::framing::Framing;
use crate::library;
use crate::limits;
use crate::namespace::Namespace;
use crate::xml::{Reader, Token, Writer, XmlError};

/// A session's number: unique among the sessions of one start of the gateway, never 0.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SessionId(pub u32);

/// What the other end said of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Hello {
    pub(crate) capabilities: Vec<String>,
    pub(crate) session: Option<SessionId>,
}

const BASE_1_0: &str = "urn:ietf:params:netconf:base:1.0";
const BASE_1_1: &str = "urn:ietf:params:netconf:base:1.1";

/// What the gateway can do.
const CAPABILITIES: [&str; 6] = [
    BASE_1_0,
    BASE_1_1,
    "urn:ietf:params:netconf:capability:writable-running:1.0",
    "urn:ietf:params:netconf:capability:rollback-on-error:1.0",
    "urn:ietf:params:netconf:capability:notification:1.0",
    "urn:ietf:params:netconf:capability:interleave:1.0",
];

/// The gateway's hello.
pub(crate) fn of_server(session: SessionId) -> String {
    let modules = library::capabilities();
    let modules = modules.iter().map(String::as_str);
    write(CAPABILITIES.into_iter().chain(modules), Some(session))
}

/// The owner's hello.
pub(crate) fn of_client() -> String {
    write([BASE_1_0, BASE_1_1].into_iter(), None)
}

/// Reads a hello.
///
/// # Errors
///
/// [`XmlError`] if it is none.
pub(crate) fn read(body: &[u8]) -> Result<Hello, XmlError> {
    let mut reader = Reader::new(body)?;
    let Token::Open(tag) = first(&mut reader)? else {
        return Err(XmlError::Malformed);
    };
    if !tag.is(Namespace::Netconf, "hello") {
        return Err(XmlError::Malformed);
    }
    let mut hello = Hello {
        capabilities: Vec::new(),
        session: None,
    };
    while let Some(tag) = reader.child()? {
        if tag.is(Namespace::Netconf, "session-id") {
            let id: u32 = reader
                .leaf(limits::LEAF)?
                .trim()
                .parse()
                .map_err(|_| XmlError::Malformed)?;
            hello.session = Some(SessionId(id));
        } else if tag.is(Namespace::Netconf, "capabilities") {
            while let Some(_capability) = reader.child()? {
                if hello.capabilities.len() == limits::CAPABILITIES {
                    return Err(XmlError::Leaf);
                }
                let uri = reader.leaf(limits::LEAF)?;
                hello.capabilities.push(String::from(uri.trim()));
            }
        } else {
            reader.skip()?;
        }
    }
    reader.end()?;
    Ok(hello)
}

impl Hello {
    /// How the session goes on; `None` if there is no version that both ends speak.
    pub(crate) fn framing(&self) -> Option<Framing> {
        let speaks = |version| self.capabilities.iter().any(|uri| uri == version);
        if speaks(BASE_1_1) {
            Some(Framing::Chunked)
        } else {
            speaks(BASE_1_0).then_some(Framing::EndOfMessage)
        }
    }
}

/// Takes the root element of a document.
pub(crate) fn first(reader: &mut Reader<'_>) -> Result<Token, XmlError> {
    loop {
        let token = reader.next()?;
        if !matches!(token, Token::Text(_)) {
            return Ok(token);
        }
    }
}

fn write<'a>(capabilities: impl Iterator<Item = &'a str>, session: Option<SessionId>) -> String {
    const NC: Namespace = Namespace::Netconf;
    let mut writer = Writer::new();
    writer.open(NC, "hello");
    writer.open(NC, "capabilities");
    for capability in capabilities {
        writer.leaf(NC, "capability", capability);
    }
    writer.close();
    if let Some(SessionId(id)) = session {
        writer.leaf(NC, "session-id", id);
    }
    writer.finish()
}
