//! SPD entries: from a document's tree to a checked [`Policy`] and back.
//!
//! What RFC 9061 allows and the gateway cannot program is refused here, with the way to the leaf.

mod keying;
mod security;
mod selector;
mod view;

use bartizan_model::ids::{EntryName, Reqid};
use bartizan_model::policy::{Action, Mode, Policy, Protect};
use serde::{Deserialize, Serialize};

use crate::error::{ErrorTag, RpcError};
use crate::path::Path;
use crate::schema::{ACTIONS, DIRECTIONS, MODES, SPD_ENTRY, SpdAction};
use crate::tree::{Operation, Tree};
use crate::words::word;

pub(crate) use view::View;

/// RFC 9061: the default of `anti-replay-window-size`.
const DEFAULT_REPLAY_WINDOW: u32 = 64;

/// An SPD entry as it stands in the running configuration.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) policy: Policy,
    /// The controller's number for the algorithm, given back as it came; no meaning here.
    pub(crate) encryption: u16,
}

impl Entry {
    /// An entry whose document nobody has numbered yet.
    pub(crate) const fn new(policy: Policy) -> Self {
        Self {
            policy,
            encryption: 1,
        }
    }

    /// Reads an entry.
    ///
    /// # Errors
    ///
    /// [`RpcError`] with the way to the first leaf that is missing or cannot be programmed.
    pub(crate) fn read(tree: &Tree, priority: u32, parent: &Path<'_>) -> Result<Self, RpcError> {
        let entry = View::of(tree, parent);
        let name = entry.required("name")?;
        let name = EntryName::try_from(name)
            .map_err(|_| entry.invalid("name", "a name is 1 to 255 bytes without control codes"))?;
        let direction = entry.required_word("direction", DIRECTIONS)?;
        let reqid: u64 = entry.number("reqid")?.unwrap_or(0);
        let reqid = u32::try_from(reqid)
            .ok()
            .and_then(|reqid| Reqid::try_from(reqid).ok())
            .ok_or_else(|| entry.invalid("reqid", "a reqid is 1 to 4294967295"))?;

        let config = entry.below("ipsec-policy-config");
        let selector = selector::read(&config.below("traffic-selector"))?;
        let processing = config.below("processing-info");
        let security = processing.below("ipsec-sa-cfg");
        let keys = entry.below("hybrid-keying");
        let window = config
            .number("anti-replay-window-size")?
            .unwrap_or(DEFAULT_REPLAY_WINDOW);
        let action = processing.word("action", ACTIONS)?;
        let (action, encryption) = match action.unwrap_or(SpdAction::Discard) {
            SpdAction::Bypass => {
                let message = "nothing that a controller sends opens a way in clear";
                return Err(processing.refused("action", message));
            }
            SpdAction::Discard => {
                for alien in [&security, &keys] {
                    if alien.exists() {
                        let error = alien.fault(
                            ErrorTag::UnknownElement,
                            "only an entry that protects has this",
                        );
                        return Err(error);
                    }
                }
                if window != DEFAULT_REPLAY_WINDOW {
                    let message = "only an entry that protects has a replay window";
                    return Err(config.refused("anti-replay-window-size", message));
                }
                (Action::Discard, 1)
            }
            SpdAction::Protect => {
                if !(32..=4096).contains(&window) || window % 32 != 0 {
                    let message = "a replay window is a multiple of 32, from 32 to 4096";
                    return Err(config.refused("anti-replay-window-size", message));
                }
                let (security, encryption) =
                    security::read(&security, &selector, &config.below("traffic-selector"))?;
                let protect = Protect {
                    mode: security.mode,
                    local: security.local,
                    remote: security.remote,
                    df: security.df,
                    suite: security.suite,
                    replay_window: window,
                    keying: keying::read(&keys)?,
                };
                (Action::Protect(Box::new(protect)), encryption)
            }
        };
        Ok(Self {
            policy: Policy {
                name,
                priority,
                direction,
                reqid,
                selector,
                action,
            },
            encryption,
        })
    }

    /// Writes an entry; leaves that have their default are left out.
    pub(crate) fn tree(&self) -> Tree {
        let policy = &self.policy;
        let mut entry = Tree::empty(&SPD_ENTRY);
        entry.set("name", &policy.name);
        entry.set("direction", word(DIRECTIONS, policy.direction));
        entry.set("reqid", policy.reqid);
        entry.add("ipsec-policy-config", |config| {
            if let Action::Protect(protect) = &policy.action
                && protect.replay_window != DEFAULT_REPLAY_WINDOW
            {
                config.set("anti-replay-window-size", protect.replay_window);
            }
            config.add("traffic-selector", |tree| {
                selector::write(&policy.selector, tree);
            });
            config.add("processing-info", |processing| match &policy.action {
                Action::Discard => processing.set("action", word(ACTIONS, SpdAction::Discard)),
                Action::Protect(protect) => {
                    processing.set("action", word(ACTIONS, SpdAction::Protect));
                    processing.add("ipsec-sa-cfg", |tree| {
                        security::write(protect, self.encryption, tree);
                    });
                }
            });
        });
        if let Action::Protect(protect) = &policy.action {
            entry.add("hybrid-keying", |tree| keying::write(&protect.keying, tree));
        }
        entry
    }
}

/// Takes out what a changed action or mode leaves without meaning (RFC 7950, 8.2: `when`), unless
/// the edit itself asks for it: then it is refused.
pub(crate) fn prune(entry: &mut Tree, edit: &Tree) {
    const PROCESSING: [&str; 2] = ["ipsec-policy-config", "processing-info"];
    const SECURITY: [&str; 3] = ["ipsec-policy-config", "processing-info", "ipsec-sa-cfg"];

    let leaf = |way: &[&str], name| {
        let tree = way.iter().try_fold(&*entry, |tree, name| tree.child(name));
        tree.and_then(|tree| tree.leaf(name)).map(String::from)
    };
    let protects =
        leaf(&PROCESSING, "action").as_deref() == Some(word(ACTIONS, SpdAction::Protect));
    let tunnels = leaf(&SECURITY, "mode").as_deref() == Some(word(MODES, Mode::Tunnel));
    let meaningless: [(bool, &[&str], &str); 4] = [
        (!protects, &PROCESSING, "ipsec-sa-cfg"),
        (!protects, &[], "hybrid-keying"),
        (
            !protects,
            &["ipsec-policy-config"],
            "anti-replay-window-size",
        ),
        (!tunnels, &SECURITY, "tunnel"),
    ];
    for (meaningless, way, name) in meaningless {
        if meaningless && !asks_for(edit, way, name) {
            let parent = way
                .iter()
                .try_fold(&mut *entry, |tree, name| tree.child_mut(name));
            if let Some(parent) = parent {
                parent.take_out(name);
            }
        }
    }
}

fn asks_for(edit: &Tree, way: &[&str], name: &str) -> bool {
    let steps = way.iter().chain(core::iter::once(&name));
    let found = steps.copied().try_fold(edit, |tree, name| {
        let child = tree.child(name)?;
        let goes = matches!(child.operation, Some(Operation::Delete | Operation::Remove));
        (!goes).then_some(child)
    });
    found.is_some_and(Tree::exists)
}
