//! The number of each tunnel in the kernels of both its ends.

use std::collections::{BTreeMap, BTreeSet};

use bartizan_model::ids::{NodeId, Reqid, TunnelId};
use serde::{Deserialize, Serialize};

use crate::plan::{Plan, TunnelKey};

/// A number for each tunnel, unique in the fleet; a tunnel keeps its own for life.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Record>", into = "Vec<Record>")]
pub struct Reqids(BTreeMap<TunnelKey, Reqid>);

impl Reqids {
    /// The number of a tunnel.
    pub fn of(&self, tunnel: &TunnelKey) -> Option<Reqid> {
        self.0.get(tunnel).copied()
    }

    /// The numbers for this plan: those that stand, and for new tunnels the lowest that neither
    /// stand nor stood until now, so that no tunnel inherits another's SAs.
    #[must_use]
    pub fn for_plan(&self, plan: &Plan) -> Self {
        let mut taken: BTreeSet<u32> = self.0.values().copied().map(u32::from).collect();
        let mut free = 1..=u32::MAX;
        let mut reqids = BTreeMap::new();
        for tunnel in &plan.tunnels {
            let key = tunnel.key();
            let reqid = self.of(&key).or_else(|| {
                let free = free.find(|number| taken.insert(*number))?;
                Reqid::try_from(free).ok()
            });
            if let Some(reqid) = reqid {
                reqids.insert(key, reqid);
            }
        }
        Self(reqids)
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    between: [NodeId; 2],
    id: TunnelId,
    reqid: Reqid,
}

/// A number that stands twice, or a pair the wrong way round.
#[derive(Debug, thiserror::Error)]
#[error("a tunnel or its number stands twice")]
struct Repeated;

impl TryFrom<Vec<Record>> for Reqids {
    type Error = Repeated;

    fn try_from(records: Vec<Record>) -> Result<Self, Repeated> {
        let mut taken = BTreeSet::new();
        let mut reqids = BTreeMap::new();
        for record in records {
            let [lower, higher] = record.between;
            let key = TunnelKey {
                lower,
                higher,
                id: record.id,
            };
            let ordered = key.lower < key.higher;
            let fresh = taken.insert(record.reqid);
            if !ordered || !fresh || reqids.insert(key, record.reqid).is_some() {
                return Err(Repeated);
            }
        }
        Ok(Self(reqids))
    }
}

impl From<Reqids> for Vec<Record> {
    fn from(reqids: Reqids) -> Self {
        let record = |(key, reqid): (TunnelKey, Reqid)| Record {
            between: [key.lower, key.higher],
            id: key.id,
            reqid,
        };
        reqids.0.into_iter().map(record).collect()
    }
}
