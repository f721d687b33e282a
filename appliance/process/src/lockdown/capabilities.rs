//! Capabilities: none, but the one of xfrm.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities,
};

use super::calls::Who;
use super::{LockdownError, kernel};

/// Empties the sets and returns what the process keeps.
pub(super) fn give_up(process: Who) -> Result<CapabilitySet, LockdownError> {
    let kept = if process == Who::XFRM {
        CapabilitySet::NET_ADMIN
    } else {
        CapabilitySet::empty()
    };
    match clear_ambient_capability_set() {
        // A kernel without ambient capabilities has none to clear.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => return Err(LockdownError::Kernel("PR_CAP_AMBIENT", errno)),
    }
    let wanted = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    // A unit that grants nothing does not grant the call either.
    if capabilities(None).map_err(kernel("capget"))? != wanted {
        set_capabilities(None, wanted).map_err(kernel("capset"))?;
    }
    Ok(kept)
}
