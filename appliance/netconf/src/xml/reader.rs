//! A bounded pull reader over quick-xml.

use std::borrow::Cow;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use quick_xml::name::{
    Namespace as Uri, NamespaceResolver, PrefixDeclaration, QName, ResolveResult,
};
use quick_xml::reader::NsReader;

use crate::error::{ErrorTag, ErrorType, RpcError};
use crate::limits;
use crate::namespace::Namespace;
use crate::xml::{is_allowed, is_blank, is_name};

/// Reads a document token by token; comments are passed over.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    inner: NsReader<&'a [u8]>,
    depth: usize,
    begun: bool,
}

/// A part of a document.
#[derive(Debug)]
pub(crate) enum Token {
    /// An element begins.
    Open(Tag),
    /// The innermost open element ends.
    Close,
    /// Some of an element's text, references resolved.
    Text(String),
    /// The document is over; every element is closed.
    End,
}

/// The beginning of an element.
#[derive(Debug)]
pub(crate) struct Tag {
    /// Its namespace, if it is one of ours.
    pub(crate) namespace: Option<Namespace>,
    /// Its namespace, if it has one that is not ours.
    pub(crate) foreign: Option<String>,
    /// Its name without prefix.
    pub(crate) name: String,
    /// Its attributes, declarations of namespaces too.
    pub(crate) attributes: Vec<Attribute>,
}

/// An attribute.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Attribute {
    /// The namespace of a prefixed attribute, if it is one of ours.
    pub(crate) namespace: Option<Namespace>,
    /// Its name with its prefix.
    pub(crate) qualified: String,
    /// Its value, references resolved.
    pub(crate) value: String,
}

/// A document that is not read further.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum XmlError {
    /// No well-formed XML, or a construct that NETCONF forbids.
    #[error("the message is not well-formed XML, or has a document type or an unknown entity")]
    Malformed,
    /// More than [`limits::DEPTH`] elements inside each other.
    #[error("elements are nested too deep")]
    Depth,
    /// A tag of more than [`limits::TAG`] bytes or [`limits::ATTRIBUTES`] attributes.
    #[error("a tag is too long")]
    Tag,
    /// A text longer than its leaf may have.
    #[error("a leaf is too long")]
    Leaf,
    /// Text where elements belong, or an element inside a leaf.
    #[error("an element has content of the wrong kind")]
    Content,
}

impl XmlError {
    /// The error as the other end is told it.
    pub(crate) fn at(self, path: Option<String>) -> RpcError {
        let (kind, tag, app_tag, message) = match self {
            Self::Malformed => (
                ErrorType::Rpc,
                ErrorTag::MalformedMessage,
                None,
                "the message is not well-formed XML, or has a document type or an unknown entity",
            ),
            Self::Depth => (
                ErrorType::Rpc,
                ErrorTag::TooBig,
                Some("depth"),
                "elements are nested too deep",
            ),
            Self::Tag => (
                ErrorType::Rpc,
                ErrorTag::TooBig,
                Some("tag"),
                "a tag is too long",
            ),
            Self::Leaf => (
                ErrorType::Application,
                ErrorTag::TooBig,
                Some("leaf"),
                "a leaf is too long",
            ),
            Self::Content => (
                ErrorType::Application,
                ErrorTag::BadElement,
                None,
                "an element has content of the wrong kind",
            ),
        };
        let mut error = RpcError::new(kind, tag, message);
        error.app_tag = app_tag.map(Cow::Borrowed);
        error.path = path;
        error
    }
}

impl<'a> Reader<'a> {
    /// Begins to read a document.
    ///
    /// # Errors
    ///
    /// [`XmlError::Malformed`] if it is not UTF-8 or has characters that XML forbids.
    pub(crate) fn new(document: &'a [u8]) -> Result<Self, XmlError> {
        let text = core::str::from_utf8(document).map_err(|_not_utf8| XmlError::Malformed)?;
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        if !text.chars().all(is_allowed) {
            return Err(XmlError::Malformed);
        }
        let mut inner = NsReader::from_str(text);
        let config = inner.config_mut();
        config.check_comments = true;
        config.expand_empty_elements = true;
        Ok(Self {
            inner,
            depth: 0,
            begun: false,
        })
    }

    /// Takes the next token.
    ///
    /// # Errors
    ///
    /// [`XmlError`]; the document is not to be read further.
    pub(crate) fn next(&mut self) -> Result<Token, XmlError> {
        loop {
            let first = !core::mem::replace(&mut self.begun, true);
            // The reader must be free again when a tag's attributes are resolved.
            let event = self
                .inner
                .read_event()
                .map_err(|_cause| XmlError::Malformed)?;
            return match event {
                Event::Comment(_) => continue,
                Event::Decl(declaration) if first => {
                    utf8(&declaration)?;
                    continue;
                }
                Event::Start(start) => {
                    self.depth = self.depth.saturating_add(1);
                    if self.depth > limits::DEPTH {
                        return Err(XmlError::Depth);
                    }
                    Ok(Token::Open(tag(&start, self.inner.resolver())?))
                }
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    Ok(Token::Close)
                }
                Event::Text(text) => self.text(text.xml10_content()),
                Event::CData(text) if self.depth > 0 => self.text(text.xml10_content()),
                Event::GeneralRef(reference) if self.depth > 0 => {
                    Ok(Token::Text(resolve(&reference)?))
                }
                Event::Eof if self.depth == 0 => Ok(Token::End),
                Event::Eof
                | Event::CData(_)
                | Event::GeneralRef(_)
                | Event::Empty(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_) => Err(XmlError::Malformed),
            };
        }
    }

    /// Takes the next child of the open element, or `None` at its end.
    ///
    /// # Errors
    ///
    /// [`XmlError`]; [`XmlError::Content`] if there is text between its children.
    pub(crate) fn child(&mut self) -> Result<Option<Tag>, XmlError> {
        loop {
            return match self.next()? {
                Token::Open(tag) => Ok(Some(tag)),
                Token::Close => Ok(None),
                Token::Text(text) if is_blank(&text) => continue,
                Token::Text(_) => Err(XmlError::Content),
                Token::End => Err(XmlError::Malformed),
            };
        }
    }

    /// Takes the text of the open element and its end.
    ///
    /// # Errors
    ///
    /// [`XmlError::Leaf`] if it has more than `limit` bytes, [`XmlError::Content`] if it has a
    /// child.
    pub(crate) fn leaf(&mut self, limit: usize) -> Result<String, XmlError> {
        let mut leaf = String::new();
        loop {
            match self.next()? {
                Token::Text(text) => {
                    if leaf.len().saturating_add(text.len()) > limit {
                        return Err(XmlError::Leaf);
                    }
                    leaf.push_str(&text);
                }
                Token::Close => return Ok(leaf),
                Token::Open(_) => return Err(XmlError::Content),
                Token::End => return Err(XmlError::Malformed),
            }
        }
    }

    /// As [`Reader::leaf`], of an identity: its namespace is written with our prefix, whatever the
    /// document's is. Nothing is there where the namespace is none of ours.
    ///
    /// # Errors
    ///
    /// As [`Reader::leaf`].
    pub(crate) fn identity(&mut self, limit: usize) -> Result<String, XmlError> {
        let text = self.leaf(limit)?;
        let text = text.trim();
        if !is_qualified(QName(text)) {
            return Ok(String::new());
        }
        // The reader leaves an element's scope only with its next token.
        let (bound, local) = self.inner.resolver().resolve(QName(text), true);
        let ResolveResult::Bound(Uri(uri)) = bound else {
            return Ok(String::new());
        };
        let named = Namespace::of(uri).map(|namespace| {
            let prefix = namespace.prefix();
            format!("{prefix}:{}", local.as_ref())
        });
        Ok(named.unwrap_or_default())
    }

    /// Passes over the rest of the open element and its end.
    ///
    /// # Errors
    ///
    /// [`XmlError`].
    pub(crate) fn skip(&mut self) -> Result<(), XmlError> {
        let outside = self.depth.saturating_sub(1);
        while self.depth > outside {
            self.next()?;
        }
        Ok(())
    }

    /// Takes the end of the document.
    ///
    /// # Errors
    ///
    /// [`XmlError::Malformed`] if something follows.
    pub(crate) fn end(&mut self) -> Result<(), XmlError> {
        loop {
            match self.next()? {
                Token::End => return Ok(()),
                Token::Text(text) if is_blank(&text) => {}
                Token::Text(_) | Token::Open(_) | Token::Close => return Err(XmlError::Malformed),
            }
        }
    }

    fn text(&self, text: Cow<'_, str>) -> Result<Token, XmlError> {
        if self.depth == 0 && !is_blank(&text) {
            return Err(XmlError::Malformed);
        }
        Ok(Token::Text(text.into_owned()))
    }
}

impl Tag {
    /// Says whether it is this element.
    pub(crate) fn is(&self, namespace: Namespace, name: &str) -> bool {
        self.namespace == Some(namespace) && self.name == name
    }

    /// Its attributes that declare no namespace.
    pub(crate) fn own_attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes
            .iter()
            .filter(|attribute| !attribute.declares_namespace())
    }
}

impl Attribute {
    /// Its name without prefix.
    pub(crate) fn name(&self) -> &str {
        let (_, name) = self
            .qualified
            .split_once(':')
            .unwrap_or(("", &self.qualified));
        name
    }

    fn declares_namespace(&self) -> bool {
        self.qualified == "xmlns" || self.qualified.starts_with("xmlns:")
    }
}

fn tag(start: &BytesStart<'_>, resolver: &NamespaceResolver) -> Result<Tag, XmlError> {
    if start.len() > limits::TAG {
        return Err(XmlError::Tag);
    }
    let (bound, local) = resolver.resolve_element(start.name());
    if !is_qualified(start.name()) {
        return Err(XmlError::Malformed);
    }
    let (namespace, foreign) = match bound {
        ResolveResult::Unbound => (None, None),
        ResolveResult::Bound(Uri(uri)) => match Namespace::of(uri) {
            Some(known) => (Some(known), None),
            None => (None, Some(String::from(uri))),
        },
        ResolveResult::Unknown(_) => return Err(XmlError::Malformed),
    };
    let mut attributes: Vec<Attribute> = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_cause| XmlError::Malformed)?;
        let attribute = resolved_attribute(&attribute, resolver)?;
        let again = attributes.iter().any(|earlier| {
            earlier.namespace.is_some()
                && earlier.namespace == attribute.namespace
                && earlier.name() == attribute.name()
        });
        if again {
            return Err(XmlError::Malformed);
        }
        if attributes.len() == limits::ATTRIBUTES {
            return Err(XmlError::Tag);
        }
        attributes.push(attribute);
    }
    Ok(Tag {
        namespace,
        foreign,
        name: String::from(local.as_ref()),
        attributes,
    })
}

fn resolved_attribute(
    attribute: &quick_xml::events::attributes::Attribute<'_>,
    resolver: &NamespaceResolver,
) -> Result<Attribute, XmlError> {
    let key = attribute.key;
    if !is_qualified(key) || attribute.value.contains('<') {
        return Err(XmlError::Malformed);
    }
    let value = attribute
        .normalized_value(XmlVersion::Implicit1_0)
        .map_err(|_cause| XmlError::Malformed)?;
    if !value.chars().all(is_allowed) {
        return Err(XmlError::Malformed);
    }
    let declaration = key.as_namespace_binding();
    if let Some(PrefixDeclaration::Named(_)) = declaration
        && value.is_empty()
    {
        // Namespaces in XML 1.0, 5: a prefix cannot be undeclared.
        return Err(XmlError::Malformed);
    }
    let namespace = match resolver.resolve_attribute(key) {
        _ if declaration.is_some() => None,
        (ResolveResult::Bound(Uri(uri)), _) => Namespace::of(uri),
        (ResolveResult::Unbound, _) => None,
        (ResolveResult::Unknown(_), _) => return Err(XmlError::Malformed),
    };
    Ok(Attribute {
        namespace,
        qualified: String::from(key.as_ref()),
        value: value.into_owned(),
    })
}

fn is_qualified(name: QName<'_>) -> bool {
    let (local, prefix) = name.decompose();
    is_name(local.as_ref()) && prefix.is_none_or(|prefix| is_name(prefix.as_ref()))
}

fn utf8(declaration: &BytesDecl<'_>) -> Result<(), XmlError> {
    let version = declaration.version();
    let encoding = declaration.encoding().transpose();
    match (version.as_deref(), encoding.as_ref().map(Option::as_deref)) {
        (Ok("1.0"), Ok(None)) => Ok(()),
        (Ok("1.0"), Ok(Some(encoding))) if encoding.eq_ignore_ascii_case("utf-8") => Ok(()),
        _ => Err(XmlError::Malformed),
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<String, XmlError> {
    let name: &str = reference.as_ref();
    let character = match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "apos" => '\'',
        "quot" => '"',
        _ => match reference.resolve_char_ref() {
            Ok(Some(character)) if is_allowed(character) => character,
            _ => return Err(XmlError::Malformed),
        },
    };
    Ok(String::from(character))
}
