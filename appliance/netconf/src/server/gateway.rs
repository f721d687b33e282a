//! What outlives a session.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bartizan_model::config::Der;
use bartizan_model::ids::{EditId, NodeId, Nonce, Reqid, SaeId};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{ControlToEngine, EngineToControl};
use bartizan_model::report::{NetworkState, Notice, QkdReport, TunnelReport};

use crate::attestation::{self, LogWanted};
use crate::edit::{Edit, Grant};
use crate::error::{ErrorTag, ErrorType, RpcError};
use crate::filter::Selection;
use crate::library;
use crate::namespace::Namespace;
use crate::qkd;
use crate::rpc::Wanted;
use crate::running::Running;
use crate::schema::{GATEWAY, IPSEC_IKELESS, SPD};
use crate::server::inquiry::{Finding, Inquiry, Unfound, unfound};
use crate::server::refusal;
use crate::state::{self, Leaves};
use crate::tree::Tree;
use crate::xml::Writer;

/// The gateway as NETCONF shows it, and the way to its engine.
#[derive(Debug)]
pub struct Gateway {
    node: NodeId,
    lifecycle: Option<Lifecycle>,
    network: Option<NetworkState>,
    running: Running,
    question: Option<Question>,
    orders: VecDeque<ControlToEngine>,
    inquiry: Option<Inquiry>,
    last_edit: EditId,
    nonce: Option<Nonce>,
    lease: Option<Grant>,
    tunnels: BTreeMap<Reqid, TunnelReport>,
    qkd: BTreeMap<SaeId, QkdReport>,
}

/// What has been asked and has no answer yet.
#[derive(Debug)]
enum Question {
    Edit {
        id: EditId,
        next: Running,
    },
    Restore(EditId),
    /// Its certificate is being judged.
    Ldevid(Grant),
    Lease(Grant),
    Order,
    Quote,
    Log,
}

/// What a reply holds.
#[derive(Debug)]
pub(crate) enum Told {
    Ok,
    Tree(Tree),
}

/// The answer to what a session asked.
#[derive(Debug)]
pub struct Verdict(pub(crate) Result<Told, RpcError>);

/// What came of a word of the engine, or of a finding.
#[derive(Debug, Default)]
pub struct Heard {
    /// The answer to what the session asked.
    pub verdict: Option<Verdict>,
    /// A renewed LDevID certificate and its chain, which came with a lease that counts.
    pub ldevid: Option<Vec<Der>>,
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
            network: None,
            running: Running::default(),
            question: None,
            orders: VecDeque::new(),
            inquiry: None,
            last_edit: EditId(0),
            nonce: None,
            lease: None,
            tunnels: BTreeMap::new(),
            qkd: BTreeMap::new(),
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

    /// Says whether a question has yet to be answered; a session waits with its next request.
    pub fn is_busy(&self) -> bool {
        self.question.is_some()
    }

    /// The next word to the engine, if there is one.
    pub fn next_order(&mut self) -> Option<ControlToEngine> {
        self.orders.pop_front()
    }

    /// The question for TPM or certificate, once.
    pub fn next_inquiry(&mut self) -> Option<Inquiry> {
        self.inquiry.take()
    }

    /// Takes the appliance's state.
    pub fn entered(&mut self, lifecycle: Lifecycle) {
        self.lifecycle = Some(lifecycle);
    }

    /// Takes how the owner's network stands.
    pub fn network(&mut self, state: NetworkState) {
        self.network = Some(state);
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
            EngineToControl::OrderAccepted => return self.order_judged(Ok(Told::Ok)),
            EngineToControl::OrderRefused(reason) => {
                return self.order_judged(Err(refusal::order(reason)));
            }
            EngineToControl::Tunnel(report) => {
                self.tunnels.insert(report.reqid, *report);
            }
            EngineToControl::TunnelGone(reqid) => {
                self.tunnels.remove(&reqid);
            }
            EngineToControl::Qkd(report) => {
                self.qkd.insert(report.peer.clone(), *report);
            }
            EngineToControl::QkdGone(peer) => {
                self.qkd.remove(&peer);
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

    /// Takes what was found, `uptime` after the boot.
    pub fn found(&mut self, found: Result<Finding, Unfound>, uptime: Duration) -> Heard {
        let asked = self.question.take();
        let verdict = match (asked, found) {
            (Some(Question::Quote), Ok(Finding::Quoted { quoted, floors })) => Ok(Told::Tree(
                attestation::evidence(&quoted, floors.as_ref(), uptime),
            )),
            (Some(Question::Log), Ok(Finding::Log(part))) => {
                Ok(Told::Tree(attestation::log_part(Some(&part), uptime)))
            }
            (Some(Question::Ldevid(grant)), Ok(Finding::Ldevid)) => {
                self.ask_lease(grant);
                return Heard::default();
            }
            (Some(Question::Quote | Question::Log | Question::Ldevid(_)), Err(reason)) => {
                Err(unfound(reason))
            }
            // Nothing of it was asked.
            (other, _) => {
                self.question = other;
                return Heard::default();
            }
        };
        Heard {
            verdict: Some(Verdict(verdict)),
            ..Heard::default()
        }
    }

    /// Asks whoever knows what a session wants; `Some` where nobody need be asked.
    pub(crate) fn ask(&mut self, wanted: Wanted) -> Option<Verdict> {
        match wanted {
            Wanted::Edit(Edit::Nothing) => return Some(Verdict(Ok(Told::Ok))),
            Wanted::Edit(Edit::Lease(grant)) if grant.ldevid.is_empty() => self.ask_lease(grant),
            Wanted::Edit(Edit::Lease(grant)) => {
                self.inquiry = Some(Inquiry::Ldevid(grant.ldevid.clone()));
                self.question = Some(Question::Ldevid(grant));
            }
            Wanted::Edit(Edit::Policies(next)) => {
                let id = self.next_edit();
                self.orders.push_back(ControlToEngine::BeginEdit(id));
                self.orders.extend(self.running.changes(&next));
                self.orders.push_back(ControlToEngine::CommitEdit(id));
                self.question = Some(Question::Edit { id, next });
            }
            Wanted::Challenge(challenge) => {
                let bound = match challenge.binding.map(|_tls_exporter| self.nonce) {
                    None => None,
                    Some(Some(nonce)) => Some(nonce),
                    Some(None) => return Some(Verdict(Err(no_nonce()))),
                };
                self.inquiry = Some(Inquiry::Quote {
                    nonce: challenge.nonce,
                    bound,
                    pcrs: challenge.pcrs,
                });
                self.question = Some(Question::Quote);
            }
            Wanted::Log(LogWanted { ours: false, .. }) => {
                let nothing = attestation::log_part(None, Duration::ZERO);
                return Some(Verdict(Ok(Told::Tree(nothing))));
            }
            Wanted::Log(LogWanted { log, offset, .. }) => {
                self.inquiry = Some(Inquiry::Log { log, offset });
                self.question = Some(Question::Log);
            }
            Wanted::Order(signed) => {
                self.orders.push_back(ControlToEngine::Order(signed));
                self.question = Some(Question::Order);
            }
        }
        None
    }

    fn ask_lease(&mut self, grant: Grant) {
        let lease = grant.lease.clone();
        self.orders.push_back(ControlToEngine::Lease(lease));
        self.question = Some(Question::Lease(grant));
    }

    /// Writes what is wanted of the gateway into an open `data` element.
    pub(crate) fn write(&self, datastore: Datastore, wanted: &Selection<'_>, writer: &mut Writer) {
        self.write_policies(wanted, writer);
        self.write_gateway(datastore, wanted, writer);
        if datastore == Datastore::Everything {
            for document in [state::streams(), attestation::support(), library::data()] {
                if let Some(picked) = wanted.pick(&document) {
                    picked.write(writer);
                }
            }
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
            lease: self.lease.as_ref(),
            ..Leaves::default()
        };
        let mut gateway = Tree::empty(&GATEWAY);
        if datastore == Datastore::Everything {
            leaves.nonce = self.nonce;
            leaves.node = Some(&self.node);
            leaves.lifecycle = self.lifecycle;
            leaves.network = self.network;
            for tunnel in self.tunnels.values().filter_map(state::tunnel) {
                gateway.insert(tunnel);
            }
            for keys in self.qkd.values().filter_map(qkd::keys) {
                gateway.insert(keys);
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
                    verdict: Some(Verdict(Ok(Told::Ok))),
                    running_changed,
                    ..Heard::default()
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
        let is_lease = |asked: &mut Question| matches!(asked, Question::Lease(_));
        let Some(Question::Lease(grant)) = self.question.take_if(is_lease) else {
            return Heard::default();
        };
        let mut ldevid = None;
        if judgement.is_ok() {
            ldevid = Some(grant.ldevid.clone()).filter(|chain| !chain.is_empty());
            self.lease = Some(grant);
        }
        Heard {
            verdict: Some(Verdict(judgement.map(|()| Told::Ok))),
            ldevid,
            ..Heard::default()
        }
    }

    fn order_judged(&mut self, judgement: Result<Told, RpcError>) -> Heard {
        let is_order = |asked: &mut Question| matches!(asked, Question::Order);
        let verdict = self.question.take_if(is_order);
        Heard {
            verdict: verdict.map(|_asked| Verdict(judgement)),
            ..Heard::default()
        }
    }
}

fn no_nonce() -> RpcError {
    let message = "the engine has shown no nonce yet to bind the quote to";
    let error = RpcError::new(ErrorType::Application, ErrorTag::OperationFailed, message);
    error.app_tag("no-lease-nonce")
}
