//! What outlives a session.

use std::collections::{BTreeMap, VecDeque};

use bartizan_model::ids::{EditId, NodeId, Nonce, Reqid};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{ControlToEngine, EngineToControl};
use bartizan_model::report::{Notice, TunnelReport};

use crate::edit::Edit;
use crate::error::RpcError;
use crate::filter::Selection;
use crate::namespace::Namespace;
use crate::running::Running;
use crate::schema::{GATEWAY, IPSEC_IKELESS, SPD};
use crate::server::refusal;
use crate::state::{self, Leaves};
use crate::tree::Tree;
use crate::xml::Writer;

/// The gateway as NETCONF shows it, and the way to its engine.
#[derive(Debug)]
pub struct Gateway {
    node: NodeId,
    lifecycle: Option<Lifecycle>,
    running: Running,
    question: Option<Question>,
    orders: VecDeque<ControlToEngine>,
    last_edit: EditId,
    nonce: Option<Nonce>,
    lease: Option<Vec<u8>>,
    tunnels: BTreeMap<Reqid, TunnelReport>,
}

/// What the engine has been asked and has not answered.
#[derive(Debug)]
enum Question {
    Edit { id: EditId, next: Running },
    Restore(EditId),
    Lease(Vec<u8>),
}

/// The engine's answer to what a session asked.
#[derive(Debug)]
pub struct Verdict(pub(crate) Result<(), RpcError>);

/// What came of a word of the engine.
#[derive(Debug, Default)]
pub struct Heard {
    /// The answer to what the session asked.
    pub verdict: Option<Verdict>,
    /// The running configuration is another: its copy goes to the supervisor before the answer goes
    /// to the controller.
    pub running_changed: bool,
    /// Something for subscribers.
    pub notice: Option<Notice>,
}

/// What of the gateway a request is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Datastore {
    /// `get-config`.
    Configuration,
    /// `get`: the configuration and the state.
    Everything,
}

impl Gateway {
    /// A gateway after its boot: nothing is configured.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            lifecycle: None,
            running: Running::default(),
            question: None,
            orders: VecDeque::new(),
            last_edit: EditId(0),
            nonce: None,
            lease: None,
            tunnels: BTreeMap::new(),
        }
    }

    /// Takes over the configuration from before a restart of the processes, and offers it to the
    /// engine; before anything else is asked.
    pub fn restore(&mut self, running: Running) {
        let id = self.next_edit();
        self.orders.push_back(ControlToEngine::BeginRestore(id));
        self.orders.extend(Running::default().changes(&running));
        self.orders.push_back(ControlToEngine::CommitEdit(id));
        self.question = Some(Question::Restore(id));
        self.running = running;
    }

    /// The running configuration.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Says whether the engine has yet to answer a question; a session waits with its next request.
    pub fn is_busy(&self) -> bool {
        self.question.is_some()
    }

    /// The next word to the engine, if there is one.
    pub fn next_order(&mut self) -> Option<ControlToEngine> {
        self.orders.pop_front()
    }

    /// Takes the appliance's state.
    pub fn entered(&mut self, lifecycle: Lifecycle) {
        self.lifecycle = Some(lifecycle);
    }

    /// Takes a word of the engine.
    pub fn heard(&mut self, word: EngineToControl) -> Heard {
        match word {
            EngineToControl::LeaseNonce(nonce) => self.nonce = Some(nonce),
            EngineToControl::EditAccepted(edit) => return self.edit_accepted(edit),
            EngineToControl::EditRefused {
                edit,
                entry,
                reason,
            } => return self.edit_refused(edit, refusal::edit(reason, &entry)),
            EngineToControl::LeaseAccepted(_) => return self.lease_judged(Ok(())),
            EngineToControl::LeaseRefused(reason) => {
                return self.lease_judged(Err(refusal::lease(reason)));
            }
            // No session can order the end of ownership yet.
            EngineToControl::OrderAccepted | EngineToControl::OrderRefused(_) => {}
            EngineToControl::Tunnel(report) => {
                self.tunnels.insert(report.reqid, *report);
            }
            EngineToControl::TunnelGone(reqid) => {
                self.tunnels.remove(&reqid);
            }
            EngineToControl::Notice(notice) => {
                return Heard {
                    notice: Some(*notice),
                    ..Heard::default()
                };
            }
        }
        Heard::default()
    }

    /// Asks the engine what a session wants; `Some` where it need not be asked.
    pub(crate) fn ask(&mut self, edit: Edit) -> Option<Verdict> {
        match edit {
            Edit::Nothing => return Some(Verdict(Ok(()))),
            Edit::Lease(lease) => {
                self.orders.push_back(ControlToEngine::Lease(lease.clone()));
                self.question = Some(Question::Lease(lease));
            }
            Edit::Policies(next) => {
                let id = self.next_edit();
                self.orders.push_back(ControlToEngine::BeginEdit(id));
                self.orders.extend(self.running.changes(&next));
                self.orders.push_back(ControlToEngine::CommitEdit(id));
                self.question = Some(Question::Edit { id, next });
            }
        }
        None
    }

    /// Writes what is wanted of the gateway into an open `data` element.
    pub(crate) fn write(&self, datastore: Datastore, wanted: &Selection<'_>, writer: &mut Writer) {
        self.write_policies(wanted, writer);
        self.write_gateway(datastore, wanted, writer);
        if datastore == Datastore::Everything
            && let Some(streams) = wanted.pick(&state::streams())
        {
            streams.write(writer);
        }
    }

    fn write_policies(&self, wanted: &Selection<'_>, writer: &mut Writer) {
        let entries = wanted
            .enter(&IPSEC_IKELESS)
            .and_then(|below| below.enter(&SPD));
        let Some(entries) = entries else {
            return;
        };
        let mut picked = self
            .running
            .in_order()
            .filter_map(|entry| entries.pick(&entry.tree()))
            .peekable();
        if picked.peek().is_none() {
            return;
        }
        writer.open(Namespace::Ikeless, IPSEC_IKELESS.name);
        writer.open(Namespace::Ikeless, SPD.name);
        for entry in picked {
            entry.write(writer);
        }
        writer.close();
        writer.close();
    }

    fn write_gateway(&self, datastore: Datastore, wanted: &Selection<'_>, writer: &mut Writer) {
        let mut leaves = Leaves {
            lease: self.lease.as_deref(),
            ..Leaves::default()
        };
        let mut gateway = Tree::empty(&GATEWAY);
        if datastore == Datastore::Everything {
            leaves.nonce = self.nonce;
            leaves.node = Some(&self.node);
            leaves.lifecycle = self.lifecycle;
            for tunnel in self.tunnels.values().filter_map(state::tunnel) {
                gateway.insert(tunnel);
            }
        }
        for leaf in state::leaves(&leaves) {
            gateway.insert(leaf);
        }
        if let Some(gateway) = wanted.pick(&gateway) {
            gateway.write(writer);
        }
    }

    fn next_edit(&mut self) -> EditId {
        self.last_edit = EditId(self.last_edit.0.wrapping_add(1));
        self.last_edit
    }

    fn edit_accepted(&mut self, edit: EditId) -> Heard {
        match self.question.take() {
            Some(Question::Edit { id, next }) if id == edit => {
                let running_changed = next != self.running;
                self.running = next;
                Heard {
                    verdict: Some(Verdict(Ok(()))),
                    running_changed,
                    notice: None,
                }
            }
            Some(Question::Restore(id)) if id == edit => Heard::default(),
            other => {
                self.question = other;
                Heard::default()
            }
        }
    }

    fn edit_refused(&mut self, edit: EditId, error: RpcError) -> Heard {
        match self.question.take() {
            Some(Question::Edit { id, .. }) if id == edit => Heard {
                verdict: Some(Verdict(Err(error))),
                ..Heard::default()
            },
            Some(Question::Restore(id)) if id == edit => {
                // The engine holds nothing, and nothing else must be shown: the controller compares
                // and sends its configuration again.
                self.running = Running::default();
                Heard {
                    running_changed: true,
                    ..Heard::default()
                }
            }
            other => {
                self.question = other;
                Heard::default()
            }
        }
    }

    fn lease_judged(&mut self, judgement: Result<(), RpcError>) -> Heard {
        let Some(Question::Lease(lease)) = self.question.take_if(|asked| asked.is_lease()) else {
            return Heard::default();
        };
        if judgement.is_ok() {
            self.lease = Some(lease);
        }
        Heard {
            verdict: Some(Verdict(judgement)),
            ..Heard::default()
        }
    }
}

impl Question {
    const fn is_lease(&self) -> bool {
        matches!(self, Self::Lease(_))
    }
}
