//! What a controller asks.

use bartizan_model::ids::EntryName;
use bartizan_model::policy::Policy;
use base64ct::{Base64, Encoding as _};

use crate::client::MessageId;
use crate::namespace::Namespace;
use crate::policy::Entry;
use crate::schema::{GATEWAY, IPSEC_IKELESS, Node, SPD, SPD_ENTRY};
use crate::tree::Tree;
use crate::xml::Writer;

/// A request. An edit is applied as a whole or not at all.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// Make these the SPD, in this order; their priorities say nothing.
    Replace(&'a [Policy]),
    /// Take entries out, then replace or add others; new ones go to the end.
    Change {
        /// The entries that go, whether they stand or not.
        remove: &'a [EntryName],
        /// The entries that come or change.
        put: &'a [Policy],
    },
    /// Grant a lease.
    Grant(&'a [u8]),
    /// What is configured.
    Configuration,
    /// What the gateway tells about itself, its lease nonce and tunnels.
    State,
    /// Both.
    Everything,
    /// Be told of events from here on.
    Subscribe,
    /// End the session.
    Close,
}

const NC: Namespace = Namespace::Netconf;

impl Request<'_> {
    pub(crate) fn write(&self, id: MessageId) -> String {
        let mut writer = Writer::new();
        writer.open_with(NC, "rpc", &[("message-id", &id.0.to_string())]);
        match self {
            Self::Replace(policies) => {
                edit(&mut writer);
                writer.open(Namespace::Ikeless, IPSEC_IKELESS.name);
                writer.open_with(
                    Namespace::Ikeless,
                    SPD.name,
                    &[XMLNS_NC, operation("replace")],
                );
                for policy in *policies {
                    Entry::new(policy.clone()).tree().write(&mut writer);
                }
            }
            Self::Change { remove, put } => {
                edit(&mut writer);
                writer.open_with(Namespace::Ikeless, IPSEC_IKELESS.name, &[XMLNS_NC]);
                writer.open(Namespace::Ikeless, SPD.name);
                for name in *remove {
                    let mut entry = Tree::empty(&SPD_ENTRY);
                    entry.set("name", name);
                    entry.write_with(&mut writer, &[operation("remove")]);
                }
                for policy in *put {
                    let entry = Entry::new(policy.clone()).tree();
                    entry.write_with(&mut writer, &[operation("replace")]);
                }
            }
            Self::Grant(lease) => {
                edit(&mut writer);
                let mut gateway = Tree::empty(&GATEWAY);
                gateway.set("lease", Base64::encode_string(lease));
                gateway.write(&mut writer);
            }
            Self::Configuration => {
                writer.open(NC, "get-config");
                writer.open(NC, "source");
                writer.leaf(NC, "running", "");
                writer.close();
                filter(&mut writer, &IPSEC_IKELESS);
            }
            Self::State => {
                writer.open(NC, "get");
                filter(&mut writer, &GATEWAY);
            }
            Self::Everything => writer.open(NC, "get"),
            Self::Subscribe => writer.open(Namespace::Notification, "create-subscription"),
            Self::Close => writer.open(NC, "close-session"),
        }
        writer.finish()
    }
}

const XMLNS_NC: (&str, &str) = ("xmlns:nc", NC.uri());

const fn operation(word: &str) -> (&str, &str) {
    ("nc:operation", word)
}

/// Opens an edit up to its content.
fn edit(writer: &mut Writer) {
    writer.open(NC, "edit-config");
    writer.open(NC, "target");
    writer.leaf(NC, "running", "");
    writer.close();
    writer.leaf(NC, "error-option", "rollback-on-error");
    writer.open(NC, "config");
}

fn filter(writer: &mut Writer, node: &Node) {
    writer.open_with(NC, "filter", &[("type", "subtree")]);
    writer.leaf(node.namespace, node.name, "");
    writer.close();
}
