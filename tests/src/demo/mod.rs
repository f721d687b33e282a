//! The demonstration: two gateways in virtual machines, a controller, a QKD link; the first
//! protected packet, rekeys under load, a KME that dies and comes back.

mod machine;
mod progress;
mod report;
mod scene;

pub use machine::{PROGRAM, gateway};
pub use report::Report;
pub use scene::play;
