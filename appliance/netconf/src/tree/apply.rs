//! The operations of an edit (RFC 6241, 7.2), on a small tree.

use crate::error::{ErrorTag, ErrorType, RpcError};
use crate::path::Path;
use crate::schema::Node;
use crate::tree::{Tree, Value, insert};
use crate::words::Words;

/// What an edit does with a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Operation {
    /// Added to what is there.
    Merge,
    /// In place of what is there.
    Replace,
    /// Added; must not be there.
    Create,
    /// Taken out; must be there.
    Delete,
    /// Taken out.
    Remove,
    /// Left as it is; only a way to what is below. A default, never an attribute.
    Nothing,
}

pub(crate) const OPERATIONS: Words<Operation> = &[
    ("merge", Operation::Merge),
    ("replace", Operation::Replace),
    ("create", Operation::Create),
    ("delete", Operation::Delete),
    ("remove", Operation::Remove),
];

pub(crate) const DEFAULT_OPERATIONS: Words<Operation> = &[
    ("merge", Operation::Merge),
    ("replace", Operation::Replace),
    ("none", Operation::Nothing),
];

/// Applies an edit of one node to the children of `parent`, where `inherited` is in force.
///
/// # Errors
///
/// [`RpcError`] if something is there that must not be, or is not that must; `siblings` is of no
/// use then.
pub(crate) fn apply(
    parent: &'static Node,
    siblings: &mut Vec<Tree>,
    edit: &Tree,
    inherited: Operation,
    way: &Path<'_>,
) -> Result<(), RpcError> {
    let operation = edit.operation.unwrap_or(inherited);
    let place = siblings.iter().position(|other| edit.is_instance_of(other));
    let standing = place.and_then(|place| siblings.get(place));
    let exists = standing.is_some_and(Tree::exists);
    let way = Path::child(way, edit.node, edit.children());
    match operation {
        Operation::Create if exists => return Err(refusal(ErrorTag::DataExists, &way)),
        Operation::Delete if !exists => return Err(refusal(ErrorTag::DataMissing, &way)),
        Operation::Nothing if !exists && !edit.node.is_mere_way() => {
            return Err(refusal(ErrorTag::DataMissing, &way));
        }
        Operation::Nothing if edit.text().is_some() => return Ok(()),
        Operation::Delete | Operation::Remove => {
            siblings.retain(|other| !edit.is_instance_of(other));
            return Ok(());
        }
        Operation::Merge | Operation::Replace | Operation::Create | Operation::Nothing => {}
    }
    let keeps = matches!(operation, Operation::Merge | Operation::Nothing);
    let value = match (&edit.value, standing) {
        (Value::Text(text), _) => Value::Text(text.clone()),
        (Value::Inner(edits), Some(standing)) if keeps => {
            let mut children = standing.children().to_vec();
            apply_all(edit.node, &mut children, edits, operation, &way)?;
            Value::Inner(children)
        }
        (Value::Inner(edits), _) => {
            let mut children = Vec::new();
            apply_all(edit.node, &mut children, edits, operation, &way)?;
            Value::Inner(children)
        }
    };
    let changed = Tree::new(edit.node, value);
    match place.and_then(|place| siblings.get_mut(place)) {
        Some(standing) => *standing = changed,
        None => insert(parent, siblings, changed),
    }
    Ok(())
}

fn apply_all(
    parent: &'static Node,
    siblings: &mut Vec<Tree>,
    edits: &[Tree],
    inherited: Operation,
    way: &Path<'_>,
) -> Result<(), RpcError> {
    for edit in edits {
        if !parent.keys().contains(&edit.node.name) {
            apply(parent, siblings, edit, inherited, way)?;
        } else if !siblings.iter().any(|other| other.node == edit.node) {
            // A key names its instance; it is never edited.
            insert(parent, siblings, Tree::new(edit.node, edit.value.clone()));
        }
    }
    Ok(())
}

fn refusal(tag: ErrorTag, way: &Path<'_>) -> RpcError {
    let message = if tag == ErrorTag::DataExists {
        "it is there already"
    } else {
        "it is not there"
    };
    RpcError::new(ErrorType::Application, tag, message).at(way.render())
}
