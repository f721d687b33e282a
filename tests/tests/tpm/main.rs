//! The tpm role on a real TPM implementation without a resource manager: what it answers, to whom,
//! how it recovers and how it ends.

mod boot;
mod commands;
mod device_keys;
mod farewell;
mod floors;
mod keylime;
mod ldevid;
mod permission;
mod proxy;
mod quotes;
mod recovery;
mod role;
mod sealed;
