//! Requests (RFC 6241, 4.1 and 7; RFC 5277, 2.1): read as far as they can be judged by themselves.

use crate::attestation::{self, Challenge, LogWanted};
use crate::edit::{self, Edit};
use crate::error::{ErrorInfo, ErrorTag, ErrorType, RpcError};
use crate::filter::Filter;
use crate::hello::{SessionId, first};
use crate::limits;
use crate::namespace::Namespace;
use crate::path;
use crate::running::Running;
use crate::schema::{CHALLENGE, LOG_RETRIEVAL, ORDER};
use crate::tree::{missing, unknown_below};
use crate::xml::{Reader, Tag, Token, Writer};

/// The attributes of an `rpc`, which its reply repeats.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Envelope {
    attributes: Vec<(String, String)>,
}

/// What is asked.
#[derive(Debug)]
pub(crate) enum Request {
    Ask(Wanted),
    Get(Option<Filter>),
    GetConfig(Option<Filter>),
    Close,
    Kill(SessionId),
    Subscribe(Option<Filter>),
}

/// What others than the session answer.
#[derive(Debug)]
pub(crate) enum Wanted {
    Edit(Edit),
    Challenge(Challenge),
    Log(LogWanted),
    Order(Vec<u8>),
}

/// Operations of RFC 6241 that need capabilities which the gateway does not have.
const NOT_SUPPORTED: [&str; 8] = [
    "copy-config",
    "delete-config",
    "lock",
    "unlock",
    "commit",
    "discard-changes",
    "cancel-commit",
    "validate",
];

/// The one stream of RFC 5277, 3.2.3.
const STREAM: &str = "NETCONF";

/// Reads a message.
pub(crate) fn read(body: &[u8], running: &Running) -> (Envelope, Result<Request, RpcError>) {
    let mut reader = match Reader::new(body) {
        Ok(reader) => reader,
        Err(error) => return (Envelope::default(), Err(error.at(None))),
    };
    let envelope = match envelope(&mut reader) {
        Ok(envelope) => envelope,
        Err(error) => return (Envelope::default(), Err(error)),
    };
    let request = if envelope.has_message_id() {
        request(&mut reader, running)
    } else {
        Err(RpcError::new(
            ErrorType::Rpc,
            ErrorTag::MissingAttribute,
            "a request has a message-id",
        )
        .with(ErrorInfo::BadAttribute(String::from("message-id")))
        .with(ErrorInfo::BadElement(String::from("rpc"))))
    };
    (envelope, request)
}

/// Reads the envelope of a message of which only the first bytes are there.
pub(crate) fn envelope_of(head: &[u8]) -> Envelope {
    let valid = match core::str::from_utf8(head) {
        Ok(_) => head,
        Err(error) => head.get(..error.valid_up_to()).unwrap_or_default(),
    };
    let envelope = Reader::new(valid)
        .map_err(|error| error.at(None))
        .and_then(|mut reader| envelope(&mut reader));
    envelope.unwrap_or_default()
}

impl Envelope {
    fn has_message_id(&self) -> bool {
        self.attributes.iter().any(|(name, _)| name == "message-id")
    }

    /// Begins the reply.
    pub(crate) fn open_reply(&self, writer: &mut Writer) {
        let base = Namespace::Netconf.uri();
        let attributes: Vec<(&str, &str)> = self
            .attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            // The reply's own name must stay in the base namespace.
            .filter(|(name, value)| *name != "xmlns" || *value == base)
            .collect();
        writer.open_with(Namespace::Netconf, "rpc-reply", &attributes);
    }
}

fn envelope(reader: &mut Reader<'_>) -> Result<Envelope, RpcError> {
    let token = first(reader).map_err(|error| error.at(None))?;
    let Token::Open(tag) = token else {
        return Err(crate::xml::XmlError::Malformed.at(None));
    };
    if !tag.is(Namespace::Netconf, "rpc") {
        let at_home = tag.namespace == Some(Namespace::Netconf);
        let mut error = unknown_below(&tag, at_home, String::from("/"));
        error.kind = ErrorType::Rpc;
        return Err(error);
    }
    let attributes = tag.attributes.into_iter();
    Ok(Envelope {
        attributes: attributes
            .map(|attribute| (attribute.qualified, attribute.value))
            .collect(),
    })
}

fn request(reader: &mut Reader<'_>, running: &Running) -> Result<Request, RpcError> {
    let at_rpc = |error: crate::xml::XmlError| error.at(Some(path::rpc(&[])));
    let Some(tag) = reader.child().map_err(at_rpc)? else {
        return Err(missing("operation", path::rpc(&[])));
    };
    no_attributes(&tag)?;
    let request = match (tag.namespace, tag.name.as_str()) {
        (Some(Namespace::Netconf), "edit-config") => {
            asked(edit::read(reader, running), Wanted::Edit)
        }
        (Some(Namespace::Netconf), "get-config") => get_config(reader).map(Request::GetConfig),
        (Some(Namespace::Netconf), "get") => get(reader).map(Request::Get),
        (Some(Namespace::Netconf), "close-session") => close(reader),
        (Some(Namespace::Netconf), "kill-session") => kill(reader),
        (Some(Namespace::Notification), "create-subscription") => {
            subscribe(reader).map(Request::Subscribe)
        }
        _ if tag.is(CHALLENGE.namespace, CHALLENGE.name) => {
            asked(attestation::read_challenge(reader), Wanted::Challenge)
        }
        _ if tag.is(LOG_RETRIEVAL.namespace, LOG_RETRIEVAL.name) => {
            asked(attestation::read_log_wanted(reader), Wanted::Log)
        }
        _ if tag.is(ORDER.namespace, ORDER.name) => {
            asked(attestation::read_order(reader), Wanted::Order)
        }
        (Some(Namespace::Netconf), name) if NOT_SUPPORTED.contains(&name) => {
            Err(not_supported(&tag, "the operation is not supported"))
        }
        (Some(Namespace::Netconf), _) => Err(not_supported(&tag, "there is no such operation")),
        _ => {
            let mut error = unknown_below(&tag, false, path::rpc(&[]));
            error.kind = ErrorType::Protocol;
            Err(error)
        }
    }?;
    if let Some(second) = reader.child().map_err(at_rpc)? {
        return Err(unknown_below(&second, true, path::rpc(&[])));
    }
    reader.end().map_err(|error| error.at(None))?;
    Ok(request)
}

fn asked<T>(read: Result<T, RpcError>, wanted: fn(T) -> Wanted) -> Result<Request, RpcError> {
    read.map(|read| Request::Ask(wanted(read)))
}

fn get_config(reader: &mut Reader<'_>) -> Result<Option<Filter>, RpcError> {
    const GET_CONFIG: &str = "get-config";
    let mut source = false;
    let mut filter = None;
    while let Some(tag) = child(reader, GET_CONFIG)? {
        if tag.is(Namespace::Netconf, "source") {
            no_attributes(&tag)?;
            datastore(reader, GET_CONFIG, "source")?;
            source = true;
        } else {
            filter = Some(wanted(reader, &tag, GET_CONFIG)?);
        }
    }
    if !source {
        return Err(missing("source", path::rpc(&[GET_CONFIG, "source"])));
    }
    Ok(filter)
}

fn get(reader: &mut Reader<'_>) -> Result<Option<Filter>, RpcError> {
    let mut filter = None;
    while let Some(tag) = child(reader, "get")? {
        filter = Some(wanted(reader, &tag, "get")?);
    }
    Ok(filter)
}

/// Reads a filter whose tag was read.
fn wanted(reader: &mut Reader<'_>, tag: &Tag, operation: &str) -> Result<Filter, RpcError> {
    let at = path::rpc(&[operation, "filter"]);
    let home = [Namespace::Netconf, Namespace::Notification];
    if tag.name != "filter" || !tag.namespace.is_some_and(|found| home.contains(&found)) {
        let at_home = tag.namespace == Some(Namespace::Netconf);
        return Err(unknown_below(tag, at_home, path::rpc(&[operation])));
    }
    for attribute in tag.own_attributes() {
        // RFC 6241, 6.2.1: the type is without namespace; some controllers qualify it.
        let qualified = attribute.namespace == Some(Namespace::Netconf);
        let error = match (attribute.name(), attribute.value.as_str()) {
            ("type", "subtree") if qualified || attribute.qualified == "type" => continue,
            ("type", _) => RpcError::new(
                ErrorType::Protocol,
                ErrorTag::OperationNotSupported,
                "only subtree filters are supported",
            ),
            _ => RpcError::new(
                ErrorType::Protocol,
                ErrorTag::UnknownAttribute,
                "the attribute means nothing here",
            ),
        };
        return Err(error
            .at(at)
            .with(ErrorInfo::BadAttribute(attribute.qualified.clone()))
            .with(ErrorInfo::BadElement(tag.name.clone())));
    }
    Filter::read(reader, &at)
}

fn close(reader: &mut Reader<'_>) -> Result<Request, RpcError> {
    match child(reader, "close-session")? {
        None => Ok(Request::Close),
        Some(tag) => Err(unknown_below(&tag, true, path::rpc(&["close-session"]))),
    }
}

fn kill(reader: &mut Reader<'_>) -> Result<Request, RpcError> {
    const KILL: &str = "kill-session";
    let mut session = None;
    while let Some(tag) = child(reader, KILL)? {
        if !tag.is(Namespace::Netconf, "session-id") {
            return Err(unknown_below(&tag, true, path::rpc(&[KILL])));
        }
        let at = path::rpc(&[KILL, "session-id"]);
        let text = leaf(reader, &at)?;
        let id = text.trim().parse().map_err(|_| {
            RpcError::new(
                ErrorType::Protocol,
                ErrorTag::InvalidValue,
                "not the number of a session",
            )
            .at(at)
        })?;
        session = Some(SessionId(id));
    }
    let session = session.ok_or_else(|| missing("session-id", path::rpc(&[KILL, "session-id"])))?;
    Ok(Request::Kill(session))
}

fn subscribe(reader: &mut Reader<'_>) -> Result<Option<Filter>, RpcError> {
    const SUBSCRIBE: &str = "create-subscription";
    let mut filter = None;
    while let Some(tag) = child(reader, SUBSCRIBE)? {
        let at = path::rpc(&[SUBSCRIBE, &tag.name]);
        let refuse = |tag, message| RpcError::new(ErrorType::Protocol, tag, message);
        match (tag.namespace, tag.name.as_str()) {
            (Some(Namespace::Notification), "stream") => {
                if leaf(reader, &at)?.trim() != STREAM {
                    let message = "there is one stream, NETCONF";
                    return Err(refuse(ErrorTag::InvalidValue, message).at(at));
                }
            }
            (Some(Namespace::Notification), "startTime" | "stopTime") => {
                let message = "notifications are not kept, so none is replayed";
                return Err(refuse(ErrorTag::OperationNotSupported, message).at(at));
            }
            _ => filter = Some(wanted(reader, &tag, SUBSCRIBE)?),
        }
    }
    Ok(filter)
}

/// Reads the element that names a datastore; there is only `running`.
///
/// # Errors
///
/// [`RpcError`] for another.
pub(crate) fn datastore(
    reader: &mut Reader<'_>,
    operation: &str,
    name: &str,
) -> Result<(), RpcError> {
    let at = path::rpc(&[operation, name]);
    let next = || at.clone();
    let tag = reader.child().map_err(|error| error.at(Some(next())))?;
    let tag = tag.ok_or_else(|| missing("running", next()))?;
    if !tag.is(Namespace::Netconf, "running") {
        let error = RpcError::new(
            ErrorType::Protocol,
            ErrorTag::OperationNotSupported,
            "there is one datastore, running",
        );
        return Err(error.at(at).with(ErrorInfo::BadElement(tag.name)));
    }
    leaf(reader, &at)?;
    match reader.child().map_err(|error| error.at(Some(next())))? {
        None => Ok(()),
        Some(tag) => Err(unknown_below(&tag, true, at)),
    }
}

/// Refuses attributes where none means anything.
///
/// # Errors
///
/// [`RpcError`] for the first.
pub(crate) fn no_attributes(tag: &Tag) -> Result<(), RpcError> {
    let Some(attribute) = tag.own_attributes().next() else {
        return Ok(());
    };
    Err(RpcError::new(
        ErrorType::Protocol,
        ErrorTag::UnknownAttribute,
        "the attribute means nothing here",
    )
    .at(path::rpc(&[]))
    .with(ErrorInfo::BadAttribute(attribute.qualified.clone()))
    .with(ErrorInfo::BadElement(tag.name.clone())))
}

fn child(reader: &mut Reader<'_>, operation: &str) -> Result<Option<Tag>, RpcError> {
    reader
        .child()
        .map_err(|error| error.at(Some(path::rpc(&[operation]))))
}

fn leaf(reader: &mut Reader<'_>, at: &str) -> Result<String, RpcError> {
    reader
        .leaf(limits::LEAF)
        .map_err(|error| error.at(Some(String::from(at))))
}

fn not_supported(tag: &Tag, message: &'static str) -> RpcError {
    RpcError::new(
        ErrorType::Protocol,
        ErrorTag::OperationNotSupported,
        message,
    )
    .at(path::rpc(&[]))
    .with(ErrorInfo::BadElement(tag.name.clone()))
}
