//! A QKD link for the tests: KMEs in this process, qkd roles as real processes.

use std::net::SocketAddr;

use bartizan_model::config::{
    Groups, KmeConfig, KmeInterface, KmeTransport, QkdConfig, RoleConfig,
};
use bartizan_model::ids::{KeyId, NodeId, OrderId, SaeId};
use bartizan_model::message::{Edge, EngineToQkd, QkdToEngine};
use bartizan_model::report::QkdRefusal;
use bartizan_process::Channel;
use bartizan_secret::Secret;
use bartizan_tests::kme::{self, Kme, Options, Pace};
use bartizan_tests::pki::{Authority, Certified};
use bartizan_tests::played::{Played, PlayedTpm, expect};
use rustls::pki_types::PrivatePkcs8KeyDer;

/// What both ends of the link have in common.
pub(crate) const SEED: u64 = 20_260_101;

/// The name in every KME's certificate.
pub(crate) const KME: &str = "kme.example";

/// Who certifies whom.
pub(crate) struct Setup {
    pub(crate) kmes: Authority,
    pub(crate) saes: Authority,
}

/// One gateway's qkd role; the test is its engine.
pub(crate) struct Gateway {
    pub(crate) role: Played,
    pub(crate) engine: Channel<QkdToEngine, EngineToQkd>,
    pub(crate) tpm: PlayedTpm,
    last: OrderId,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self {
            kmes: Authority::new("KMEs"),
            saes: Authority::new("SAEs"),
        }
    }

    pub(crate) fn kme(&self, name: &str) -> Kme {
        start_kme(&self.kme_options(name, "127.0.0.1:0".parse().unwrap()))
    }

    pub(crate) fn kme_options(&self, name: &str, listen: SocketAddr) -> Options {
        let mut options = self.options_with(&self.kmes.issue(&[KME]), name);
        options.listen = listen;
        options
    }

    pub(crate) fn options_with(&self, certified: &Certified, name: &str) -> Options {
        Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            name: name.to_owned(),
            target: "the-other".to_owned(),
            chain: certified
                .chain()
                .iter()
                .map(|der| der.0.clone().into())
                .collect(),
            key: PrivatePkcs8KeyDer::from(certified.key().to_vec()).into(),
            client_anchors: vec![self.saes.anchor().0.into()],
            seed: SEED,
            pace: Pace {
                rate: 1000,
                capacity: 10_000,
                outages: None,
            },
            groups: kme::Groups::Hybrid,
            doors: Vec::new(),
            rendezvous: None,
            hops: 0,
            control: None,
        }
    }

    pub(crate) fn gateway(&self, sae: &str, kme: &Kme) -> Gateway {
        self.gateway_with(sae, kme, Groups::HybridOnly)
    }

    pub(crate) fn gateway_with(&self, sae: &str, kme: &Kme, groups: Groups) -> Gateway {
        self.gateway_named(sae, sae, kme, groups)
    }

    /// A gateway whose certificate names another SAE than its configuration.
    pub(crate) fn gateway_named(
        &self,
        certified: &str,
        sae: &str,
        kme: &Kme,
        groups: Groups,
    ) -> Gateway {
        let certified = self.saes.issue(&[certified]);
        let config = KmeConfig {
            address: kme.address(),
            name: NodeId::try_from(KME).unwrap(),
            anchors: vec![self.kmes.anchor()],
            sae: SaeId::try_from(sae).unwrap(),
            chain: certified.chain().to_vec(),
            groups,
            interface: KmeInterface::Etsi014,
            transport: KmeTransport::Tls,
            link: None,
            least_rate: 0,
        };
        Gateway::start(Some(config), certified.key())
    }
}

/// Starts a KME with a copy of these options.
pub(crate) fn start_kme(options: &Options) -> Kme {
    Kme::start(Options {
        listen: options.listen,
        name: options.name.clone(),
        target: options.target.clone(),
        chain: options.chain.clone(),
        key: options.key.clone_key(),
        client_anchors: options.client_anchors.clone(),
        seed: options.seed,
        pace: options.pace,
        groups: options.groups,
        doors: options.doors.clone(),
        rendezvous: options.rendezvous.clone(),
        hops: options.hops,
        control: options.control.clone(),
    })
    .unwrap()
}

impl Gateway {
    pub(crate) fn without_kme() -> Self {
        let certified = Authority::new("Nobody").issue(&["sae"]);
        Self::start(None, certified.key())
    }

    fn start(kme: Option<KmeConfig>, key: &[u8]) -> Self {
        let mut role = Played::start("bartizan-qkd");
        let engine = role.grant(Edge::EngineQkd);
        let tpm = PlayedTpm::start(role.grant(Edge::QkdTpm), key);
        role.begin(RoleConfig::Qkd(QkdConfig {
            kmes: kme.into_iter().collect(),
        }));
        Self {
            role,
            engine,
            tpm,
            last: OrderId(0),
        }
    }

    pub(crate) fn new_key(&mut self, peer: &str) -> Result<(KeyId, Secret), QkdRefusal> {
        let order = self.order_new_key(peer);
        self.key(order)
    }

    pub(crate) fn same_key(
        &mut self,
        peer: &str,
        key: &str,
    ) -> Result<(KeyId, Secret), QkdRefusal> {
        let order = self.next_order();
        let message = EngineToQkd::SameKey {
            order,
            peer: SaeId::try_from(peer).unwrap(),
            key: KeyId::try_from(key).unwrap(),
        };
        self.engine.send(&message).unwrap();
        self.key(order)
    }

    pub(crate) fn order_new_key(&mut self, peer: &str) -> OrderId {
        let order = self.next_order();
        let peer = SaeId::try_from(peer).unwrap();
        self.engine
            .send(&EngineToQkd::NewKey { order, peer })
            .unwrap();
        order
    }

    pub(crate) fn cancel(&mut self, order: OrderId) {
        self.engine.send(&EngineToQkd::Cancel(order)).unwrap();
    }

    /// The next reply, whichever order it is for.
    pub(crate) fn reply(&mut self) -> (OrderId, Result<KeyId, QkdRefusal>) {
        match expect(&mut self.engine).message {
            QkdToEngine::Key { order, key } => (order, Ok(key)),
            QkdToEngine::Refused { order, reason } => (order, Err(reason)),
            QkdToEngine::Link(_) | QkdToEngine::Stream { .. } => self.reply(),
        }
    }

    /// Closes the engine's end.
    pub(crate) fn hang_up(&mut self) {
        self.engine = Channel::pair().unwrap().0;
    }

    fn key(&mut self, asked: OrderId) -> Result<(KeyId, Secret), QkdRefusal> {
        let received = expect(&mut self.engine);
        match received.message {
            QkdToEngine::Key { order, key } => {
                assert_eq!(order, asked);
                Ok((key, received.secret.expect("a secret beside it")))
            }
            QkdToEngine::Refused { order, reason } => {
                assert_eq!(order, asked);
                Err(reason)
            }
            QkdToEngine::Link(_) | QkdToEngine::Stream { .. } => self.key(asked),
        }
    }

    fn next_order(&mut self) -> OrderId {
        self.last = OrderId(self.last.0 + 1);
        self.last
    }
}
