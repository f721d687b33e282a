//! What waits for control, peer, qkd and the supervisor; xfrm has its own in [`crate::orders`].

use std::collections::{BTreeSet, VecDeque};

use bartizan_model::ids::{NodeId, Reqid};
use bartizan_model::message::{
    EngineToControl, EngineToPeer, EngineToQkd, PeerMessage, RoleToSupervisor,
};
use bartizan_model::report::Notice;

use crate::counters::{Count, Counters};

/// The most notices that wait for control; beyond it they are counted only.
const NOTICES_MAX: usize = 16 * 1024;

/// Queues, and what is told in its latest state only.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) control: VecDeque<EngineToControl>,
    pub(crate) peer: VecDeque<EngineToPeer>,
    pub(crate) qkd: VecDeque<EngineToQkd>,
    pub(crate) supervisor: VecDeque<RoleToSupervisor>,
    pub(crate) counters: Counters,
    changed_for_control: BTreeSet<Reqid>,
    changed_for_supervisor: BTreeSet<Reqid>,
}

impl Outbox {
    /// Tells the controller something, unless it is far behind.
    pub(crate) fn notice(&mut self, notice: Notice) {
        if self.control.len() >= NOTICES_MAX {
            self.counters.add(Count::NoticeDropped);
        } else {
            let notice = EngineToControl::Notice(Box::new(notice));
            self.control.push_back(notice);
        }
    }

    /// Says something to a node.
    pub(crate) fn say(&mut self, to: &NodeId, message: PeerMessage) {
        self.peer.push_back(EngineToPeer::Send {
            to: to.clone(),
            message: Box::new(message),
        });
    }

    /// Forgets what was still to be said to a node: its link is gone.
    pub(crate) fn unsay(&mut self, node: &NodeId) {
        self.peer
            .retain(|order| !matches!(order, EngineToPeer::Send { to, .. } if to == node));
    }

    /// A tunnel's report is another one, or the tunnel is gone.
    pub(crate) fn tunnel_changed(&mut self, reqid: Reqid) {
        self.changed_for_control.insert(reqid);
        self.changed_for_supervisor.insert(reqid);
    }

    /// A tunnel that control has to be told about.
    pub(crate) fn changed_for_control(&mut self) -> Option<Reqid> {
        self.changed_for_control.pop_first()
    }

    /// A tunnel that the supervisor has to be told about.
    pub(crate) fn changed_for_supervisor(&mut self) -> Option<Reqid> {
        self.changed_for_supervisor.pop_first()
    }
}
