//! Who speaks.

use serde::{Deserialize, Serialize};

/// A part of the appliance with a process of its own.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Decides; holds the keys.
    Engine,
    /// Programs the kernel.
    Xfrm,
    /// Speaks with the controller.
    Control,
    /// Speaks with the peer gateways.
    Peer,
    /// Speaks with the KME.
    Qkd,
    /// Speaks with the TPM.
    Tpm,
    /// Finds the owner and enrols.
    Bootstrap,
    /// Judges the first boots of the version that runs.
    Updater,
}
