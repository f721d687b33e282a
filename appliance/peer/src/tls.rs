//! Who we are to the peers, and whom we take for one.

use std::sync::Arc;

use bartizan_model::config::{Der, PeerConfig};
use bartizan_process::{Exit, Fault};
use bartizan_tls::{Anchors, Clock, Identity, Signer, TlsError, client, server};
use rustls::{ClientConfig, ServerConfig};

/// Both sides' configurations, and the identity that both show.
pub(crate) struct Tls {
    identity: Identity,
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
    /// By which peers' certificates are judged.
    pub(crate) clock: Clock,
}

impl Tls {
    /// # Errors
    ///
    /// [`Fault`] where the configuration makes no sense.
    pub(crate) fn new(config: &PeerConfig, signer: Signer, clock: Clock) -> Result<Self, Fault> {
        let fault = |error: TlsError| Fault::because(Exit::Config, "cannot speak TLS", error);
        let identity = Identity::new(&config.chain, Arc::new(signer)).map_err(fault)?;
        if *identity.node() != config.node {
            return Err(Fault::new(
                Exit::Config,
                "the LDevID certificate names another node",
            ));
        }
        let anchors = Anchors::new(&config.anchors, &clock).map_err(fault)?;
        Ok(Self {
            client: client(&identity, &anchors).map_err(fault)?,
            server: server(&identity, &anchors).map_err(fault)?,
            identity,
            clock,
        })
    }

    /// Shows a newer certificate in the handshakes to come; links that stand are not touched.
    ///
    /// # Errors
    ///
    /// [`Fault`] where it is over another key or of another node.
    pub(crate) fn renew(&self, chain: &[Der]) -> Result<(), Fault> {
        self.identity.renew(chain).map_err(|error| {
            Fault::because(Exit::Protocol, "the renewed LDevID is not ours", error)
        })
    }
}
