//! The keys of QKD links as the gateway tells of them: the list `qkd-keys` and its notifications.

use bartizan_model::ids::{KmeText, NodeId, SaeId};
use bartizan_model::report::{
    BudgetLevel, BudgetReport, Latency, LinkCounts, LinkReason, LinkReport, LinkState, Notice,
    QkdReport,
};

use crate::error::RpcError;
use crate::policy::View;
use crate::schema::{
    GATEWAY, INTERFACES, LEVELS, LINK_REASONS, LINK_STATES, QKD_BUDGET_CHANGE, QKD_LINK_CHANGE,
};
use crate::tree::Tree;
use crate::words::word;

/// Writes the keys shared with one peer.
pub(crate) fn keys(report: &QkdReport) -> Option<Tree> {
    let QkdReport {
        peer,
        budget,
        links,
    } = report;
    let mut keys = Tree::empty(GATEWAY.child("qkd-keys")?);
    keys.set("peer-sae-id", peer);
    keys.set("level", word(LEVELS, budget.level));
    set(&mut keys, "left", budget.left);
    keys.set("reserve", budget.reserve);
    set(&mut keys, "rate", budget.rate);
    keys.set("minimum", budget.minimum);
    keys.set("tunnels", budget.tunnels);
    keys.set("waiting", budget.waiting);
    keys.set("taken", budget.taken);
    keys.set("refused", budget.refused);
    keys.set("without", budget.without);
    for report in links {
        keys.add("link", |tree| link(report, tree));
    }
    Some(keys)
}

fn link(report: &LinkReport, link: &mut Tree) {
    link.set("kme", &report.kme);
    link.set("interface", word(INTERFACES, report.interface));
    link.set("state", word(LINK_STATES, report.state));
    if let Some(reason) = report.reason {
        link.set("reason", word(LINK_REASONS, reason));
    }
    if let Some(said) = &report.said {
        link.set("said", said);
    }
    set(link, "stored-keys", report.stored_keys);
    link.set("prefetched", report.prefetched);
    set(link, "rate", report.rate);
    if let Some(Latency { p50, p99 }) = report.latency {
        link.add("latency", |latency| {
            latency.set("p50", p50);
            latency.set("p99", p99);
        });
    }
    link.add("counts", |counts| {
        for (name, count) in counted(&report.counts) {
            counts.set(name, count);
        }
    });
}

fn counted(counts: &LinkCounts) -> [(&'static str, u64); 8] {
    [
        ("given", counts.given),
        ("failed", counts.failed),
        ("zero", counts.zero),
        ("repeated", counts.repeated),
        ("short", counts.short),
        ("out-of-order", counts.out_of_order),
        ("unused", counts.unused),
        ("wasted", counts.wasted),
    ]
}

fn set(tree: &mut Tree, name: &'static str, value: Option<u32>) {
    if let Some(value) = value {
        tree.set(name, value);
    }
}

/// Reads the keys shared with one peer.
///
/// # Errors
///
/// [`RpcError`] if something is missing.
pub(crate) fn read_keys(tree: &Tree) -> Result<QkdReport, RpcError> {
    let keys = View::root(tree);
    let links = tree.children().iter();
    let links = links.filter(|child| child.node.name == "link");
    Ok(QkdReport {
        peer: sae(&keys)?,
        budget: BudgetReport {
            level: keys.required_word("level", LEVELS)?,
            left: keys.value("left")?,
            reserve: keys.required_value("reserve")?,
            rate: keys.value("rate")?,
            minimum: keys.required_value("minimum")?,
            tunnels: keys.required_value("tunnels")?,
            waiting: keys.required_value("waiting")?,
            taken: keys.required_value("taken")?,
            refused: keys.required_value("refused")?,
            without: keys.required_value("without")?,
        },
        links: links
            .map(|link| read_link(link, sae(&keys)?))
            .collect::<Result<_, _>>()?,
    })
}

fn read_link(tree: &Tree, peer: SaeId) -> Result<LinkReport, RpcError> {
    let link = View::root(tree);
    let latency = link.below("latency");
    let counts = link.below("counts");
    let said = link.value::<String>("said")?.map(KmeText::try_from);
    Ok(LinkReport {
        kme: kme(&link)?,
        peer,
        interface: link.required_word("interface", INTERFACES)?,
        state: link.required_word("state", LINK_STATES)?,
        reason: link.word("reason", LINK_REASONS)?,
        said: said
            .transpose()
            .map_err(|_| link.invalid("said", "no text of a KME"))?,
        stored_keys: link.value("stored-keys")?,
        prefetched: link.required_value("prefetched")?,
        rate: link.value("rate")?,
        latency: latency
            .exists()
            .then(|| read_latency(&latency))
            .transpose()?,
        counts: LinkCounts {
            given: counts.required_value("given")?,
            failed: counts.required_value("failed")?,
            zero: counts.required_value("zero")?,
            repeated: counts.required_value("repeated")?,
            short: counts.required_value("short")?,
            out_of_order: counts.required_value("out-of-order")?,
            unused: counts.required_value("unused")?,
            wasted: counts.required_value("wasted")?,
        },
    })
}

fn read_latency(latency: &View<'_>) -> Result<Latency, RpcError> {
    Ok(Latency {
        p50: latency.required_value("p50")?,
        p99: latency.required_value("p99")?,
    })
}

pub(crate) fn budget_change(peer: &SaeId, level: BudgetLevel) -> Tree {
    let mut event = Tree::empty(&QKD_BUDGET_CHANGE);
    event.set("peer-sae-id", peer);
    event.set("level", word(LEVELS, level));
    event
}

pub(crate) fn link_change(
    peer: &SaeId,
    kme: &NodeId,
    state: LinkState,
    reason: Option<LinkReason>,
) -> Tree {
    let mut event = Tree::empty(&QKD_LINK_CHANGE);
    event.set("peer-sae-id", peer);
    event.set("kme", kme);
    event.set("state", word(LINK_STATES, state));
    if let Some(reason) = reason {
        event.set("reason", word(LINK_REASONS, reason));
    }
    event
}

pub(crate) fn read_budget_change(event: &View<'_>) -> Result<Notice, RpcError> {
    Ok(Notice::QkdBudget {
        peer: sae(event)?,
        level: event.required_word("level", LEVELS)?,
    })
}

pub(crate) fn read_link_change(event: &View<'_>) -> Result<Notice, RpcError> {
    Ok(Notice::QkdLink {
        peer: sae(event)?,
        kme: kme(event)?,
        state: event.required_word("state", LINK_STATES)?,
        reason: event.word("reason", LINK_REASONS)?,
    })
}

fn sae(view: &View<'_>) -> Result<SaeId, RpcError> {
    SaeId::try_from(view.required("peer-sae-id")?)
        .map_err(|_| view.invalid("peer-sae-id", "no SAE id"))
}

fn kme(view: &View<'_>) -> Result<NodeId, RpcError> {
    NodeId::try_from(view.required("kme")?).map_err(|_| view.invalid("kme", "no name of a KME"))
}
