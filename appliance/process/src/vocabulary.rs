//! What each direction of each edge may carry.

use bartizan_model::message::{
    ControlToEngine, Edge, EngineToControl, EngineToPeer, EngineToQkd, EngineToXfrm, FromTpm,
    PeerToEngine, QkdToEngine, RoleToSupervisor, SUPERVISOR_CAP, SupervisorToRole, ToTpm,
    XfrmToEngine,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What travels beside the body of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Beside {
    /// Nothing may.
    Nothing,
    /// A secret must.
    Secret,
    /// A file descriptor must.
    Descriptor,
    /// A file descriptor may.
    MaybeDescriptor,
}

/// One direction of an edge: an enum of messages with its limits.
pub trait Vocabulary: Serialize + DeserializeOwned {
    /// The most bytes of a body.
    const CAP: usize;

    /// Whether every message has the secret slot beside its body, zeroed where it carries none.
    const SLOT: bool = false;

    /// What travels beside this message.
    fn beside(&self) -> Beside {
        Beside::Nothing
    }
}

impl Vocabulary for SupervisorToRole {
    const CAP: usize = SUPERVISOR_CAP;

    fn beside(&self) -> Beside {
        match self {
            Self::End(_) => Beside::Descriptor,
            Self::Start(_) => Beside::MaybeDescriptor,
            Self::Lifecycle(_)
            | Self::Ldevid(_)
            | Self::Farewell(_)
            | Self::Sources(_)
            | Self::Time(_)
            | Self::KeepLdevid
            | Self::RaiseRollback(_)
            | Self::Network(_)
            | Self::CallAnew => Beside::Nothing,
        }
    }
}

impl Vocabulary for RoleToSupervisor {
    const CAP: usize = SUPERVISOR_CAP;

    fn beside(&self) -> Beside {
        if matches!(self, Self::Running) {
            Beside::Descriptor
        } else {
            Beside::Nothing
        }
    }
}

impl Vocabulary for ControlToEngine {
    const CAP: usize = Edge::ControlEngine.cap();
}

impl Vocabulary for EngineToControl {
    const CAP: usize = Edge::ControlEngine.cap();
}

impl Vocabulary for EngineToXfrm {
    const CAP: usize = Edge::EngineXfrm.cap();
    const SLOT: bool = true;

    fn beside(&self) -> Beside {
        if matches!(self, Self::InstallSa { .. }) {
            Beside::Secret
        } else {
            Beside::Nothing
        }
    }
}

impl Vocabulary for XfrmToEngine {
    const CAP: usize = Edge::EngineXfrm.cap();
}

impl Vocabulary for EngineToPeer {
    const CAP: usize = Edge::EnginePeer.cap();
}

impl Vocabulary for PeerToEngine {
    const CAP: usize = Edge::EnginePeer.cap();
}

impl Vocabulary for EngineToQkd {
    const CAP: usize = Edge::EngineQkd.cap();
}

impl Vocabulary for QkdToEngine {
    const CAP: usize = Edge::EngineQkd.cap();
    const SLOT: bool = true;

    fn beside(&self) -> Beside {
        if matches!(self, Self::Key { .. }) {
            Beside::Secret
        } else {
            Beside::Nothing
        }
    }
}

impl Vocabulary for ToTpm {
    const CAP: usize = Edge::ControlTpm.cap();
}

impl Vocabulary for FromTpm {
    const CAP: usize = Edge::BootstrapTpm.cap();
}
