//! `ietf-yang-library` (RFC 8525).

use crate::namespace::Namespace::{Datastores, Library};
use crate::schema::{Node, Type};

/// More modules than the gateway knows.
const MODULES: usize = 64;

const fn state(name: &'static str) -> Node {
    Node::leaf(Library, name, Type::Text).state()
}

const fn list(
    name: &'static str,
    keys: &'static [&'static str],
    children: &'static [Node],
) -> Node {
    Node::list(Library, name, keys, children)
        .state()
        .at_most(MODULES)
}

/// Which modules the gateway knows.
pub(crate) static YANG_LIBRARY: Node = Node::container(
    Library,
    "yang-library",
    &[
        list(
            "module-set",
            &["name"],
            &[
                state("name"),
                list(
                    "module",
                    &["name"],
                    &[
                        state("name"),
                        state("revision"),
                        state("namespace"),
                        Node::leaf_list(Library, "feature", Type::Text).state(),
                    ],
                ),
                list(
                    "import-only-module",
                    &["name", "revision"],
                    &[state("name"), state("revision"), state("namespace")],
                ),
            ],
        ),
        list(
            "schema",
            &["name"],
            &[
                state("name"),
                Node::leaf_list(Library, "module-set", Type::Text).state(),
            ],
        ),
        list(
            "datastore",
            &["name"],
            &[
                Node::leaf(Library, "name", Type::Identity(&[(Datastores, "running")])).state(),
                state("schema"),
            ],
        ),
        state("content-id"),
    ],
)
.state();
