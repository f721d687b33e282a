//! What goes into the engine and what comes out of it.

use bartizan_model::message::{
    ControlToEngine, EngineToControl, EngineToPeer, EngineToQkd, EngineToXfrm, PeerToEngine,
    QkdToEngine, RoleToSupervisor, XfrmToEngine,
};
use bartizan_secret::Secret;

/// What the engine is told.
#[derive(Debug)]
pub enum Input {
    /// From control.
    Control(ControlToEngine),
    /// From xfrm.
    Xfrm(XfrmToEngine),
    /// From peer.
    Peer(PeerToEngine),
    /// From qkd; the key of a `Key` beside it.
    Qkd(QkdToEngine, Option<Secret>),
    /// The end of the peer edge was granted.
    PeerEnd,
    /// The end of the qkd edge was granted.
    QkdEnd,
    /// Time has passed.
    Tick,
}

/// What the engine says.
#[derive(Debug)]
pub enum Output {
    /// To control.
    Control(EngineToControl),
    /// To xfrm; the key of an `InstallSa` beside it.
    Xfrm(EngineToXfrm, Option<Secret>),
    /// To peer.
    Peer(EngineToPeer),
    /// To qkd.
    Qkd(EngineToQkd),
    /// To the supervisor.
    Supervisor(RoleToSupervisor),
}

/// Which neighbours can take a message now; the rest waits inside the engine.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent fact"
)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Room {
    /// Control can.
    pub control: bool,
    /// Xfrm can.
    pub xfrm: bool,
    /// Peer can: its end was granted and is not full.
    pub peer: bool,
    /// Qkd can: its end was granted and is not full.
    pub qkd: bool,
    /// The supervisor can.
    pub supervisor: bool,
}

impl Room {
    /// Everywhere.
    pub const EVERYWHERE: Self = Self {
        control: true,
        xfrm: true,
        peer: true,
        qkd: true,
        supervisor: true,
    };
}
