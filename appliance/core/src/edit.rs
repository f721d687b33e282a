//! An edit of the entries: gathered, checked whole against what stands, then taken or refused.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use bartizan_model::ids::{EditId, EntryName, NodeId, Reqid, SaeId, TunnelId};
use bartizan_model::message::EditRefusal;
use bartizan_model::policy::{
    Action, Dial, Direction, Keying, Policy, Prefix, Protect, TrafficSelector,
};

use crate::spd::Entries;

/// The most entries of the gateway; one more is refused.
pub const ENTRIES_MAX: usize = 12_000;

/// The most changes of one edit: all entries out and as many in.
const CHANGES_MAX: usize = 2 * ENTRIES_MAX;

/// An edit that is being gathered.
#[derive(Debug)]
pub(crate) struct Edit {
    pub(crate) id: EditId,
    pub(crate) kind: EditKind,
    changes: BTreeMap<EntryName, Option<Arc<Policy>>>,
    too_many: Option<EntryName>,
}

/// Where an edit comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum EditKind {
    /// The controller steers.
    Steering,
    /// `running` of before the restart.
    Restoring,
}

/// The entry at fault and what is wrong.
pub(crate) type Fault = (EntryName, EditRefusal);

impl Edit {
    pub(crate) fn new(id: EditId, kind: EditKind) -> Self {
        Self {
            id,
            kind,
            changes: BTreeMap::new(),
            too_many: None,
        }
    }

    /// Adds a change; the last about an entry counts.
    pub(crate) fn change(&mut self, name: EntryName, policy: Option<Policy>) {
        if self.changes.len() >= CHANGES_MAX && !self.changes.contains_key(&name) {
            self.too_many.get_or_insert(name);
        } else {
            self.changes.insert(name, policy.map(Arc::new));
        }
    }

    /// An entry that it is about.
    pub(crate) fn first(&self) -> Option<&EntryName> {
        self.changes.keys().next()
    }

    /// The entries as they would stand; all of the edit or nothing.
    pub(crate) fn apply(self, node: &NodeId, standing: &Entries) -> Result<Entries, Fault> {
        if let Some(name) = self.too_many {
            return Err((name, EditRefusal::TooMany));
        }
        let mut entries = standing.clone();
        for (name, change) in &self.changes {
            match change {
                Some(policy) => entries.insert(name.clone(), Arc::clone(policy)),
                None => entries.remove(name),
            };
        }
        if entries.len() > ENTRIES_MAX
            && let Some(name) = self.changes.into_keys().next_back()
        {
            return Err((name, EditRefusal::TooMany));
        }
        // What stood already comes first, so that the fault is found at the entry that brings it.
        let mut check = Check::new(node);
        let (old, new): (Vec<_>, Vec<_>) = entries
            .values()
            .partition(|policy| standing.get(&policy.name) == Some(policy));
        for policy in old.into_iter().chain(new) {
            check
                .add(policy)
                .map_err(|refusal| (policy.name.clone(), refusal))?;
        }
        check.whole()?;
        Ok(entries)
    }
}

/// What entries have in common, while they are looked through.
struct Check<'a> {
    node: &'a NodeId,
    reqids: BTreeMap<(Direction, Reqid), &'a Policy>,
    selectors: BTreeSet<(Direction, TrafficSelector)>,
    forwarded: BTreeMap<(Forward, Forwarded), Reqid>,
    tunnels: BTreeMap<(&'a NodeId, TunnelId), Reqid>,
    peers: BTreeMap<&'a NodeId, (SocketAddr, Dial)>,
    saes: BTreeMap<&'a NodeId, &'a SaeId>,
}

/// What an entry does to forwarded packets: an inbound one judges those that came in, an outbound one
/// that protects lets pass those that are to go out.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Forward {
    Judged,
    Passed,
}

/// A selector as the kernel's forward direction knows it: source and destination.
type Forwarded = (Prefix, Prefix, Option<u8>, Option<u16>, Option<u16>);

impl<'a> Check<'a> {
    fn new(node: &'a NodeId) -> Self {
        Self {
            node,
            reqids: BTreeMap::new(),
            selectors: BTreeSet::new(),
            forwarded: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            peers: BTreeMap::new(),
            saes: BTreeMap::new(),
        }
    }

    fn add(&mut self, policy: &'a Policy) -> Result<(), EditRefusal> {
        let by_selector = (policy.direction, policy.selector);
        if !self.selectors.insert(by_selector) || !self.add_forwarded(policy) {
            return Err(EditRefusal::SelectorTaken);
        }
        let by_reqid = (policy.direction, policy.reqid);
        if self.reqids.insert(by_reqid, policy).is_some() {
            return Err(EditRefusal::ReqidTaken);
        }
        if let Some(counterpart) = self.reqids.get(&(other(policy.direction), policy.reqid)) {
            check_mirror(policy, counterpart)?;
        }
        match &policy.action {
            Action::Discard => Ok(()),
            Action::Protect(protect) => self.add_tunnel(policy.reqid, &protect.keying),
        }
    }

    /// False if packets that one tunnel must judge would pass as those that another sends.
    fn add_forwarded(&mut self, policy: &Policy) -> bool {
        let (does, clashes) = match (policy.direction, &policy.action) {
            (Direction::Inbound, _) => (Forward::Judged, Forward::Passed),
            (Direction::Outbound, Action::Protect(_)) => (Forward::Passed, Forward::Judged),
            (Direction::Outbound, Action::Discard) => return true,
        };
        let selector = forwarded(policy);
        let clash = self.forwarded.get(&(clashes, selector));
        let free = clash.is_none_or(|reqid| *reqid == policy.reqid);
        self.forwarded.insert((does, selector), policy.reqid);
        free
    }

    fn add_tunnel(&mut self, reqid: Reqid, keying: &'a Keying) -> Result<(), EditRefusal> {
        if keying.peer == *self.node {
            return Err(EditRefusal::PeerIsSelf);
        }
        if keying.qkd.is_none() && keying.kem.is_none() && keying.classical.is_none() {
            return Err(EditRefusal::NoSource);
        }
        let tunnel = (&keying.peer, keying.tunnel);
        if *self.tunnels.entry(tunnel).or_insert(reqid) != reqid {
            return Err(EditRefusal::TunnelTaken);
        }
        let link = (keying.peer_address, keying.dial);
        if *self.peers.entry(&keying.peer).or_insert(link) != link {
            return Err(EditRefusal::PeerContradicts);
        }
        if let Some(qkd) = &keying.qkd {
            let sae = &qkd.peer_sae;
            if *self.saes.entry(&keying.peer).or_insert(sae) != sae {
                return Err(EditRefusal::PeerContradicts);
            }
        }
        Ok(())
    }

    fn whole(&self) -> Result<(), Fault> {
        for ((direction, reqid), policy) in &self.reqids {
            let alone = !self.reqids.contains_key(&(other(*direction), *reqid));
            if alone && matches!(policy.action, Action::Protect(_)) {
                return Err((policy.name.clone(), EditRefusal::HalfTunnel));
            }
        }
        Ok(())
    }
}

/// Two discard entries may share a reqid, which means nothing there.
fn check_mirror(one: &Policy, other: &Policy) -> Result<(), EditRefusal> {
    let mirrored = match (&one.action, &other.action) {
        (Action::Protect(one_protects), Action::Protect(other_protects)) => {
            one_protects == other_protects && one.selector == other.selector
        }
        (Action::Discard, Action::Discard) => true,
        (Action::Protect(_), Action::Discard) | (Action::Discard, Action::Protect(_)) => false,
    };
    if mirrored {
        Ok(())
    } else {
        Err(EditRefusal::NotMirrored)
    }
}

/// The tunnels of checked entries, by reqid: the outbound entry and how it protects.
pub(crate) fn tunnels(entries: &Entries) -> BTreeMap<Reqid, (&Arc<Policy>, &Protect)> {
    entries
        .values()
        .filter(|policy| policy.direction == Direction::Outbound)
        .filter_map(|policy| match &policy.action {
            Action::Protect(protect) => Some((policy.reqid, (policy, protect.as_ref()))),
            Action::Discard => None,
        })
        .collect()
}

fn other(direction: Direction) -> Direction {
    match direction {
        Direction::Inbound => Direction::Outbound,
        Direction::Outbound => Direction::Inbound,
    }
}

fn forwarded(policy: &Policy) -> Forwarded {
    let selector = policy.selector;
    let local = (selector.local, selector.local_port);
    let remote = (selector.remote, selector.remote_port);
    let (source, destination) = match policy.direction {
        Direction::Inbound => (remote, local),
        Direction::Outbound => (local, remote),
    };
    (
        source.0,
        destination.0,
        selector.protocol,
        source.1,
        destination.1,
    )
}
