//! Notifications (RFC 5277, 4; RFC 9061, 5.3; `bartizan-ikeless`).

use bartizan_model::ids::{EntryName, Spi};
use bartizan_model::report::{Mix, Notice, PairReport};

use crate::error::RpcError;
use crate::namespace::Namespace;
use crate::policy::View;
use crate::qkd;
use crate::schema::{
    ALARMS, COMBINERS, EDIT_PROGRAMMED, ENTRY_NOT_PROGRAMMED, Node, PARAMETER_SETS,
    QKD_BUDGET_CHANGE, QKD_LINK_CHANGE, SADB_EXPIRE, SOURCES, TUNNEL_ALARM, TUNNEL_ESTABLISHED,
};
use crate::state::{entry, read_pair, write_pair};
use crate::time::UnixTime;
use crate::tree::Tree;
use crate::words::word;
use crate::xml::{Tag, Writer};

/// The nodes that a notification can be.
pub(crate) const NOTIFICATIONS: [&Node; 7] = [
    &SADB_EXPIRE,
    &TUNNEL_ESTABLISHED,
    &TUNNEL_ALARM,
    &ENTRY_NOT_PROGRAMMED,
    &EDIT_PROGRAMMED,
    &QKD_BUDGET_CHANGE,
    &QKD_LINK_CHANGE,
];

/// Writes what happened.
pub(crate) fn event(notice: &Notice) -> Tree {
    match notice {
        Notice::Established { entry, pair, mix } => {
            let mut event = Tree::empty(&TUNNEL_ESTABLISHED);
            event.set("entry", entry);
            let sources = Some(mix.sources);
            write_pair(&PairReport { sources, ..*pair }, &mut event);
            if let Some(set) = mix.parameter_set {
                event.set("parameter-set", word(PARAMETER_SETS, set));
            }
            event.set("combiner", word(COMBINERS, mix.combiner));
            event
        }
        Notice::Expired { entry, spi, hard } => {
            let mut event = Tree::empty(&SADB_EXPIRE);
            event.set("ipsec-sa-name", sa_name(entry, *spi));
            event.set("soft-lifetime-expire", !hard);
            event
        }
        Notice::Alarm { entry, alarm } => {
            let mut event = Tree::empty(&TUNNEL_ALARM);
            event.set("entry", entry);
            event.set("alarm", word(ALARMS, *alarm));
            event
        }
        Notice::NotProgrammed { entry, errno } => {
            let mut event = Tree::empty(&ENTRY_NOT_PROGRAMMED);
            event.set("entry", entry);
            event.set("errno", errno);
            event
        }
        Notice::QkdBudget { peer, level } => qkd::budget_change(peer, *level),
        Notice::QkdLink {
            peer,
            kme,
            state,
            reason,
        } => qkd::link_change(peer, kme, *state, *reason),
        Notice::Programmed { entries } => {
            let mut event = Tree::empty(&EDIT_PROGRAMMED);
            event.set("entries", entries);
            event
        }
    }
}

/// Wraps what happened into a message.
pub(crate) fn message(event: &Tree, time: UnixTime) -> String {
    let mut writer = Writer::new();
    writer.open(Namespace::Notification, "notification");
    writer.leaf(Namespace::Notification, "eventTime", time);
    event.write(&mut writer);
    writer.finish()
}

/// The node of a notification by its tag.
pub(crate) fn node(tag: &Tag) -> Option<&'static Node> {
    let mut nodes = NOTIFICATIONS.into_iter();
    nodes.find(|node| tag.is(node.namespace, node.name))
}

/// Reads what happened.
///
/// # Errors
///
/// [`RpcError`] if the event lacks something.
pub(crate) fn read(tree: &Tree) -> Result<Notice, RpcError> {
    let event = View::root(tree);
    if *tree.node == SADB_EXPIRE {
        let (entry, spi) = named_sa(event.required("ipsec-sa-name")?)
            .ok_or_else(|| event.invalid("ipsec-sa-name", "not the name of an SA"))?;
        let soft = event.value("soft-lifetime-expire")?.unwrap_or(true);
        return Ok(Notice::Expired {
            entry,
            spi,
            hard: !soft,
        });
    }
    if *tree.node == EDIT_PROGRAMMED {
        let entries = event.required_value("entries")?;
        return Ok(Notice::Programmed { entries });
    }
    if *tree.node == QKD_BUDGET_CHANGE {
        return qkd::read_budget_change(&event);
    }
    if *tree.node == QKD_LINK_CHANGE {
        return qkd::read_link_change(&event);
    }
    let entry = entry(&event)?;
    if *tree.node == TUNNEL_ALARM {
        let alarm = event.required_word("alarm", ALARMS)?;
        return Ok(Notice::Alarm { entry, alarm });
    }
    if *tree.node == ENTRY_NOT_PROGRAMMED {
        let errno = event.required_value("errno")?;
        return Ok(Notice::NotProgrammed { entry, errno });
    }
    let pair = read_pair(&event)?;
    let mix = Mix {
        sources: event.required_word("sources", SOURCES)?,
        parameter_set: event.word("parameter-set", PARAMETER_SETS)?,
        combiner: event.required_word("combiner", COMBINERS)?,
    };
    Ok(Notice::Established { entry, pair, mix })
}

/// An SA's name as a controller of RFC 9061 knows it: its policy's, and the SPI.
fn sa_name(entry: &EntryName, spi: Spi) -> String {
    format!("{entry}_{}", u32::from(spi))
}

fn named_sa(name: &str) -> Option<(EntryName, Spi)> {
    let (entry, spi) = name.rsplit_once('_')?;
    let spi: u32 = spi.parse().ok()?;
    Some((EntryName::try_from(entry).ok()?, Spi::try_from(spi).ok()?))
}
