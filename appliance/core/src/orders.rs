//! Orders to the kernel: what waits, and what is on its way.
//!
//! At most [`WINDOW`] are on their way, so that however many wait, xfrm's queue stays short and a key
//! leaves its slot only when it is about to be installed. Orders about SAs pass policies, but not each
//! other: a removal behind an installation undoes it, whatever became of it.

use std::collections::{BTreeMap, VecDeque};

use bartizan_model::ids::{EntryName, Epoch, OrderId, Reqid};
use bartizan_model::message::SaId;
use bartizan_model::policy::Direction;
use bartizan_model::time::BootTime;

/// The most orders without a reply.
pub const WINDOW: usize = 64;

/// One order, as its reply must be understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Task {
    /// Hand over an SA.
    Install(Reqid, Epoch, Direction),
    /// The same, on its way.
    Installing(Reqid, Epoch, Direction, SaId),
    /// Give an SA a later end.
    Extend(Reqid, Epoch, Direction, BootTime),
    /// The same, on its way.
    Extending(Reqid, Epoch, Direction, SaId),
    /// Take out an SA of a generation.
    Remove(Reqid, Epoch, Direction, SaId),
    /// Take out an SA of before the restart that its tunnel does not keep.
    RemoveOrphan(Reqid, Direction, SaId),
    /// Take out an SA of no tunnel.
    RemoveStray(SaId),
    /// Take out all SAs.
    RemoveAll,
    /// List all SAs.
    List,
    /// Program an entry.
    InstallPolicy(EntryName),
    /// Take an entry out.
    RemovePolicy(EntryName),
    /// Take out the entries of before the restart.
    RemoveOtherPolicies,
}

/// What waits and what is on its way.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    last: u64,
    urgent: VecDeque<Task>,
    sas: VecDeque<Task>,
    sent: BTreeMap<OrderId, Task>,
}

impl Orders {
    /// A number for an order, never used before; for the qkd edge too.
    pub(crate) fn number(&mut self) -> OrderId {
        self.last = self.last.wrapping_add(1);
        OrderId(self.last)
    }

    /// Orders something about an SA.
    pub(crate) fn push(&mut self, task: Task) {
        self.sas.push_back(task);
    }

    /// Orders something that does not wait for the window.
    pub(crate) fn push_urgent(&mut self, task: Task) {
        self.urgent.push_back(task);
    }

    /// Forgets every order about SAs that is not on its way.
    pub(crate) fn clear_sas(&mut self) {
        self.sas.clear();
    }

    /// The next order about SAs, if it may go now.
    pub(crate) fn next(&mut self) -> Option<Task> {
        self.urgent.pop_front().or_else(|| {
            if self.has_window() {
                self.sas.pop_front()
            } else {
                None
            }
        })
    }

    /// Whether one more may go.
    pub(crate) fn has_window(&self) -> bool {
        self.sent.len() < WINDOW
    }

    /// Notes that an order is on its way.
    pub(crate) fn sent(&mut self, task: Task) -> OrderId {
        let order = self.number();
        self.sent.insert(order, task);
        order
    }

    /// What an order was, without ending it.
    pub(crate) fn peek(&self, order: OrderId) -> Option<&Task> {
        self.sent.get(&order)
    }

    /// Ends an order: its reply has come.
    pub(crate) fn answered(&mut self, order: OrderId) -> Option<Task> {
        self.sent.remove(&order)
    }

    /// Whether an order about a policy is on its way.
    pub(crate) fn programs(&self) -> bool {
        self.sent.values().any(|task| {
            matches!(
                task,
                Task::InstallPolicy(_) | Task::RemovePolicy(_) | Task::RemoveOtherPolicies
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urgent_orders_pass_a_full_window() {
        let mut orders = Orders::default();
        let removal = |reqid| {
            let sa = SaId {
                spi: 256.try_into().unwrap(),
                destination: [192, 0, 2, 1].into(),
            };
            let reqid = Reqid::try_from(reqid).unwrap();
            Task::Remove(reqid, Epoch(1), Direction::Inbound, sa)
        };
        for reqid in 1..100 {
            orders.push(removal(reqid));
        }
        let mut numbers = Vec::new();
        while let Some(task) = orders.next() {
            numbers.push(orders.sent(task));
        }
        assert_eq!(numbers.len(), WINDOW);
        orders.push_urgent(Task::RemoveAll);
        assert_eq!(orders.next(), Some(Task::RemoveAll));
        assert_eq!(orders.next(), None);
        assert_eq!(orders.answered(numbers[0]), Some(removal(1)));
        assert_eq!(orders.next(), Some(removal(65)));
    }
}
