//! What the supervisor decides.

use bartizan_model::identity::Farewell;
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{Edge, Role};

/// What the loop does next, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Act {
    /// Make the edge and send each of its roles its end.
    Grant(Edge),
    /// Send the role its configuration.
    Start(Role),
    /// Tell a started role the state.
    Tell(Role, Lifecycle),
    /// Check the descriptor that came along and give it to the service manager.
    StoreRunning,
    /// Keep the ownership as it stands.
    Keep,
    /// Keep the ownership, which counts only if the TPM keeps its LDevID.
    KeepPending,
    /// Tell bootstrap that the TPM may keep the LDevID.
    KeepLdevid,
    /// Let the pending ownership count.
    Confirm,
    /// Forget the pending ownership.
    Discard,
    /// Tell a started role what is known of the owner's time.
    Time(Role),
    /// Tell a started role the renewed LDevID certificate.
    Renew(Role),
    /// Put the ownership aside: its end begins.
    BeginEnd(Farewell),
    /// Tell tpm that the owner's keys go.
    Dismiss(Farewell),
    /// Tell tpm that no image of an earlier rollback epoch counts any more.
    RaiseRollback(u64),
    /// Start the machine anew.
    StartAnew,
    /// Sessions of control that stand from here on began after the order to call anew.
    CalledAnew,
    /// Forget the ownership.
    Forget,
    /// Say to the journal what was refused, and why.
    Warn(String),
    /// End: all begin again, with what was kept or forgotten.
    BeginAgain(&'static str),
}
