//! Where in a document something is wrong.

use core::fmt::Write as _;

use crate::schema::Node;
use crate::tree::Tree;

/// The way to a node, as a list that hangs on the stack of whoever walks the document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    node: &'static Node,
    /// What is known of its content; a list's keys are among it.
    content: &'a [Tree],
}

impl<'a> Path<'a> {
    pub(crate) const fn root(node: &'static Node) -> Self {
        Self {
            parent: None,
            node,
            content: &[],
        }
    }

    /// The way to a child of the node that this way leads to.
    pub(crate) const fn child(
        parent: &'a Path<'a>,
        node: &'static Node,
        content: &'a [Tree],
    ) -> Self {
        Self {
            parent: Some(parent),
            node,
            content,
        }
    }

    /// The node that the way leads to.
    pub(crate) const fn node(&self) -> &'static Node {
        self.node
    }

    /// The same way with more known of the last node's content.
    pub(crate) const fn knowing(self, content: &'a [Tree]) -> Self {
        Self { content, ..self }
    }

    /// The way as an `XPath` expression.
    pub(crate) fn render(&self) -> String {
        let mut path = self.parent.map(Self::render).unwrap_or_default();
        let prefix = self.node.namespace.prefix();
        push(&mut path, format_args!("/{prefix}:{}", self.node.name));
        for key in self.node.keys() {
            let value = self.content.iter().find(|child| child.node.name == *key);
            if let Some(text) = value.and_then(Tree::text) {
                push(
                    &mut path,
                    format_args!("[{prefix}:{key}={}]", literal(text)),
                );
            }
        }
        path
    }
}

/// The way to something in an rpc message itself.
pub(crate) fn rpc(steps: &[&str]) -> String {
    let mut path = String::from("/nc:rpc");
    for step in steps {
        push(&mut path, format_args!("/nc:{step}"));
    }
    path
}

/// A text as `XPath` 1.0 can say it, which knows no escapes.
pub(crate) fn literal(text: &str) -> String {
    if !text.contains('\'') {
        return format!("'{text}'");
    }
    if !text.contains('"') {
        return format!("\"{text}\"");
    }
    let parts: Vec<_> = text.split('\'').map(|part| format!("'{part}'")).collect();
    format!("concat({})", parts.join(",\"'\","))
}

fn push(path: &mut String, step: core::fmt::Arguments<'_>) {
    // Writing to a string cannot go wrong.
    let _written = path.write_fmt(step);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_can_be_said_in_xpath() {
        assert_eq!(literal("out/a/in/b_1"), "'out/a/in/b_1'");
        assert_eq!(literal("it's"), "\"it's\"");
        assert_eq!(literal("a'b\"c"), "concat('a',\"'\",'b\"c')");
    }
}
