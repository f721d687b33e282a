//! A piece of a document as a tree over the schema: what is between XML and the types of the model.
//!
//! Trees are small and short-lived: one SPD entry, one tunnel, one notification.

mod apply;
mod decode;

use core::fmt;

use crate::namespace::Namespace;
use crate::schema::{Kind, Node, Type};
use crate::xml::Writer;

pub(crate) use apply::{DEFAULT_OPERATIONS, Operation, apply};
pub(crate) use decode::{Source, content, decode, missing, operation, unknown, unknown_below};

/// A node with its value.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) node: &'static Node,
    /// What an edit wants done with it, where it says so.
    pub(crate) operation: Option<Operation>,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Value {
    /// A canonical text.
    Text(String),
    /// Children in the order of the schema; instances of a list in their own.
    Inner(Vec<Tree>),
}

impl Tree {
    pub(crate) const fn new(node: &'static Node, value: Value) -> Self {
        Self {
            node,
            operation: None,
            value,
        }
    }

    /// An element without content yet.
    pub(crate) const fn empty(node: &'static Node) -> Self {
        Self::new(node, Value::Inner(Vec::new()))
    }

    /// The text of a leaf.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Inner(_) => None,
        }
    }

    pub(crate) fn children(&self) -> &[Tree] {
        match &self.value {
            Value::Inner(children) => children,
            Value::Text(_) => &[],
        }
    }

    /// The child of this name; the first of a list.
    pub(crate) fn child(&self, name: &str) -> Option<&Tree> {
        self.children().iter().find(|child| child.node.name == name)
    }

    /// As [`Tree::child`], to be changed.
    pub(crate) fn child_mut(&mut self, name: &str) -> Option<&mut Tree> {
        match &mut self.value {
            Value::Inner(children) => children.iter_mut().find(|child| child.node.name == name),
            Value::Text(_) => None,
        }
    }

    /// Takes the children of this name out.
    pub(crate) fn take_out(&mut self, name: &str) {
        if let Value::Inner(children) = &mut self.value {
            children.retain(|child| child.node.name != name);
        }
    }

    /// The text of a leaf below.
    pub(crate) fn leaf(&self, name: &str) -> Option<&str> {
        self.child(name)?.text()
    }

    /// Adds a leaf.
    pub(crate) fn set(&mut self, name: &str, text: impl fmt::Display) {
        if let Some(node) = self.node.child(name) {
            self.insert(Tree::new(node, Value::Text(text.to_string())));
        }
    }

    /// Adds an element with what `fill` puts into it.
    pub(crate) fn add(&mut self, name: &str, fill: impl FnOnce(&mut Tree)) {
        if let Some(node) = self.node.child(name) {
            let mut child = Tree::empty(node);
            fill(&mut child);
            self.insert(child);
        }
    }

    /// Adds a child in its place.
    pub(crate) fn insert(&mut self, child: Tree) {
        if let Value::Inner(children) = &mut self.value {
            insert(self.node, children, child);
        }
    }

    /// Says whether two siblings are the same instance.
    pub(crate) fn is_instance_of(&self, other: &Tree) -> bool {
        if self.node != other.node {
            return false;
        }
        match self.node.kind {
            Kind::Leaf(_) | Kind::Container { .. } => true,
            Kind::LeafList(_) => self.text() == other.text(),
            Kind::List { keys, .. } => {
                !keys.is_empty() && keys.iter().all(|key| self.leaf(key) == other.leaf(key))
            }
        }
    }

    /// Says whether it stands for something: not a container that holds nothing.
    pub(crate) fn exists(&self) -> bool {
        !self.node.is_mere_way() || self.children().iter().any(Tree::exists)
    }

    /// Writes it, but for containers that hold nothing.
    pub(crate) fn write(&self, writer: &mut Writer) {
        if self.exists() {
            self.write_with(writer, &[]);
        }
    }

    /// Writes it with attributes, the prefix in their names.
    pub(crate) fn write_with(&self, writer: &mut Writer, attributes: &[(&str, &str)]) {
        if let Kind::Leaf(Type::Identity(_)) | Kind::LeafList(Type::Identity(_)) = self.node.kind
            && let Some((prefix, _)) = self.text().and_then(|text| text.split_once(':'))
            && let Some(namespace) = Namespace::prefixed(prefix)
        {
            let declared = format!("xmlns:{prefix}");
            let declaration = [(declared.as_str(), namespace.uri())];
            let attributes = [&declaration, attributes].concat();
            writer.open_with(self.node.namespace, self.node.name, &attributes);
        } else {
            writer.open_with(self.node.namespace, self.node.name, attributes);
        }
        match &self.value {
            Value::Text(text) => writer.text(text),
            Value::Inner(children) => {
                for child in children {
                    child.write(writer);
                }
            }
        }
        writer.close();
    }
}

/// Puts a node among its siblings, after those that the schema has before it.
fn insert(parent: &'static Node, siblings: &mut Vec<Tree>, child: Tree) {
    let place = parent.position(child.node);
    let after = siblings.partition_point(|other| parent.position(other.node) <= place);
    siblings.insert(after, child);
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node && self.operation == other.operation && self.value == other.value
    }
}

impl Eq for Tree {}

/// The namespaces that a node's children have.
pub(crate) fn namespaces(node: &'static Node) -> impl Iterator<Item = Namespace> {
    node.children().iter().map(|child| child.namespace)
}
