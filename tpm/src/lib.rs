//! The tpm role: the one process that speaks with the TPM.
//!
//! It answers its neighbours from a table (role, lifecycle state, request) and from nothing else.
//! One thread owns the TPM; what a request leaves in it is gone when the answer is out.
#![forbid(unsafe_code)]

mod device;
mod ldevid;
mod permission;
mod serve;

pub use device::{Tpm, TpmError};
pub use ldevid::Ldevid;
pub use permission::{Request, permits};
pub use serve::{Prepared, serve};
