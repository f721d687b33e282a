//! A look at a tree by the names of the schema, that knows where it looks.

use core::net::IpAddr;
use core::str::FromStr;
use std::borrow::Cow;

use crate::error::{ErrorTag, ErrorType, RpcError};
use crate::path::Path;
use crate::schema::Node;
use crate::tree::{Tree, missing};
use crate::words::{Words, meaning};

/// The `error-app-tag` of a valid leaf that this gateway cannot program.
pub(crate) const NOT_PROGRAMMABLE: &str = "not-programmable";

/// The `error-app-tag` of a YANG `must` that does not hold (RFC 7950, 15).
const MUST_VIOLATION: &str = "must-violation";

/// A node that may be there or not, and the way to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    node: &'static Node,
    tree: Option<&'a Tree>,
    way: Path<'a>,
}

impl<'a> View<'a> {
    pub(crate) fn of(tree: &'a Tree, parent: &'a Path<'a>) -> Self {
        Self {
            node: tree.node,
            tree: Some(tree),
            way: Path::child(parent, tree.node, tree.children()),
        }
    }

    /// A look at a document's root.
    pub(crate) fn root(tree: &'a Tree) -> Self {
        Self {
            node: tree.node,
            tree: Some(tree),
            way: Path::root(tree.node).knowing(tree.children()),
        }
    }

    /// The container of this name.
    pub(crate) fn below(&'a self, name: &str) -> View<'a> {
        let Some(node) = self.node.child(name) else {
            return *self;
        };
        let tree = self.tree.and_then(|tree| tree.child(name));
        let content = tree.map(Tree::children).unwrap_or_default();
        View {
            node,
            tree,
            way: Path::child(&self.way, node, content),
        }
    }

    /// The instances of the list of this name.
    pub(crate) fn instances(&'a self, name: &'a str) -> impl Iterator<Item = View<'a>> {
        let children = self.tree.map(Tree::children).unwrap_or_default();
        children
            .iter()
            .filter(move |child| child.node.name == name)
            .map(|child| View::of(child, &self.way))
    }

    pub(crate) fn exists(&self) -> bool {
        self.tree.is_some_and(Tree::exists)
    }

    /// The text of a leaf-list's instance.
    pub(crate) fn own_text(&self) -> &'a str {
        self.tree.and_then(Tree::text).unwrap_or_default()
    }

    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.tree?.leaf(name)
    }

    pub(crate) fn required(&self, name: &str) -> Result<&'a str, RpcError> {
        self.text(name).ok_or_else(|| self.missing(name))
    }

    pub(crate) fn value<T: FromStr>(&self, name: &str) -> Result<Option<T>, RpcError> {
        let value = self.text(name).map(str::parse).transpose();
        value.map_err(|_| self.invalid(name, "not a value of the leaf's type"))
    }

    /// A number that a YANG type has bounded already.
    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, RpcError> {
        self.value(name)
    }

    pub(crate) fn required_value<T: FromStr>(&self, name: &str) -> Result<T, RpcError> {
        self.value(name)?.ok_or_else(|| self.missing(name))
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, RpcError> {
        self.value(name)
    }

    pub(crate) fn word<T: Copy>(&self, name: &str, words: Words<T>) -> Result<Option<T>, RpcError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let value = meaning(words, text);
        value
            .map(Some)
            .ok_or_else(|| self.invalid(name, "not a value of the leaf's type"))
    }

    pub(crate) fn required_word<T: Copy>(
        &self,
        name: &str,
        words: Words<T>,
    ) -> Result<T, RpcError> {
        self.word(name, words)?.ok_or_else(|| self.missing(name))
    }

    /// The address of one host.
    pub(crate) fn required_host(&self, name: &str) -> Result<IpAddr, RpcError> {
        let address: IpAddr = self.required_value(name)?;
        if address.is_unspecified() || address.is_multicast() {
            return Err(self.refused(name, "not the address of one host"));
        }
        Ok(address)
    }

    /// An error about the node itself.
    pub(crate) fn fault(&self, tag: ErrorTag, message: &'static str) -> RpcError {
        RpcError::new(ErrorType::Application, tag, message).at(self.way.render())
    }

    /// A condition of the module that does not hold.
    pub(crate) fn violation(&self, message: &'static str) -> RpcError {
        let mut error = self.fault(ErrorTag::OperationFailed, message);
        error.app_tag = Some(Cow::Borrowed(MUST_VIOLATION));
        error
    }

    /// The node is valid and cannot be programmed.
    pub(crate) fn not_programmable(&self, message: &'static str) -> RpcError {
        let error = self.fault(ErrorTag::InvalidValue, message);
        error.app_tag(NOT_PROGRAMMABLE)
    }

    /// A leaf is valid and cannot be programmed.
    pub(crate) fn refused(&self, name: &str, message: &'static str) -> RpcError {
        self.below(name).not_programmable(message)
    }

    /// A leaf has a value that it cannot have.
    pub(crate) fn invalid(&self, name: &str, message: &'static str) -> RpcError {
        self.below(name).fault(ErrorTag::InvalidValue, message)
    }

    pub(crate) fn missing(&self, name: &str) -> RpcError {
        missing(name, self.below(name).way.render())
    }
}
