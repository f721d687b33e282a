//! The types of leaves: which texts are values, and how a value is written.

use core::net::IpAddr;
use core::str::FromStr;

use bartizan_model::policy::Prefix;
use base64ct::{Base64, Encoding as _};

use crate::limits;
use crate::namespace::Namespace;

/// The type of a leaf.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Type {
    /// `true` or `false`.
    Boolean,
    /// An unsigned number up to this one.
    Unsigned(u64),
    /// `int32`.
    Int32,
    /// Any text; kept verbatim.
    Text,
    /// One of a table's words.
    Word(fn(&str) -> bool),
    /// `inet:ip-address`, without zone.
    Address,
    /// `inet:ip-prefix`; bits beyond the length are cut, as RFC 6991 writes it canonically.
    Prefix,
    /// A number up to 255, or `any`.
    InnerProtocol,
    /// Base64 of at most so many bytes.
    Binary(usize),
    /// One of these identities, written with the prefix of [`Namespace::prefix`].
    Identity(&'static [(Namespace, &'static str)]),
}

impl Type {
    /// The most bytes of its text.
    pub(crate) const fn limit(self) -> usize {
        match self {
            // Base64, and whitespace where it was wrapped.
            Self::Binary(max) => max.saturating_add(max >> 1),
            Self::Boolean
            | Self::Unsigned(_)
            | Self::Int32
            | Self::Text
            | Self::Word(_)
            | Self::Address
            | Self::Prefix
            | Self::InnerProtocol
            | Self::Identity(_) => limits::LEAF,
        }
    }

    /// Gives the canonical text of a value, or `None` if the text is no value of the type.
    pub(crate) fn canonical(self, text: &str) -> Option<String> {
        let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
        match self {
            Self::Text => Some(String::from(text)),
            Self::Boolean => bool::from_str(trimmed).ok().map(|value| value.to_string()),
            Self::Unsigned(max) => number(trimmed, max),
            Self::Int32 => i32::from_str(trimmed).ok().map(|value| value.to_string()),
            Self::Word(is_word) => is_word(trimmed).then(|| String::from(trimmed)),
            Self::Address => address(trimmed).map(|value| value.to_string()),
            Self::Prefix => prefix(trimmed).map(|value| value.to_string()),
            Self::InnerProtocol if trimmed == "any" => Some(String::from(trimmed)),
            Self::InnerProtocol => number(trimmed, 255),
            Self::Binary(max) => binary(trimmed, max).map(|bytes| Base64::encode_string(&bytes)),
            Self::Identity(known) => {
                let (prefix, name) = trimmed.split_once(':')?;
                let namespace = Namespace::prefixed(prefix)?;
                known
                    .contains(&(namespace, name))
                    .then(|| String::from(trimmed))
            }
        }
    }
}

/// A decimal number as RFC 7950, 9.2.1 writes it, without sign and leading zeros: the other forms
/// that XML documents may use (hexadecimal, octal) are read differently by different readers.
fn number(text: &str, max: u64) -> Option<String> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    let value = u64::from_str(text).ok()?;
    (canonical && value <= max).then(|| value.to_string())
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// Reads a prefix and cuts what is beyond its length.
fn prefix(text: &str) -> Option<Prefix> {
    let (address, length) = text.split_once('/')?;
    let length: u8 = number(length, 128)?.parse().ok()?;
    let address = match self::address(address)? {
        IpAddr::V4(v4) => {
            let host = 32_u8.checked_sub(length)?;
            let mask = u32::MAX.checked_shl(u32::from(host)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let host = 128_u8.checked_sub(length)?;
            let mask = u128::MAX.checked_shl(u32::from(host)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    };
    Prefix::new(address, length).ok()
}

/// Decodes base64 in which white space may stand.
pub(crate) fn binary(text: &str, max: usize) -> Option<Vec<u8>> {
    let packed: String = text.split_ascii_whitespace().collect();
    let bytes = Base64::decode_vec(&packed).ok()?;
    (bytes.len() <= max).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_canonically_and_other_texts_are_refused() {
        let cases: [(Type, &str, Option<&str>); 24] = [
            (Type::Boolean, " true\n", Some("true")),
            (Type::Boolean, "1", None),
            (Type::Unsigned(255), "255", Some("255")),
            (Type::Unsigned(255), "256", None),
            (Type::Unsigned(255), "", None),
            (Type::Unsigned(255), "0", Some("0")),
            (Type::Unsigned(255), "010", None),
            (Type::Unsigned(255), "+1", None),
            (Type::Unsigned(255), "0x1", None),
            (Type::Unsigned(u64::MAX), "18446744073709551616", None),
            (Type::Int32, "-5", Some("-5")),
            (Type::Text, " a/b_c ", Some(" a/b_c ")),
            (Type::Address, "2001:DB8::01", Some("2001:db8::1")),
            (Type::Address, "fe80::1%eth0", None),
            (Type::Address, "10.0.0.256", None),
            (Type::Prefix, "10.1.2.3/24", Some("10.1.2.0/24")),
            (Type::Prefix, "0.0.0.0/0", Some("0.0.0.0/0")),
            (Type::Prefix, "2001:db8::1/0", Some("::/0")),
            (Type::Prefix, "10.1.2.3", None),
            (Type::Prefix, "10.1.2.3/33", None),
            (Type::InnerProtocol, "any", Some("any")),
            (Type::InnerProtocol, "256", None),
            (Type::Binary(3), "AA\n EC", Some("AAEC")),
            (Type::Binary(2), "AAEC", None),
        ];
        for (value, text, expected) in cases {
            assert_eq!(value.canonical(text).as_deref(), expected, "{text:?}");
        }
    }
}
