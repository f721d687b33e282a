//! Landlock: no file at all, TCP only as far as the role's row goes, no word to other processes.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, Ruleset,
    RulesetAttr, RulesetStatus, Scope,
};

use super::LockdownError;
use super::calls::Who;

/// The newest version whose rights are denied here; what a newer kernel adds is left alone until it
/// is tested.
const NEWEST: ABI = ABI::V7;

const VERSIONS: [ABI; 7] = [ABI::V1, ABI::V2, ABI::V3, ABI::V4, ABI::V5, ABI::V6, NEWEST];

/// Denies, as far as the kernel can, and returns the Landlock version in force; 0 is none.
pub(super) fn deny(process: Who) -> Result<u8, LockdownError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?;
    let ports = denied_ports(process);
    if !ports.is_empty() {
        ruleset = ruleset.handle_access(ports)?;
    }
    let status = ruleset.create()?.restrict_self()?;
    let enforced = match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _)
        | (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => ABI::Unsupported,
        (_, LandlockStatus::Available { effective_abi, .. }) => effective_abi,
    };
    let version = VERSIONS
        .iter()
        .filter(|version| **version <= enforced)
        .count();
    Ok(u8::try_from(version).unwrap_or_default())
}

/// What of TCP the process does without: peer is dialled and dials, control and qkd only dial.
fn denied_ports(process: Who) -> BitFlags<AccessNet> {
    if process == Who::PEER {
        BitFlags::empty()
    } else if process == Who::CONTROL || process == Who::QKD {
        AccessNet::BindTcp.into()
    } else {
        AccessNet::from_all(NEWEST)
    }
}
