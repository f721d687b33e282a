//! What the keys of a QKD link allow.

use serde::{Deserialize, Serialize};

use super::LinkReport;
use crate::ids::SaeId;

/// The keys shared with one peer: how they are shared out among the tunnels, and the links that bring
/// them. Told when it changes, at most once a second.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct QkdReport {
    /// The peer's SAE.
    pub peer: SaeId,
    /// How its keys are shared out.
    pub budget: BudgetReport,
    /// The links, by KME; at most 8.
    pub links: Vec<LinkReport>,
}

/// How the keys shared with one peer are shared out.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct BudgetReport {
    /// How scarce they are.
    pub level: BudgetLevel,
    /// Keys that can be taken, as far as is known; an 004 KME does not say.
    pub left: Option<u32>,
    /// Down to so many, tunnels take keys before they must; the rest stays for those that must.
    pub reserve: u32,
    /// Keys that the links bring an hour, where that is known.
    pub rate: Option<u32>,
    /// Keys an hour that policies promise to tunnels; more than the rate cannot be kept.
    pub minimum: u32,
    /// Tunnels that use them.
    pub tunnels: u32,
    /// Tunnels that wait for one.
    pub waiting: u32,
    /// Keys that were taken since the engine started; the same number at both ends.
    pub taken: u64,
    /// Requests that brought none.
    pub refused: u64,
    /// Generations that went on without a key, as their policies allow, because none was left for
    /// them.
    pub without: u64,
}

/// How scarce the keys of a link are, in the order in which it gets worse.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BudgetLevel {
    /// Every tunnel rekeys at its time; so it is also while nobody knows how many there are.
    #[default]
    Plenty,
    /// There are keys, and policies promise tunnels more of them than the links bring.
    Oversold,
    /// Rekeys are put off as far as they may be.
    Low,
    /// There is none.
    Dry,
}
