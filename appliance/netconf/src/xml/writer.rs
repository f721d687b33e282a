//! Writes documents; what it is given becomes text or attribute values, never markup.

use core::fmt;

use quick_xml::escape::{escape, partial_escape};

use crate::namespace::Namespace;

/// Writes one document.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    out: String,
    open: Vec<Open>,
}

/// An element that is open.
#[derive(Debug)]
struct Open {
    namespace: Namespace,
    name: &'static str,
    /// Where its content begins.
    content: usize,
}

impl Writer {
    pub(crate) fn new() -> Self {
        let mut writer = Self::default();
        writer
            .out
            .push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
        writer
    }

    /// Opens an element; its namespace is declared where it is another than its parent's.
    pub(crate) fn open(&mut self, namespace: Namespace, name: &'static str) {
        self.open_with(namespace, name, &[]);
    }

    /// As [`Writer::open`], with attributes, the prefix in their names.
    pub(crate) fn open_with(
        &mut self,
        namespace: Namespace,
        name: &'static str,
        attributes: &[(&str, &str)],
    ) {
        self.out.push('<');
        self.out.push_str(name);
        let inherited = self.open.last().map(|open| open.namespace);
        let declared = attributes.iter().any(|(name, _)| *name == "xmlns");
        if inherited != Some(namespace) && !declared {
            self.attribute("xmlns", namespace.uri());
        }
        for (name, value) in attributes {
            self.attribute(name, value);
        }
        self.out.push('>');
        self.open.push(Open {
            namespace,
            name,
            content: self.out.len(),
        });
    }

    /// Closes the innermost open element.
    pub(crate) fn close(&mut self) {
        let Some(open) = self.open.pop() else {
            return;
        };
        if self.out.len() == open.content {
            self.out.pop();
            self.out.push_str("/>");
        } else {
            self.out.push_str("</");
            self.out.push_str(open.name);
            self.out.push('>');
        }
    }

    /// Writes text into the open element.
    pub(crate) fn text(&mut self, text: &str) {
        self.out.push_str(&partial_escape(text));
    }

    /// Writes an element with text alone.
    pub(crate) fn leaf(
        &mut self,
        namespace: Namespace,
        name: &'static str,
        text: impl fmt::Display,
    ) {
        self.open(namespace, name);
        self.text(&text.to_string());
        self.close();
    }

    /// Closes what is open and gives the document.
    pub(crate) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.out
    }

    fn attribute(&mut self, name: &str, value: &str) {
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("=\"");
        self.out.push_str(&escape(value));
        self.out.push('"');
    }
}
