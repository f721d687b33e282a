//! What a controller asks.

use bartizan_model::config::Der;
use bartizan_model::identity::{Log, PcrSelection};
use bartizan_model::ids::EntryName;
use bartizan_model::policy::Policy;
use base64ct::{Base64, Encoding as _};

use crate::attestation::{self, Challenge};
use crate::client::MessageId;
use crate::namespace::Namespace;
use crate::policy::Entry;
use crate::schema::{Binding, GATEWAY, IPSEC_IKELESS, LDEVID_CHAIN, Node, SPD, SPD_ENTRY};
use crate::tree::Tree;
use crate::xml::Writer;

/// What a quote is qualified by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Qualified {
    /// The nonce, as it is.
    ByNonce,
    /// The nonce, this session's channel binding and the engine's lease nonce.
    ByNonceAndSession,
}

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
    Grant {
        /// The verifier's signed result.
        lease: &'a [u8],
        /// The renewed LDevID certificate and its chain, the leaf first; none where it stays.
        ldevid: &'a [Der],
    },
    /// Quote (RFC 9684, 2.1.1.2).
    Challenge {
        /// Fresh: 16 to 64 bytes.
        nonce: &'a [u8],
        /// PCRs of the SHA-256 bank.
        pcrs: PcrSelection,
        /// What the quote is qualified by.
        qualified: Qualified,
    },
    /// Tell a part of a log as it was measured, from this byte on (RFC 9684, 2.1.1.3).
    Log {
        /// Which.
        log: Log,
        /// Its first byte that is wanted.
        offset: u32,
    },
    /// End the ownership: the verifier's signed order.
    Order(&'a [u8]),
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
            Self::Grant { lease, ldevid } => {
                edit(&mut writer);
                let mut gateway = Tree::empty(&GATEWAY);
                gateway.set("lease", Base64::encode_string(lease));
                for certificate in *ldevid {
                    gateway.set(LDEVID_CHAIN.name, Base64::encode_string(&certificate.0));
                }
                gateway.write(&mut writer);
            }
            Self::Challenge {
                nonce,
                pcrs,
                qualified,
            } => {
                let challenge = Challenge {
                    nonce: nonce.to_vec(),
                    pcrs: *pcrs,
                    binding: match qualified {
                        Qualified::ByNonce => None,
                        Qualified::ByNonceAndSession => Some(Binding::TlsExporter),
                    },
                };
                attestation::challenge(&challenge).write(&mut writer);
            }
            Self::Log { log, offset } => attestation::log_wanted(*log, *offset).write(&mut writer),
            Self::Order(signed) => attestation::order(signed).write(&mut writer),
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
