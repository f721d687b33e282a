//! The plan in force and the number of each of its tunnels.

use serde::{Deserialize, Serialize};

use super::rows::{Outcome, Seen, Table, Write};
use super::{Store, StoreError, TRIES};
use crate::device::{Act, Actor, Audited};
use crate::plan::Document;
use crate::reqids::Reqids;
use bartizan_evidence::lease::OwnerTime;

/// What is kept of the plan.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The plan as it was applied.
    pub document: Document,
    /// The number of each tunnel.
    pub reqids: Reqids,
}

const CURRENT: &str = "current";

impl Store {
    /// The plan in force; an empty one if none was ever applied.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn plan(&self) -> Result<Kept, StoreError> {
        let row = self.read(Table::Plan, CURRENT).await?;
        row.map_or_else(|| Ok(Kept::default()), |row| row.read(Table::Plan))
    }

    /// Replaces the plan. `decide` is shown the one in force, once more if another writer was faster.
    ///
    /// # Errors
    ///
    /// What `decide` says, or [`StoreError`]; the plan stays.
    pub async fn replace_plan<E: From<StoreError>>(
        &self,
        actor: &Actor,
        now: OwnerTime,
        mut decide: impl FnMut(&Kept) -> Result<Kept, E>,
    ) -> Result<Kept, E> {
        for _try in 0..TRIES {
            let row = self.read(Table::Plan, CURRENT).await?;
            let (seen, standing) = match row {
                Some(row) => (Seen::Version(row.version), row.read(Table::Plan)?),
                None => (Seen::Nothing, Kept::default()),
            };
            let next = decide(&standing)?;
            let mut writes = vec![Write::put(Table::Plan, CURRENT, seen, &next)?];
            let audited = Audited {
                at: now,
                actor: actor.clone(),
                act: Act::Apply,
                serial: None,
            };
            writes.extend(self.audit(&audited).await?);
            if self.commit(writes).await? == Outcome::Done {
                return Ok(next);
            }
        }
        Err(StoreError::Busy.into())
    }
}
