//! What the kernel and the KME answer.

use bartizan_model::ids::{EntryName, OrderId, Reqid};
use bartizan_model::message::{QkdToEngine, RoleToSupervisor, SaId, SaListed, XfrmToEngine};
use bartizan_model::report::Notice;
use bartizan_secret::Secret;

use crate::counters::Count;
use crate::engine::Engine;
use crate::kernel::Answer;
use crate::lease::Entropy;
use crate::orders::Task;
use crate::spd::Programming;
use crate::timers::Timer;
use crate::times::REMOVE_RETRY;
use crate::wheel::Installed;

/// `ESRCH`: there is no such SA.
const ESRCH: i32 = 3;

/// `EINVAL`: the SA is dead.
const EINVAL: i32 = 22;

/// How an order ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reply {
    Done,
    Refused(i32),
    Unknown,
}

impl Engine {
    pub(crate) fn handle_xfrm(&mut self, message: XfrmToEngine, entropy: Entropy<'_>) {
        match message {
            XfrmToEngine::Done(order) => self.replied(order, Reply::Done, entropy),
            XfrmToEngine::Refused { order, errno } => {
                self.replied(order, Reply::Refused(errno), entropy);
            }
            XfrmToEngine::Unknown(order) => self.replied(order, Reply::Unknown, entropy),
            XfrmToEngine::Listed { order, sas, last } => self.listed(order, sas, last, entropy),
            XfrmToEngine::Expired { sa, reqid, hard } => self.expired(sa, reqid, hard, entropy),
            XfrmToEngine::Acquire { .. } => self.shared.outbox.counters.add(Count::Acquire),
        }
    }

    pub(crate) fn handle_qkd(
        &mut self,
        message: QkdToEngine,
        key: Option<Secret>,
        entropy: Entropy<'_>,
    ) {
        let (order, answer) = match message {
            QkdToEngine::Key { order, key: id } => (order, Ok(id)),
            QkdToEngine::Refused { order, reason } => (order, Err(reason)),
            QkdToEngine::Stream { peer, stream } => return self.stream_open(peer, stream),
            QkdToEngine::Link(report) => return self.hear_link(*report),
        };
        let Some(wanted) = self.shared.qkd.answered(order) else {
            self.shared.outbox.counters.add(Count::ReplyStale);
            return;
        };
        let outcome = match answer {
            Ok(id) => {
                let judged = self.shared.qkd.judge(&wanted, &id, key);
                judged.map(|key| (id, key))
            }
            Err(reason) => Err(reason),
        };
        self.with_tunnel(wanted.reqid, entropy, |tunnel, desk| {
            tunnel.qkd_answered(order, outcome, desk);
        });
    }

    fn replied(&mut self, order: OrderId, reply: Reply, entropy: Entropy<'_>) {
        let Some(task) = self.shared.orders.answered(order) else {
            self.shared.outbox.counters.add(Count::ReplyStale);
            return;
        };
        let answer = match reply {
            Reply::Done => Answer::Done,
            Reply::Refused(ESRCH | EINVAL) => Answer::Gone,
            Reply::Refused(_) | Reply::Unknown => Answer::Unclear,
        };
        match task {
            Task::Installing(reqid, epoch, direction, id) => {
                let outcome = match reply {
                    Reply::Done => Installed::Stands,
                    Reply::Refused(_) => Installed::Refused,
                    Reply::Unknown => Installed::Unknown,
                };
                self.with_tunnel(reqid, entropy, |tunnel, desk| {
                    tunnel.installed(epoch, direction, id, outcome, desk);
                });
            }
            Task::Extending(reqid, epoch, direction, id) => {
                self.with_tunnel(reqid, entropy, |tunnel, desk| {
                    tunnel.extended(epoch, direction, id, answer, desk);
                });
            }
            Task::Remove(reqid, epoch, direction, id) => {
                let known = self.with_tunnel(reqid, entropy, |tunnel, desk| {
                    tunnel.removed(epoch, direction, id, answer, desk)
                });
                if known != Some(true) && answer == Answer::Unclear {
                    self.retry(Task::RemoveStray(id));
                }
            }
            Task::RemoveOrphan(..) | Task::RemoveStray(_) if answer == Answer::Unclear => {
                self.retry(task);
            }
            Task::RemoveOrphan(reqid, direction, id) => {
                self.with_tunnel(reqid, entropy, |tunnel, desk| {
                    tunnel.orphan_gone(direction, id.spi, desk);
                });
            }
            Task::RemoveStray(_) => {}
            Task::RemoveAll => self.flushed(),
            // A list ends with `Listed`: this is a refusal, and what cannot be listed cannot stay.
            Task::List => {
                self.shared.orders.push_urgent(Task::RemoveAll);
                self.list_complete(entropy);
            }
            Task::InstallPolicy(name) => self.programmed(&name, reply),
            Task::RemovePolicy(_) | Task::RemoveOtherPolicies => {
                self.tell_in_force();
                if reply != Reply::Done && answer != Answer::Gone {
                    self.shared.outbox.counters.add(Count::PolicyRefused);
                }
            }
            // Numbered only as `Installing` and `Extending`.
            Task::Install(..) | Task::Extend(..) => {}
        }
    }

    fn retry(&mut self, task: Task) {
        self.retries.push(task);
        let at = self.now.after(REMOVE_RETRY);
        self.timers.set(Timer::Retries, Some(at));
    }

    fn listed(&mut self, order: OrderId, sas: Vec<SaListed>, last: bool, entropy: Entropy<'_>) {
        if self.shared.orders.peek(order) != Some(&Task::List) {
            self.shared.outbox.counters.add(Count::ReplyStale);
            return;
        }
        for sa in sas {
            self.start.listed.entry(sa.reqid).or_default().push(sa);
        }
        if last {
            self.shared.orders.answered(order);
            self.list_complete(entropy);
        }
    }

    fn list_complete(&mut self, entropy: Entropy<'_>) {
        self.start.listed_at = Some(self.now);
        self.adopt_listed(entropy);
        self.introduce_all(entropy);
    }

    fn expired(&mut self, sa: SaId, reqid: u32, hard: bool, entropy: Entropy<'_>) {
        if let Ok(reqid) = Reqid::try_from(reqid) {
            self.with_tunnel(reqid, entropy, |tunnel, desk| {
                tunnel.expired(sa, hard, desk)
            });
        }
    }

    fn programmed(&mut self, name: &EntryName, reply: Reply) {
        let errno = match reply {
            Reply::Done => None,
            Reply::Refused(errno) => Some(errno),
            Reply::Unknown => Some(0),
        };
        if let Some(errno) = errno {
            self.shared.outbox.counters.add(Count::PolicyRefused);
            self.shared.outbox.notice(Notice::NotProgrammed {
                entry: name.clone(),
                errno,
            });
        }
        let outcome = if errno.is_none() {
            Programming::Done
        } else {
            Programming::Failed
        };
        self.spd.answered(name, outcome);
        self.tell_in_force();
    }

    fn tell_in_force(&mut self) {
        let in_force = self.spd.is_in_force();
        if self.in_force != in_force {
            self.in_force = in_force;
            let message = RoleToSupervisor::PolicyInForce(in_force);
            self.shared.outbox.supervisor.push_back(message);
        }
    }
}
