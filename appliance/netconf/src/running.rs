//! The running configuration: the SPD entries in their order, and what an edit makes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bartizan_model::ids::EntryName;
use bartizan_model::message::ControlToEngine;
use serde::{Deserialize, Serialize};

use crate::error::{ErrorTag, ErrorType, RpcError};
use crate::limits;
use crate::path::Path;
use crate::policy::{Entry, prune};
use crate::schema::Node;
use crate::tree::{Operation, Tree, apply};

/// The priority of the first entry; the built-in bypasses stand above.
pub(crate) const FIRST_PRIORITY: u32 = 1000;

/// Beyond it the entries are numbered anew.
const LAST_PRIORITY: u32 = 1_000_000_000;

/// The version of the keyless copy.
const COPY_VERSION: u8 = 1;

/// The running configuration. Empty after a boot; it holds no key.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Running {
    entries: BTreeMap<EntryName, Arc<Entry>>,
}

/// Bytes that are no copy of a running configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CopyError {
    /// They cannot be decoded, or are of another version.
    #[error("not a copy of a running configuration")]
    Malformed,
    /// Two entries share a name or a place.
    #[error("two entries of a copy share a name or a place")]
    Repeated,
    /// More than [`limits::ENTRIES`].
    #[error("a copy has too many entries")]
    TooMany,
}

#[derive(Serialize, Deserialize)]
struct Copy<E> {
    version: u8,
    entries: Vec<E>,
}

/// Where a new or moved entry goes (RFC 7950, 7.8.6).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    First,
    Last,
    Before(EntryName),
    After(EntryName),
}

impl Running {
    /// How many entries stand.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Says whether nothing is configured.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The copy that outlives this process.
    pub fn to_copy(&self) -> Vec<u8> {
        let copy = Copy {
            version: COPY_VERSION,
            entries: self.in_order().collect(),
        };
        // Serializing into memory cannot go wrong for these types; an empty copy restores nothing.
        postcard::to_allocvec(&copy).unwrap_or_default()
    }

    /// Reads a copy.
    ///
    /// # Errors
    ///
    /// [`CopyError`].
    pub fn from_copy(copy: &[u8]) -> Result<Self, CopyError> {
        let (copy, rest) = postcard::take_from_bytes::<Copy<Entry>>(copy)
            .map_err(|_cause| CopyError::Malformed)?;
        if copy.version != COPY_VERSION || !rest.is_empty() {
            return Err(CopyError::Malformed);
        }
        if copy.entries.len() > limits::ENTRIES {
            return Err(CopyError::TooMany);
        }
        let mut places = BTreeSet::new();
        let mut entries = BTreeMap::new();
        for entry in copy.entries {
            let fresh = places.insert(entry.policy.priority);
            let name = entry.policy.name.clone();
            if entries.insert(name, Arc::new(entry)).is_some() || !fresh {
                return Err(CopyError::Repeated);
            }
        }
        Ok(Self { entries })
    }

    /// The entries, the first to be looked at first.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &Entry> {
        let mut entries: Vec<&Entry> = self.entries.values().map(Arc::as_ref).collect();
        entries.sort_by_key(|entry| entry.policy.priority);
        entries.into_iter()
    }

    /// The entry of this name.
    pub(crate) fn entry(&self, name: &EntryName) -> Option<&Entry> {
        self.entries.get(name).map(Arc::as_ref)
    }

    /// The orders that lead from here to `next`: what goes first, then what comes or changes.
    pub(crate) fn changes(&self, next: &Self) -> Vec<ControlToEngine> {
        let gone = self
            .entries
            .keys()
            .filter(|name| !next.entries.contains_key(*name))
            .map(|name| ControlToEngine::Remove(name.clone()));
        let put = next
            .in_order()
            .filter(|entry| {
                self.entry(&entry.policy.name)
                    .is_none_or(|standing| standing.policy != entry.policy)
            })
            .map(|entry| ControlToEngine::Put(Box::new(entry.policy.clone())));
        gone.chain(put).collect()
    }

    fn last_priority(&self) -> Option<u32> {
        let entries = self.entries.values();
        entries.map(|entry| entry.policy.priority).max()
    }
}

/// An edit on its way: a second configuration that becomes the running one, or is dropped.
#[derive(Debug)]
pub(crate) struct Draft {
    next: Running,
    named: BTreeSet<EntryName>,
    next_priority: u32,
    /// The order, once an edit asks for more than to add at the end.
    order: Option<Vec<EntryName>>,
}

impl Draft {
    pub(crate) fn of(running: &Running) -> Self {
        Self {
            next: running.clone(),
            named: BTreeSet::new(),
            next_priority: running
                .last_priority()
                .map_or(FIRST_PRIORITY, |last| last.saturating_add(1)),
            order: None,
        }
    }

    /// Says whether no entry stands.
    pub(crate) fn is_empty(&self) -> bool {
        self.next.is_empty()
    }

    /// Takes every entry out.
    pub(crate) fn clear(&mut self) {
        self.next = Running::default();
        self.next_priority = FIRST_PRIORITY;
        self.order = None;
    }

    /// Applies the edit of one entry, where `inherited` is in force.
    ///
    /// # Errors
    ///
    /// [`RpcError`]; the draft is of no use then.
    pub(crate) fn edit(
        &mut self,
        edit: &Tree,
        inherited: Operation,
        place: Option<Place>,
        parent: &'static Node,
        way: &Path<'_>,
    ) -> Result<(), RpcError> {
        let at_entry = Path::child(way, edit.node, edit.children());
        let refuse = |tag, message| {
            RpcError::new(ErrorType::Application, tag, message).at(at_entry.render())
        };
        let name = EntryName::try_from(edit.leaf("name").unwrap_or_default()).map_err(|_| {
            refuse(
                ErrorTag::InvalidValue,
                "a name is 1 to 255 bytes without control codes",
            )
        })?;
        if self.named.len() == limits::ENTRIES {
            let error = refuse(ErrorTag::TooBig, "an edit has too many entries");
            return Err(error.app_tag("entries"));
        }
        if !self.named.insert(name.clone()) {
            return Err(refuse(ErrorTag::DataExists, "an entry stands twice"));
        }

        let standing = self.next.entries.get(&name).cloned();
        let mut siblings: Vec<Tree> = standing.iter().map(|entry| entry.tree()).collect();
        apply(parent, &mut siblings, edit, inherited, way)?;
        let Some(mut changed) = siblings.pop() else {
            self.next.entries.remove(&name);
            return Ok(());
        };
        prune(&mut changed, edit);

        let priority = standing
            .as_ref()
            .map_or(self.next_priority, |entry| entry.policy.priority);
        let entry = Entry::read(&changed, priority, way)?;
        if standing.is_none() {
            if self.next.len() == limits::ENTRIES {
                let error = refuse(ErrorTag::ResourceDenied, "no room for more entries");
                return Err(error.app_tag("entries"));
            }
            self.next_priority = self.next_priority.saturating_add(1);
        }
        if standing.as_deref() != Some(&entry) {
            self.next.entries.insert(name.clone(), Arc::new(entry));
        }
        match (place, standing) {
            (None | Some(Place::Last), None) => {
                if let Some(order) = &mut self.order {
                    order.push(name);
                }
            }
            (None, Some(_)) => {}
            (Some(place), _) => self.put(name, &place).ok_or_else(|| {
                RpcError::new(
                    ErrorType::Application,
                    ErrorTag::BadAttribute,
                    "the entry to be placed at is not there",
                )
                .at(at_entry.render())
                .app_tag("missing-instance")
            })?,
        }
        Ok(())
    }

    /// Ends the edit.
    pub(crate) fn finish(mut self) -> Running {
        let crowded = self.next_priority > LAST_PRIORITY;
        if self.order.is_none() && !crowded {
            return self.next;
        }
        let order = match self.order.take() {
            Some(order) => order,
            None => names(&self.next),
        };
        let standing = order
            .iter()
            .filter(|name| self.next.entries.contains_key(*name));
        let mut renumbered = BTreeMap::new();
        for (name, priority) in standing.zip(FIRST_PRIORITY..) {
            if let Some(entry) = self.next.entries.get(name) {
                let mut entry = Arc::clone(entry);
                if entry.policy.priority != priority {
                    Arc::make_mut(&mut entry).policy.priority = priority;
                }
                renumbered.insert(name.clone(), entry);
            }
        }
        Running {
            entries: renumbered,
        }
    }

    /// Moves an entry; `None` if there is none at the place.
    fn put(&mut self, name: EntryName, place: &Place) -> Option<()> {
        let order = self.order.get_or_insert_with(|| names(&self.next));
        order.retain(|other| *other != name);
        let find = |wanted| order.iter().position(|other| other == wanted);
        let index = match place {
            Place::First => 0,
            Place::Last => order.len(),
            Place::Before(other) => find(other)?,
            Place::After(other) => find(other)?.saturating_add(1),
        };
        order.insert(index, name);
        Some(())
    }
}

fn names(running: &Running) -> Vec<EntryName> {
    let entries = running.in_order();
    entries.map(|entry| entry.policy.name.clone()).collect()
}
