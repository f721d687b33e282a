//! The documents that the gateway takes and gives, as tables to be read beside the YANG modules.

mod attestation;
mod bartizan;
mod ikeless;
mod library;
mod qkd;
mod value;

use crate::limits;
use crate::namespace::Namespace;

pub(crate) use attestation::{
    ATTESTATION_RESPONSE, BINDINGS, Binding, CHALLENGE, EVENT_LOGS, LOG_RETRIEVAL, LOGS, LogForm,
    ORDER, RATS_SUPPORT,
};

pub(crate) use bartizan::{
    ALARMS, COMBINERS, DIALS, EDIT_PROGRAMMED, ENTRY_NOT_PROGRAMMED, GATEWAY, LDEVID_CHAIN,
    LIFECYCLES, NEEDS, NETWORKS, PARAMETER_SETS, REKEY_MODES, RekeyMode, SOURCES, STATES,
    TUNNEL_ALARM, TUNNEL_ESTABLISHED,
};
pub(crate) use ikeless::{
    ACTIONS, DF_BITS, DIRECTIONS, DfBit, IPSEC_IKELESS, MODES, SAD, SAD_ENTRY, SADB_EXPIRE, SPD,
    SPD_ENTRY, STREAMS, SpdAction,
};
pub(crate) use library::YANG_LIBRARY;
pub(crate) use qkd::{
    INTERFACES, LEVELS, LINK_REASONS, LINK_STATES, QKD_BUDGET_CHANGE, QKD_KEYS, QKD_LINK_CHANGE,
};
pub(crate) use value::{Type, binary};

/// A node of a YANG module.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) namespace: Namespace,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether it can be written.
    pub(crate) config: bool,
    /// The most instances of a list or leaf-list.
    pub(crate) most: usize,
}

/// What a node holds.
#[derive(Debug)]
pub(crate) enum Kind {
    /// One value.
    Leaf(Type),
    /// Several values, each once.
    LeafList(Type),
    /// Children, once. Without presence it means nothing by itself.
    Container {
        presence: bool,
        children: &'static [Node],
    },
    /// Children, once for each combination of the keys; without keys, as often as it says.
    List {
        keys: &'static [&'static str],
        children: &'static [Node],
    },
}

impl Node {
    pub(crate) const fn leaf(namespace: Namespace, name: &'static str, value: Type) -> Self {
        Self::new(namespace, name, Kind::Leaf(value))
    }

    pub(crate) const fn leaf_list(namespace: Namespace, name: &'static str, value: Type) -> Self {
        Self::new(namespace, name, Kind::LeafList(value))
    }

    pub(crate) const fn container(
        namespace: Namespace,
        name: &'static str,
        children: &'static [Self],
    ) -> Self {
        let presence = false;
        Self::new(namespace, name, Kind::Container { presence, children })
    }

    pub(crate) const fn presence(
        namespace: Namespace,
        name: &'static str,
        children: &'static [Self],
    ) -> Self {
        let presence = true;
        Self::new(namespace, name, Kind::Container { presence, children })
    }

    pub(crate) const fn list(
        namespace: Namespace,
        name: &'static str,
        keys: &'static [&'static str],
        children: &'static [Self],
    ) -> Self {
        Self::new(namespace, name, Kind::List { keys, children })
    }

    /// Makes it a part of the state, which nobody can write.
    pub(crate) const fn state(mut self) -> Self {
        self.config = false;
        self
    }

    /// Bounds a list otherwise than by [`limits::INNER_ENTRIES`].
    pub(crate) const fn at_most(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    const fn new(namespace: Namespace, name: &'static str, kind: Kind) -> Self {
        Self {
            namespace,
            name,
            kind,
            config: true,
            most: limits::INNER_ENTRIES,
        }
    }

    /// The nodes below it, in the order of the module.
    pub(crate) fn children(&self) -> &'static [Self] {
        match self.kind {
            Kind::Container { children, .. } | Kind::List { children, .. } => children,
            Kind::Leaf(_) | Kind::LeafList(_) => &[],
        }
    }

    /// Says whether it means nothing by itself: a container without presence.
    pub(crate) fn is_mere_way(&self) -> bool {
        matches!(
            self.kind,
            Kind::Container {
                presence: false,
                ..
            }
        )
    }

    /// The names of a list's keys.
    pub(crate) fn keys(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::List { keys, .. } => keys,
            Kind::Container { .. } | Kind::Leaf(_) | Kind::LeafList(_) => &[],
        }
    }

    /// The node below it of this name.
    pub(crate) fn child(&self, name: &str) -> Option<&'static Self> {
        self.children().iter().find(|child| child.name == name)
    }

    /// Its place among its siblings.
    pub(crate) fn position(&self, child: &Self) -> usize {
        let place = self.children().iter().position(|known| known == child);
        place.unwrap_or(usize::MAX)
    }
}

impl PartialEq for Node {
    /// Siblings differ in their names; nodes of different parents are never compared.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.namespace == other.namespace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_have_different_names() {
        fn walk(node: &Node) {
            for (place, child) in node.children().iter().enumerate() {
                assert_eq!(node.position(child), place, "{}/{}", node.name, child.name);
                assert!(node.child(child.name).is_some_and(|found| found == child));
                walk(child);
            }
            assert!(node.keys().iter().all(|key| node.child(key).is_some()));
        }
        for root in [
            &IPSEC_IKELESS,
            &GATEWAY,
            &TUNNEL_ESTABLISHED,
            &SADB_EXPIRE,
            &CHALLENGE,
            &ATTESTATION_RESPONSE,
            &LOG_RETRIEVAL,
            &EVENT_LOGS,
            &RATS_SUPPORT,
            &YANG_LIBRARY,
        ] {
            walk(root);
        }
    }
}
