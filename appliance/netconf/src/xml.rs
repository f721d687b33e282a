//! XML as NETCONF uses it (RFC 6241, 3): UTF-8, no document type, no entity beyond XML's own five.

mod reader;
mod writer;

pub(crate) use reader::{Attribute, Reader, Tag, Token, XmlError};
pub(crate) use writer::Writer;

/// Says whether XML 1.0 allows a character (section 2.2).
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

/// Says whether a text is an `NCName`, as far as a reader must know to repeat it safely.
fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    let first = chars.next().is_some_and(|c| c.is_alphabetic() || c == '_');
    first && chars.all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '\u{B7}'))
}

/// Says whether a text is nothing but white space.
pub(crate) fn is_blank(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
}
