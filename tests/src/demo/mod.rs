//! The demonstration: two gateways in virtual machines, a controller, a QKD link; from the factory to the first
//! protected packet, rekeys under load, a KME that dies and comes back, a gateway that somebody touches.

mod gateway;
mod machine;
mod progress;
mod report;
mod scene;
mod tampering;
mod word;

pub use gateway::gateway;
pub use machine::PROGRAM;
pub use report::Report;
pub use scene::play;
