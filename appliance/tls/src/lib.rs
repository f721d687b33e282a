//! TLS 1.3 as every link of the gateway speaks it: mutual certificates, hybrid key agreement, the
//! key in the TPM.
//!
//! Whoever a connection is with stands in the certificate alone: one `dNSName`, which is a
//! [`NodeId`](bartizan_model::ids::NodeId). Only the links of bootstrap and enrolment take
//! certificates that name none, for there whom they are of is proven above TLS. Nothing is ever resumed, so every connection proves
//! possession of the key anew. Nothing of this can be configured away; the one choice is
//! [`Groups`](bartizan_model::config::Groups), for a KME that knows classical groups alone.
#![forbid(unsafe_code)]

mod backoff;
mod certificate;
mod channel;
mod clock;
mod config;
mod error;
mod handshake;
mod registrar;
mod signer;
mod tpm;
mod verify;

pub use backoff::Backoff;
pub use certificate::{Anchors, Identity, peer_node, peer_thumbprint, server_name};
pub use channel::AsyncChannel;
pub use clock::Clock;
pub use config::{call_home_client, client, database_client, kme_client, server};
pub use error::{NameError, TlsError};
pub use handshake::{Established, accept, connect, connect_home, off_the_loop};
pub use registrar::{
    Application, Encounter, accept_box, connect_bootstrap, connect_registrar, registrar,
    registrar_client, unauthenticated_bootstrap_client,
};
pub use signer::{Curve, Signer};
pub use tpm::{Tpm, TpmError};
