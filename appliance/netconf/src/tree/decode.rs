//! XML to trees, checked against the schema while it is read.

use crate::error::{ErrorInfo, ErrorTag, ErrorType, RpcError};
use crate::namespace::Namespace;
use crate::path::Path;
use crate::schema::{Kind, Node, Type};
use crate::tree::apply::{OPERATIONS, Operation};
use crate::tree::{Tree, Value, namespaces};
use crate::words::meaning;
use crate::xml::{Attribute, Reader, Tag, is_blank};

/// Where a document comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// An edit: configuration alone, with operations; this one is in force.
    Edit(Operation),
    /// An answer: state too, and attributes mean nothing.
    Answer,
}

/// Reads an element whose tag was read.
///
/// # Errors
///
/// [`RpcError`] with the way to what is wrong.
pub(crate) fn decode(
    reader: &mut Reader<'_>,
    tag: &Tag,
    node: &'static Node,
    parent: &Path<'_>,
    source: Source,
) -> Result<Tree, RpcError> {
    let path = Path::child(parent, node, &[]);
    let (operation, source) = match source {
        Source::Answer => (None, source),
        Source::Edit(inherited) => {
            let given = operation(tag, tag.own_attributes(), &path)?;
            (given, Source::Edit(given.unwrap_or(inherited)))
        }
    };
    Ok(Tree {
        node,
        operation,
        value: content(reader, node, path, source)?,
    })
}

/// Reads the content of an element and its end.
///
/// # Errors
///
/// As [`decode`].
pub(crate) fn content(
    reader: &mut Reader<'_>,
    node: &'static Node,
    path: Path<'_>,
    source: Source,
) -> Result<Value, RpcError> {
    match node.kind {
        Kind::Leaf(value) | Kind::LeafList(value) => {
            leaf(reader, value, &path, source).map(Value::Text)
        }
        Kind::Container { children, .. } | Kind::List { children, .. } => {
            inner(reader, node, children, path, source).map(Value::Inner)
        }
    }
}

fn leaf(
    reader: &mut Reader<'_>,
    value: Type,
    path: &Path<'_>,
    source: Source,
) -> Result<String, RpcError> {
    let text = if matches!(value, Type::Identity(_)) {
        reader.identity(value.limit())
    } else {
        reader.leaf(value.limit())
    };
    let text = text.map_err(|error| error.at(Some(path.render())))?;
    match value.canonical(&text) {
        Some(text) => Ok(text),
        // What is taken out need not be said again.
        None if is_taken_out(source) && is_blank(&text) => Ok(String::new()),
        None => Err(RpcError::new(
            ErrorType::Application,
            ErrorTag::InvalidValue,
            "not a value of the leaf's type",
        )
        .at(path.render())),
    }
}

fn inner(
    reader: &mut Reader<'_>,
    node: &'static Node,
    nodes: &'static [Node],
    path: Path<'_>,
    source: Source,
) -> Result<Vec<Tree>, RpcError> {
    let mut tree = Tree::empty(node);
    loop {
        let path = path.knowing(tree.children());
        let next = reader.child();
        let Some(tag) = next.map_err(|error| error.at(Some(path.render())))? else {
            break;
        };
        let known = nodes
            .iter()
            .find(|known| tag.is(known.namespace, known.name));
        let known = known.ok_or_else(|| unknown(&tag, node, &path))?;
        if source != Source::Answer && !known.config {
            return Err(RpcError::new(
                ErrorType::Application,
                ErrorTag::OperationNotSupported,
                "state cannot be written",
            )
            .at(Path::child(&path, known, &[]).render()));
        }
        let child = decode(reader, &tag, known, &path, source)?;
        check_alone(&child, tree.children(), &path)?;
        tree.insert(child);
    }
    for key in node.keys() {
        if tree.leaf(key).is_none() {
            return Err(missing(key, path.knowing(tree.children()).render()));
        }
    }
    match tree.value {
        Value::Inner(children) => Ok(children),
        Value::Text(_) => Ok(Vec::new()),
    }
}

/// Checks that a child is not there twice, and not one too many of its list.
fn check_alone(child: &Tree, siblings: &[Tree], parent: &Path<'_>) -> Result<(), RpcError> {
    let error = |tag, message| {
        let path = Path::child(parent, child.node, child.children());
        Err(RpcError::new(ErrorType::Application, tag, message).at(path.render()))
    };
    let again = siblings.iter().any(|other| child.is_instance_of(other));
    match child.node.kind {
        Kind::Leaf(_) | Kind::Container { .. } if again => {
            error(ErrorTag::BadElement, "an element stands twice")
                .map_err(|error| error.with(ErrorInfo::BadElement(String::from(child.node.name))))
        }
        Kind::LeafList(_) | Kind::List { .. } if again => {
            error(ErrorTag::DataExists, "an instance of a list stands twice")
        }
        Kind::LeafList(_) | Kind::List { .. } => {
            let instances = siblings.iter().filter(|other| other.node == child.node);
            if instances.count() < child.node.most {
                return Ok(());
            }
            error(ErrorTag::TooBig, "a list has too many instances")
                .map_err(|error| error.app_tag("entries"))
        }
        Kind::Leaf(_) | Kind::Container { .. } => Ok(()),
    }
}

/// Reads what an element's attributes ask for.
///
/// # Errors
///
/// [`RpcError`] for an attribute that means nothing here.
pub(crate) fn operation<'a>(
    tag: &Tag,
    attributes: impl Iterator<Item = &'a Attribute>,
    path: &Path<'_>,
) -> Result<Option<Operation>, RpcError> {
    let mut operation = None;
    for attribute in attributes {
        let error = |tag_, message| {
            RpcError::new(ErrorType::Protocol, tag_, message)
                .at(path.render())
                .with(ErrorInfo::BadAttribute(attribute.qualified.clone()))
                .with(ErrorInfo::BadElement(tag.name.clone()))
        };
        if attribute.namespace != Some(Namespace::Netconf) || attribute.name() != "operation" {
            return Err(error(
                ErrorTag::UnknownAttribute,
                "the attribute means nothing here",
            ));
        }
        let Some(meaning) = meaning(OPERATIONS, &attribute.value) else {
            return Err(error(ErrorTag::BadAttribute, "no such operation"));
        };
        operation = Some(meaning);
    }
    Ok(operation)
}

/// The error for an element that does not belong below `parent`.
pub(crate) fn unknown(tag: &Tag, parent: &'static Node, path: &Path<'_>) -> RpcError {
    let at_home = tag
        .namespace
        .is_some_and(|namespace| namespaces(parent).any(|known| known == namespace));
    unknown_below(tag, at_home, path.render())
}

pub(crate) fn unknown_below(tag: &Tag, at_home: bool, path: String) -> RpcError {
    let bad_element = ErrorInfo::BadElement(tag.name.clone());
    if at_home {
        return RpcError::new(
            ErrorType::Application,
            ErrorTag::UnknownElement,
            "the element does not belong here",
        )
        .at(path)
        .with(bad_element);
    }
    let uri = match (tag.namespace, &tag.foreign) {
        (Some(namespace), _) => String::from(namespace.uri()),
        (None, Some(uri)) => uri.clone(),
        (None, None) => String::new(),
    };
    RpcError::new(
        ErrorType::Application,
        ErrorTag::UnknownNamespace,
        "the namespace does not belong here",
    )
    .at(path)
    .with(bad_element)
    .with(ErrorInfo::BadNamespace(uri))
}

/// The error for an element that must be there.
pub(crate) fn missing(name: &str, path: String) -> RpcError {
    RpcError::new(
        ErrorType::Application,
        ErrorTag::MissingElement,
        "an element is missing",
    )
    .at(path)
    .with(ErrorInfo::BadElement(String::from(name)))
}

fn is_taken_out(source: Source) -> bool {
    matches!(source, Source::Edit(Operation::Delete | Operation::Remove))
}
