//! A QKD link for the tests: KMEs in this process, qkd roles as real processes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bartizan_model::config::{
    Groups, KmeConfig, KmeInterface, KmeTransport, QkdConfig, RoleConfig,
};
use bartizan_model::ids::{KeyId, NodeId, OrderId, SaeId, StreamName};
use bartizan_model::message::{Edge, EngineToQkd, QkdToEngine};
use bartizan_model::report::{LinkReport, QkdRefusal};
use bartizan_model::time::KnownTime;
use bartizan_process::Channel;
use bartizan_secret::Secret;
use bartizan_tests::kme::{self, Kme, Options, Pace};
use bartizan_tests::pki::{Authority, Certified};
use bartizan_tests::played::{Played, PlayedTpm, expect, next};
use rustls::pki_types::PrivatePkcs8KeyDer;

/// What both ends of the link have in common.
pub(crate) const SEED: u64 = 20_260_101;

/// A moment at which every certificate is valid but those that are not to be: the first of 2026, in
/// seconds since 1970.
const NOW: u64 = 1_767_225_600;

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
    /// The streams that were opened, and the last report of each link, in the order of their coming.
    pub(crate) streams: Vec<(SaeId, StreamName)>,
    pub(crate) reports: Vec<LinkReport>,
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
        Gateway::start(vec![config], certified.key())
    }

    /// A gateway beside several KMEs: each with its address, what is spoken there, and its link.
    pub(crate) fn gateway_beside(
        &self,
        sae: &str,
        kmes: &[(SocketAddr, KmeInterface, KmeTransport, Option<&str>)],
    ) -> Gateway {
        let certified = self.saes.issue(&[sae]);
        let config = |(address, interface, transport, link): &(_, _, _, Option<&str>)| KmeConfig {
            address: *address,
            name: NodeId::try_from(KME).unwrap(),
            anchors: vec![self.kmes.anchor()],
            sae: SaeId::try_from(sae).unwrap(),
            chain: certified.chain().to_vec(),
            groups: Groups::HybridOnly,
            interface: *interface,
            transport: *transport,
            link: link.map(|link| link.try_into().unwrap()),
            least_rate: 0,
        };
        Gateway::start(kmes.iter().map(config).collect(), certified.key())
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
        Self::start(Vec::new(), certified.key())
    }

    fn start(kmes: Vec<KmeConfig>, key: &[u8]) -> Self {
        let mut role = Played::start("bartizan-qkd");
        let engine = role.grant(Edge::EngineQkd);
        let tpm = PlayedTpm::start(role.grant(Edge::QkdTpm), key);
        role.learn(KnownTime {
            floor: NOW,
            owner: None,
        });
        role.begin(RoleConfig::Qkd(QkdConfig { kmes }));
        Self {
            role,
            engine,
            tpm,
            streams: Vec::new(),
            reports: Vec::new(),
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
        let order = self.order_same_key(peer, key);
        self.key(order)
    }

    pub(crate) fn order_same_key(&mut self, peer: &str, key: &str) -> OrderId {
        let order = self.next_order();
        let message = EngineToQkd::SameKey {
            order,
            peer: SaeId::try_from(peer).unwrap(),
            key: KeyId::try_from(key).unwrap(),
        };
        self.engine.send(&message).unwrap();
        order
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
        let (order, outcome) = self.replied();
        (order, outcome.map(|(key, _)| key))
    }

    /// The next reply with its key.
    pub(crate) fn replied(&mut self) -> (OrderId, Result<(KeyId, Secret), QkdRefusal>) {
        loop {
            let received = expect(&mut self.engine);
            match received.message {
                QkdToEngine::Key { order, key } => {
                    let secret = received.secret.expect("a secret beside it");
                    return (order, Ok((key, secret)));
                }
                QkdToEngine::Refused { order, reason } => return (order, Err(reason)),
                QkdToEngine::Stream { peer, stream } => self.streams.push((peer, stream)),
                QkdToEngine::Link(report) => self.reports.push(*report),
            }
        }
    }

    /// Waits for a stream that is opened.
    pub(crate) fn stream(&mut self) -> StreamName {
        loop {
            match expect(&mut self.engine).message {
                QkdToEngine::Stream { stream, .. } => return stream,
                QkdToEngine::Link(report) => self.reports.push(*report),
                other @ (QkdToEngine::Key { .. } | QkdToEngine::Refused { .. }) => {
                    panic!("{other:?} and no stream")
                }
            }
        }
    }

    /// Waits for a report that is like this.
    pub(crate) fn report(&mut self, is_it: impl Fn(&LinkReport) -> bool) -> LinkReport {
        loop {
            if let Some(report) = self.reports.iter().find(|report| is_it(report)) {
                return report.clone();
            }
            match expect(&mut self.engine).message {
                QkdToEngine::Link(report) => self.reports.push(*report),
                other @ (QkdToEngine::Key { .. }
                | QkdToEngine::Refused { .. }
                | QkdToEngine::Stream { .. }) => panic!("{other:?} and no report"),
            }
        }
    }

    /// Takes what comes beside replies for so long.
    pub(crate) fn stream_or_rest(&mut self, rest: Duration) {
        let until = Instant::now() + rest;
        while let Some(Ok(received)) = next(&mut self.engine, until) {
            match received.message {
                QkdToEngine::Stream { peer, stream } => self.streams.push((peer, stream)),
                QkdToEngine::Link(report) => self.reports.push(*report),
                other @ (QkdToEngine::Key { .. } | QkdToEngine::Refused { .. }) => {
                    panic!("{other:?} without an order")
                }
            }
        }
    }

    pub(crate) fn say(&mut self, message: &EngineToQkd) {
        self.engine.send(message).unwrap();
    }

    /// Closes the engine's end.
    pub(crate) fn hang_up(&mut self) {
        self.engine = Channel::pair().unwrap().0;
    }

    fn key(&mut self, asked: OrderId) -> Result<(KeyId, Secret), QkdRefusal> {
        let (order, outcome) = self.replied();
        assert_eq!(order, asked);
        outcome
    }

    fn next_order(&mut self) -> OrderId {
        self.last = OrderId(self.last.0 + 1);
        self.last
    }
}
