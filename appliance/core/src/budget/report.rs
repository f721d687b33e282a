//! What a link's account tells about itself.

use bartizan_model::ids::SaeId;
use bartizan_model::report::{BudgetReport, QkdReport};

use super::account::Account;

impl Account {
    pub(super) fn report(&self, peer: &SaeId) -> QkdReport {
        QkdReport {
            peer: peer.clone(),
            budget: BudgetReport {
                level: self.level,
                left: self.left,
                reserve: self.reserve(),
                rate: self.rate(),
                minimum: u32::try_from(self.minimum).unwrap_or(u32::MAX),
                tunnels: self.tunnels(),
                waiting: self.waiting(),
                taken: self.taken,
                refused: self.refused,
                without: self.without,
            },
            links: self.links.values().cloned().collect(),
        }
    }
}
