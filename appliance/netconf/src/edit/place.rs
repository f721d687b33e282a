//! Where an entry goes in a list that its user orders (RFC 7950, 7.8.6).

use bartizan_model::ids::EntryName;

use crate::error::{ErrorInfo, ErrorTag, ErrorType, RpcError};
use crate::path::Path;
use crate::running::Place;
use crate::xml::Attribute;

/// Reads the attributes `insert` and `key`.
///
/// # Errors
///
/// [`RpcError`] if they are not understood, or one is missing.
pub(crate) fn place<'a>(
    attributes: impl Iterator<Item = &'a Attribute>,
    way: &Path<'_>,
) -> Result<Option<Place>, RpcError> {
    let refuse = |tag, name: &str, message| {
        RpcError::new(ErrorType::Protocol, tag, message)
            .at(way.render())
            .with(ErrorInfo::BadAttribute(String::from(name)))
            .with(ErrorInfo::BadElement(String::from("spd-entry")))
    };
    let (mut insert, mut key) = (None, None);
    for attribute in attributes {
        match attribute.name() {
            "insert" => insert = Some(attribute.value.as_str()),
            "key" => key = Some(attribute.value.as_str()),
            name => {
                let message = "the attribute means nothing here";
                return Err(refuse(ErrorTag::UnknownAttribute, name, message));
            }
        }
    }
    let beside = || {
        let key = key.ok_or_else(|| {
            refuse(
                ErrorTag::MissingAttribute,
                "key",
                "beside which entry is not said",
            )
        })?;
        named(key).ok_or_else(|| refuse(ErrorTag::BadAttribute, "key", "not the key of an entry"))
    };
    Ok(match insert {
        None => None,
        Some("first") => Some(Place::First),
        Some("last") => Some(Place::Last),
        Some("before") => Some(Place::Before(beside()?)),
        Some("after") => Some(Place::After(beside()?)),
        Some(_) => return Err(refuse(ErrorTag::BadAttribute, "insert", "no such place")),
    })
}

/// Reads a key predicate, `[prefix:name='out/a/in/b']`.
fn named(key: &str) -> Option<EntryName> {
    let inner = key.trim().strip_prefix('[')?.strip_suffix(']')?;
    let (name, value) = inner.split_once('=')?;
    let (_, name) = name.rsplit_once(':').unwrap_or(("", name));
    let value = value.trim();
    let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let value = value.strip_prefix(quote)?.strip_suffix(quote)?;
    if name.trim() != "name" || value.contains(quote) {
        return None;
    }
    EntryName::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_predicate_names_an_entry() {
        let name = |key| named(key).map(String::from);
        assert_eq!(name("[a:name='out/x=y']").as_deref(), Some("out/x=y"));
        assert_eq!(name(" [ name = \"it's\" ] ").as_deref(), Some("it's"));
        for bad in [
            "",
            "[name=x]",
            "[id='x']",
            "[name='x'][y='z']",
            "name='x'",
            "[name='']",
        ] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }
}
