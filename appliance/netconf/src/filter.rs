//! Subtree filters (RFC 6241, 6).

use crate::error::{ErrorTag, ErrorType, RpcError};
use crate::limits;
use crate::namespace::Namespace;
use crate::schema::{Kind, Node};
use crate::tree::Tree;
use crate::xml::{Reader, Tag, Token, XmlError, is_blank};

/// What a request wants of a document.
#[derive(Debug)]
pub(crate) struct Filter(Vec<Wanted>);

/// An element of a filter.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// `None` where the filter leaves the namespace open.
    namespace: Option<Namespace>,
    /// Whether it can be here at all: not with an attribute, nor in a namespace of others.
    possible: bool,
    name: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Selection: all of it.
    Whole,
    /// Content match: a leaf with this text.
    Text(String),
    /// Containment: some of what is below.
    Below(Vec<Wanted>),
}

/// What is wanted of the children of one node.
#[derive(Debug)]
pub(crate) enum Selection<'a> {
    /// Everything.
    All,
    /// What any of these sets wants.
    Sets(Vec<&'a [Wanted]>),
}

impl Filter {
    /// Reads the content of `filter` and its end.
    ///
    /// # Errors
    ///
    /// [`RpcError`] if it is no filter, or too long a one.
    pub(crate) fn read(reader: &mut Reader<'_>, at: &str) -> Result<Self, RpcError> {
        let mut room = limits::FILTER;
        let at_filter = |error: XmlError| error.at(Some(String::from(at)));
        let mut wanted = Vec::new();
        while let Some(tag) = reader.child().map_err(at_filter)? {
            wanted.push(read(reader, tag, &mut room, at)?);
        }
        Ok(Self(wanted))
    }
}

impl<'a> Selection<'a> {
    /// What a request wants of a whole document.
    pub(crate) fn of(filter: Option<&'a Filter>) -> Self {
        match filter {
            None => Self::All,
            Some(filter) => Self::Sets(vec![&filter.0]),
        }
    }

    /// What is wanted below a container without leaves; `None` if nothing is.
    pub(crate) fn enter(&self, container: &'static Node) -> Option<Self> {
        let Self::Sets(sets) = self else {
            return Some(Self::All);
        };
        let mut below = Vec::new();
        for wanted in sets.iter().copied().flatten() {
            if !wanted.is_about(container) {
                continue;
            }
            match &wanted.content {
                Content::Whole => return Some(Self::All),
                // A container has no text.
                Content::Text(_) => {}
                Content::Below(set) => {
                    let leafless = set
                        .iter()
                        .all(|wanted| !matches!(wanted.content, Content::Text(_)));
                    if leafless {
                        below.push(set.as_slice());
                    }
                }
            }
        }
        (!below.is_empty()).then_some(Self::Sets(below))
    }

    /// Gives what is wanted of a child, its keys always; `None` if nothing is.
    pub(crate) fn pick(&self, tree: &Tree) -> Option<Tree> {
        let Self::Sets(sets) = self else {
            return Some(tree.clone());
        };
        let mut below = Vec::new();
        for wanted in sets.iter().copied().flatten() {
            if !wanted.is_about(tree.node) {
                continue;
            }
            match &wanted.content {
                Content::Whole => return Some(tree.clone()),
                Content::Text(_) if wanted.matches(tree) => return Some(tree.clone()),
                Content::Text(_) => {}
                Content::Below(set) if holds(set, tree) => {
                    let only_matches = set
                        .iter()
                        .all(|wanted| matches!(wanted.content, Content::Text(_)));
                    if only_matches {
                        return Some(tree.clone());
                    }
                    below.push(set.as_slice());
                }
                Content::Below(_) => {}
            }
        }
        let below = Self::Sets(below);
        let mut picked = Tree::empty(tree.node);
        let mut any = false;
        for child in tree.children() {
            if let Some(child) = below.pick(child) {
                any = true;
                picked.insert(child);
            } else if tree.node.keys().contains(&child.node.name) {
                picked.insert(child.clone());
            }
        }
        any.then_some(picked)
    }
}

impl Wanted {
    fn is_about(&self, node: &Node) -> bool {
        self.possible
            && self.name == node.name
            && self
                .namespace
                .is_none_or(|namespace| namespace == node.namespace)
    }

    fn matches(&self, tree: &Tree) -> bool {
        let Content::Text(wanted) = &self.content else {
            return false;
        };
        let (Kind::Leaf(kind) | Kind::LeafList(kind)) = tree.node.kind else {
            return false;
        };
        self.is_about(tree.node) && kind.canonical(wanted).as_deref() == tree.text()
    }
}

/// Says whether every content match of a set holds for a node.
fn holds(set: &[Wanted], tree: &Tree) -> bool {
    set.iter()
        .filter(|wanted| matches!(wanted.content, Content::Text(_)))
        .all(|wanted| tree.children().iter().any(|child| wanted.matches(child)))
}

fn read(reader: &mut Reader<'_>, tag: Tag, room: &mut usize, at: &str) -> Result<Wanted, RpcError> {
    let at_filter = |error: XmlError| error.at(Some(String::from(at)));
    let Some(left) = room.checked_sub(1) else {
        let message = "a filter has too many elements";
        let error = RpcError::new(ErrorType::Protocol, ErrorTag::TooBig, message);
        return Err(error.at(String::from(at)).app_tag("filter"));
    };
    *room = left;
    // None of our data has attributes, so a match on one never holds.
    let possible = tag.foreign.is_none() && tag.own_attributes().next().is_none();
    let mut text = String::new();
    let mut below = Vec::new();
    loop {
        match reader.next().map_err(at_filter)? {
            Token::Open(child) => below.push(read(reader, child, room, at)?),
            Token::Text(more) => {
                text.push_str(&more);
                if text.len() > limits::LEAF {
                    return Err(at_filter(XmlError::Leaf));
                }
            }
            Token::Close => break,
            Token::End => return Err(at_filter(XmlError::Malformed)),
        }
    }
    let content = match (below.is_empty(), is_blank(&text)) {
        (true, true) => Content::Whole,
        (true, false) => Content::Text(text),
        (false, true) => Content::Below(below),
        (false, false) => return Err(at_filter(XmlError::Content)),
    };
    Ok(Wanted {
        namespace: tag.namespace,
        possible,
        name: tag.name,
        content,
    })
}
