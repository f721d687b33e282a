//! What a NETCONF peer is told when something cannot be done (RFC 6241, 4.3 and appendix A).

use std::borrow::Cow;

use crate::limits;
use crate::namespace::Namespace;
use crate::words::{Words, meaning, word};
use crate::xml::{Reader, Writer, XmlError};

/// One `rpc-error`; its severity is always `error`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{tag} at {path:?}: {message}", tag = .tag.as_str())]
pub struct RpcError {
    /// The layer that found it.
    pub kind: ErrorType,
    /// What is wrong.
    pub tag: ErrorTag,
    /// What is wrong, closer: a word of ours or of the engine.
    pub app_tag: Option<Cow<'static, str>>,
    /// Where: an `XPath` expression.
    pub path: Option<String>,
    /// For people.
    pub message: Cow<'static, str>,
    /// What the tag asks for besides.
    pub info: Vec<ErrorInfo>,
}

/// The conceptual layer of an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ErrorType {
    /// Secure transport.
    Transport,
    /// Messages.
    Rpc,
    /// Operations.
    Protocol,
    /// Content.
    Application,
}

/// RFC 6241, appendix A.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ErrorTag {
    /// Another holds it.
    InUse,
    /// An unacceptable value.
    InvalidValue,
    /// The request or its answer is too large.
    TooBig,
    /// An attribute is missing.
    MissingAttribute,
    /// An attribute's value is wrong.
    BadAttribute,
    /// An attribute that does not belong there.
    UnknownAttribute,
    /// An element is missing.
    MissingElement,
    /// An element's value is wrong.
    BadElement,
    /// An element that does not belong there.
    UnknownElement,
    /// A namespace that is not known there.
    UnknownNamespace,
    /// Not authorized.
    AccessDenied,
    /// Held by another session.
    LockDenied,
    /// Not enough of something.
    ResourceDenied,
    /// Could not be rolled back.
    RollbackFailed,
    /// Is there already.
    DataExists,
    /// Is not there.
    DataMissing,
    /// Not done here.
    OperationNotSupported,
    /// Did not work, for a reason that no other tag covers.
    OperationFailed,
    /// Obsolete.
    PartialOperation,
    /// No such message; never sent to a base:1.0 peer.
    MalformedMessage,
}

/// An element of `error-info`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ErrorInfo {
    /// The name of an attribute.
    BadAttribute(String),
    /// The name of an element.
    BadElement(String),
    /// A namespace.
    BadNamespace(String),
}

impl RpcError {
    pub(crate) fn new(
        kind: ErrorType,
        tag: ErrorTag,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            kind,
            tag,
            app_tag: None,
            path: None,
            message: message.into(),
            info: Vec::new(),
        }
    }

    #[must_use]
    pub(crate) fn at(mut self, path: impl Into<Option<String>>) -> Self {
        self.path = path.into();
        self
    }

    #[must_use]
    pub(crate) fn app_tag(mut self, app_tag: &'static str) -> Self {
        self.app_tag = Some(Cow::Borrowed(app_tag));
        self
    }

    #[must_use]
    pub(crate) fn with(mut self, info: ErrorInfo) -> Self {
        self.info.push(info);
        self
    }

    /// Writes it as `rpc-error` (RFC 6241, 4.3).
    pub(crate) fn write(&self, writer: &mut Writer) {
        const NC: Namespace = Namespace::Netconf;
        writer.open(NC, "rpc-error");
        writer.leaf(NC, "error-type", word(TYPES, self.kind));
        writer.leaf(NC, "error-tag", self.tag.as_str());
        writer.leaf(NC, "error-severity", "error");
        if let Some(app_tag) = &self.app_tag {
            writer.leaf(NC, "error-app-tag", app_tag);
        }
        if let Some(path) = &self.path {
            let declares = |namespace: &Namespace| {
                let named = format!("{}:", namespace.prefix());
                path.contains(&named)
                    .then(|| (format!("xmlns:{}", namespace.prefix()), namespace.uri()))
            };
            let prefixes: Vec<_> = Namespace::ALL.iter().filter_map(declares).collect();
            let prefixes: Vec<_> = prefixes
                .iter()
                .map(|(name, uri)| (name.as_str(), *uri))
                .collect();
            writer.open_with(NC, "error-path", &prefixes);
            writer.text(path);
            writer.close();
        }
        writer.open_with(NC, "error-message", &[("xml:lang", "en")]);
        writer.text(&self.message);
        writer.close();
        if !self.info.is_empty() {
            writer.open(NC, "error-info");
            for info in &self.info {
                match info {
                    ErrorInfo::BadAttribute(name) => writer.leaf(NC, "bad-attribute", name),
                    ErrorInfo::BadElement(name) => writer.leaf(NC, "bad-element", name),
                    ErrorInfo::BadNamespace(uri) => writer.leaf(NC, "bad-namespace", uri),
                }
            }
            writer.close();
        }
        writer.close();
    }

    /// Reads the content of an `rpc-error` and its end; `None` for a warning.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, XmlError> {
        let mut error = Self::new(ErrorType::Application, ErrorTag::OperationFailed, "");
        let mut warning = false;
        while let Some(tag) = reader.child()? {
            if tag.is(Namespace::Netconf, "error-info") {
                error.read_info(reader)?;
                continue;
            }
            let text = reader.leaf(limits::BODY)?;
            match tag.name.as_str() {
                "error-type" => error.kind = meaning(TYPES, &text).ok_or(XmlError::Malformed)?,
                "error-tag" => error.tag = meaning(TAGS, &text).ok_or(XmlError::Malformed)?,
                "error-severity" => warning = text == "warning",
                "error-app-tag" => error.app_tag = Some(Cow::Owned(text)),
                "error-path" => error.path = Some(text),
                "error-message" => error.message = Cow::Owned(text),
                _ => {}
            }
        }
        Ok((!warning).then_some(error))
    }

    fn read_info(&mut self, reader: &mut Reader<'_>) -> Result<(), XmlError> {
        while let Some(tag) = reader.child()? {
            let info = match tag.name.as_str() {
                "bad-attribute" => ErrorInfo::BadAttribute,
                "bad-element" => ErrorInfo::BadElement,
                "bad-namespace" => ErrorInfo::BadNamespace,
                _ => {
                    reader.skip()?;
                    continue;
                }
            };
            self.info.push(info(reader.leaf(limits::BODY)?));
        }
        Ok(())
    }
}

impl ErrorTag {
    /// The tag as it is written.
    pub fn as_str(self) -> &'static str {
        word(TAGS, self)
    }
}

const TYPES: Words<ErrorType> = &[
    ("transport", ErrorType::Transport),
    ("rpc", ErrorType::Rpc),
    ("protocol", ErrorType::Protocol),
    ("application", ErrorType::Application),
];

const TAGS: Words<ErrorTag> = &[
    ("in-use", ErrorTag::InUse),
    ("invalid-value", ErrorTag::InvalidValue),
    ("too-big", ErrorTag::TooBig),
    ("missing-attribute", ErrorTag::MissingAttribute),
    ("bad-attribute", ErrorTag::BadAttribute),
    ("unknown-attribute", ErrorTag::UnknownAttribute),
    ("missing-element", ErrorTag::MissingElement),
    ("bad-element", ErrorTag::BadElement),
    ("unknown-element", ErrorTag::UnknownElement),
    ("unknown-namespace", ErrorTag::UnknownNamespace),
    ("access-denied", ErrorTag::AccessDenied),
    ("lock-denied", ErrorTag::LockDenied),
    ("resource-denied", ErrorTag::ResourceDenied),
    ("rollback-failed", ErrorTag::RollbackFailed),
    ("data-exists", ErrorTag::DataExists),
    ("data-missing", ErrorTag::DataMissing),
    ("operation-not-supported", ErrorTag::OperationNotSupported),
    ("operation-failed", ErrorTag::OperationFailed),
    ("partial-operation", ErrorTag::PartialOperation),
    ("malformed-message", ErrorTag::MalformedMessage),
];
