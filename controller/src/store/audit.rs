//! What operators did.

use serde::{Deserialize, Serialize};

use super::rows::{Range, Seen, Table, Write};
use super::{Store, StoreError};
use crate::device::Audited;

/// How many acts are kept.
const KEPT: u64 = 4096;

/// The row that counts them; the others' keys are numbers behind a tab.
const COUNT: &str = "count";

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    total: u64,
}

impl Store {
    /// The acts that are kept, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn audited(&self) -> Result<Vec<Audited>, StoreError> {
        let range = Range::of("act", usize::try_from(KEPT).unwrap_or(usize::MAX));
        let rows = self.list(Table::Audit, range).await?;
        let mut acts = Vec::new();
        for row in rows {
            acts.push(row.read::<Numbered>(Table::Audit)?);
        }
        acts.sort_by_key(|act| core::cmp::Reverse(act.number));
        Ok(acts.into_iter().map(|act| act.audited).collect())
    }

    /// The writes that keep one more; they go with the change that they tell of.
    pub(super) async fn audit(&self, audited: &Audited) -> Result<[Write; 2], StoreError> {
        let row = self.read(Table::Audit, COUNT).await?;
        let (seen, count) = match row {
            Some(row) => (Seen::Version(row.version), row.read(Table::Audit)?),
            None => (Seen::Nothing, Count::default()),
        };
        let number = count.total;
        let numbered = Numbered {
            number,
            audited: audited.clone(),
        };
        let next = Count {
            total: number.saturating_add(1),
        };
        let slot = format!("act\t{:05}", number.checked_rem(KEPT).unwrap_or(0));
        Ok([
            Write::put(Table::Audit, COUNT, seen, &next)?,
            Write::put(Table::Audit, slot, Seen::Unasked, &numbered)?,
        ])
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbered {
    number: u64,
    audited: Audited,
}
