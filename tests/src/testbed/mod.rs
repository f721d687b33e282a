//! Guests, namespaces, traffic and captures.

pub mod appliance;
pub mod boot;
pub mod capture;
pub mod clock;
pub mod device;
pub mod dialled;
pub mod esp;
pub mod fleet;
pub mod flow;
pub mod frame;
pub mod guest;
pub mod kernel;
pub mod measured;
pub mod memory;
pub mod netns;
pub mod networkd;
pub mod plan;
pub mod process;
pub mod reboot;
pub mod site;
pub mod swtpm;
pub mod topology;
mod vm;
