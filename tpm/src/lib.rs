//! The tpm role: the one process that speaks with the TPM.
//!
//! It answers its neighbours from a table (role, lifecycle state, request) and from nothing else.
//! One thread owns the TPM; what a request leaves in it is gone when the answer is out.
#![forbid(unsafe_code)]

mod activate;
mod administrator;
mod answer;
mod device;
mod farewell;
mod floor;
mod identity;
mod keys;
mod ldevid;
mod measured;
mod nv;
mod permission;
pub mod provision;
mod quote;
mod seal;
mod serve;
mod sign;
mod template;

pub use answer::Prepared;
pub use device::{Tpm, TpmError};
pub use keys::DeviceKeys;
pub use ldevid::{Fresh, Ldevid};
pub use measured::{LOG_MAX, Measured};
pub use permission::{Request, permits};
pub use seal::Sealed;
pub use serve::serve;
pub use template::{DeviceKey, EndorsementKind};
