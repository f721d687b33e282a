//! How long one key takes from the word that it is due until it protects, in two gateways.
//!
//! `cargo build --release --workspace --bins && cargo bench -p bartizan-tests --bench hybrid`, as root;
//! with `-- --json` one object a line. Real are the engine, peer and qkd roles of both gateways, locked
//! down, in processes of their own, their TLS over loopback, and two KME simulators. Played are the
//! supervisor and control, the TPM, which signs at handshakes alone, and xfrm: it says at once that an
//! order is carried out, so `install` is the way to it and back without the kernel's part, which the
//! bench `xfrm` measures.
//!
//! A key is due when the kernel reports the soft end of the SA before it. `agree` lasts until the
//! initiator orders its inbound SA, when both ends have confirmed the key; `install` until its
//! outbound SA stands and the controller is told.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use bartizan_evidence::lease::{Claims, OwnerTime, Status, thumbprint};
use bartizan_model::config::{
    EngineConfig, Groups, KmeConfig, KmeInterface, KmeTransport, PeerConfig, QkdConfig, RoleConfig,
};
use bartizan_model::ids::{EditId, EntryName, NodeId, TunnelId};
use bartizan_model::message::{
    ControlToEngine, Edge, EngineToControl, EngineToXfrm, SaId, XfrmToEngine,
};
use bartizan_model::policy::{
    Action, Combiner, Dial, Direction, DontFragment, KemSource, Keying, Lifetime, Mode, Need,
    ParameterSet, Policy, Prefix, Protect, QkdPriority, QkdSource, Suite, TrafficSelector,
};
use bartizan_model::report::Notice;
use bartizan_model::time::{KnownTime, OwnerMoment};
use bartizan_process::{Channel, boot_time, socket_pair};
use bartizan_signer::Signer;
use bartizan_tests::kme::{self, Kme, Options, Pace};
use bartizan_tests::pki::{Authority, Certified};
use bartizan_tests::played::{PATIENCE, Played, PlayedTpm};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::pki_types::PrivatePkcs8KeyDer;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

/// The owner's time, in seconds since 1970: of the year 2026.
const NOW: u64 = 1_795_000_000;

const NODES: [&str; 2] = ["gw-a.example", "gw-b.example"];

const SAES: [&str; 2] = ["sae-a", "sae-b"];

/// How many tunnels are keyed at once, and how many in all.
const STEPS: [(usize, usize); 3] = [(1, 150), (10, 300), (50, 550)];

const TUNNELS: u32 = 1000;

/// Until the generations of before are gone and every tunnel may rekey again.
const SETTLED: Duration = Duration::from_secs(9);

/// What a key is made of.
struct Mix {
    name: &'static str,
    qkd: bool,
    kem: bool,
    combiner: Combiner,
}

const MIXES: [Mix; 5] = [
    mix("QKD", true, false, Combiner::Hmac),
    mix("ML-KEM-768", false, true, Combiner::Hmac),
    mix("QKD+ML-KEM-768 hmac", true, true, Combiner::Hmac),
    mix("QKD+ML-KEM-768 xor", true, true, Combiner::Xor),
    mix("QKD+ML-KEM-768 xorhmac", true, true, Combiner::XorHmac),
];

const fn mix(name: &'static str, qkd: bool, kem: bool, combiner: Combiner) -> Mix {
    Mix {
        name,
        qkd,
        kem,
        combiner,
    }
}

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    if !json {
        println!("one key, in ms: p50/p99 of agree, install and total");
        println!(
            "mix                     at once   keys/s      agree        install        total   signatures"
        );
    }
    for mix in &MIXES {
        let mut site = Site::start(mix);
        let mut from = 0;
        for (at_once, count) in STEPS {
            let signed = site.signatures();
            let tunnels = from..from + u32::try_from(count).expect("a small number");
            from = tunnels.end;
            let begun = Instant::now();
            let times = site.rekey(tunnels, at_once);
            let rate = count * 1_000_000
                / usize::try_from(begun.elapsed().as_micros()).expect("a short time");
            let signed = site.signatures() - signed;
            let [agree, install, total] = [
                figures(times.iter().map(|(agree, _)| *agree)),
                figures(times.iter().map(|(_, install)| *install)),
                figures(times.iter().map(|(agree, install)| *agree + *install)),
            ];
            if json {
                println!(
                    "{}",
                    serde_json::json!({
                        "mix": mix.name, "at-once": at_once, "keys": count, "keys-per-second": rate,
                        "agree-us": agree, "install-us": install, "total-us": total,
                        "tpm-signatures": signed,
                    })
                );
            } else {
                let [agree, install, total] = [agree, install, total].map(shown);
                println!(
                    "{:23} {at_once:7} {rate:8}   {agree:>14} {install:>14} {total:>14} {signed:8}",
                    mix.name
                );
            }
        }
    }
}

/// The median and the 99th percentile, in microseconds.
fn figures(times: impl Iterator<Item = Duration>) -> [u128; 2] {
    let mut times: Vec<u128> = times.map(|time| time.as_micros()).collect();
    times.sort_unstable();
    [
        times[times.len() / 2],
        times[(times.len() * 99 / 100).min(times.len() - 1)],
    ]
}

fn shown([p50, p99]: [u128; 2]) -> String {
    let part = |micros: u128| format!("{}.{:02}", micros / 1000, micros % 1000 / 10);
    format!("{}/{}", part(p50), part(p99))
}

/// One gateway: three roles, and the ends of its engine that the bench plays.
struct Gateway {
    control: Channel<EngineToControl, ControlToEngine>,
    xfrm: Channel<EngineToXfrm, XfrmToEngine>,
    engine: Played,
    _peer: Played,
    _qkd: Played,
    tpms: [PlayedTpm; 2],
    /// The SA that sends, by tunnel.
    outbound: BTreeMap<u32, SaId>,
}

struct Site {
    gateways: [Gateway; 2],
    _kmes: [Kme; 2],
    begun: BTreeMap<u32, Instant>,
    confirmed: BTreeMap<u32, Instant>,
    done: Vec<(Duration, Duration)>,
}

impl Site {
    /// Brings both gateways up with every tunnel established.
    fn start(mix: &Mix) -> Self {
        let (owner, kmes_ca, saes) = (
            Authority::new("Owner"),
            Authority::new("KMEs"),
            Authority::new("SAEs"),
        );
        let signer = Signer::generate().expect("a verifier's keys");
        let kmes = ["kme-a", "kme-b"].map(|name| kme(name, &kmes_ca, &saes));
        let certified = NODES.map(|name| owner.issue(&[name]));
        let mut gateways = [0, 1].map(|who| {
            Gateway::start(
                who,
                &owner,
                &certified[who],
                &signer,
                &saes,
                &kmes_ca,
                &kmes[who],
            )
        });
        for (who, gateway) in gateways.iter_mut().enumerate() {
            gateway.steer(who, mix);
        }
        let mut site = Self {
            gateways,
            _kmes: kmes,
            begun: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            done: Vec::new(),
        };
        let all = usize::try_from(TUNNELS).expect("a small number");
        let deadline = Instant::now() + PATIENCE;
        while site
            .gateways
            .iter()
            .any(|gateway| gateway.outbound.len() < all)
        {
            assert!(Instant::now() < deadline, "not every tunnel stands");
            site.turn(deadline);
        }
        let settled = Instant::now() + SETTLED;
        while Instant::now() < settled {
            site.turn(settled);
        }
        site
    }

    /// Rekeys each of these tunnels once, so many at a time; how long agreement and installation took.
    fn rekey(
        &mut self,
        mut tunnels: core::ops::Range<u32>,
        at_once: usize,
    ) -> Vec<(Duration, Duration)> {
        let deadline = Instant::now() + PATIENCE;
        let count = tunnels.len();
        while self.done.len() < count {
            assert!(Instant::now() < deadline, "not every key came");
            while self.begun.len() < at_once
                && let Some(tunnel) = tunnels.next()
            {
                let tunnel = tunnel + 1;
                let sa = self.gateways[0].outbound[&tunnel];
                self.begun.insert(tunnel, Instant::now());
                let expired = XfrmToEngine::Expired {
                    sa,
                    reqid: tunnel,
                    hard: false,
                };
                self.gateways[0]
                    .xfrm
                    .send(&expired)
                    .expect("a gateway that runs");
            }
            self.turn(deadline);
        }
        core::mem::take(&mut self.done)
    }

    fn signatures(&self) -> usize {
        let gateways = self.gateways.iter();
        gateways
            .flat_map(|gateway| &gateway.tpms)
            .map(PlayedTpm::signatures)
            .sum()
    }

    /// Takes in what the engines say, and waits if that is nothing.
    fn turn(&mut self, until: Instant) {
        let mut idle = true;
        for who in [0, 1] {
            while let Some(received) = self.gateways[who].xfrm.recv().expect("a gateway that runs")
            {
                idle = false;
                if let EngineToXfrm::InstallSa { sa, .. } = &received.message
                    && who == 0
                    && sa.direction == Direction::Inbound
                {
                    let tunnel = u32::from(sa.reqid);
                    if self.begun.contains_key(&tunnel) {
                        self.confirmed.insert(tunnel, Instant::now());
                    }
                }
                let reply = done(&received.message);
                self.gateways[who]
                    .xfrm
                    .send(&reply)
                    .expect("a gateway that runs");
            }
            while let Some(received) = self.gateways[who]
                .control
                .recv()
                .expect("a gateway that runs")
            {
                idle = false;
                if let EngineToControl::Notice(notice) = received.message {
                    self.noticed(who, &notice);
                }
            }
            self.gateways[who]
                .xfrm
                .flush()
                .expect("a gateway that runs");
            self.gateways[who]
                .control
                .flush()
                .expect("a gateway that runs");
        }
        if idle {
            self.rest(until);
        }
    }

    fn noticed(&mut self, who: usize, notice: &Notice) {
        let Notice::Established { entry, pair, .. } = notice else {
            // While a thousand come up at once some are told to try again.
            let alarm = matches!(notice, Notice::Alarm { .. });
            assert!(!alarm || self.begun.is_empty(), "{notice:?}");
            return;
        };
        let (_, tunnel) = entry
            .as_str()
            .split_once('/')
            .expect("a name of this bench");
        let tunnel: u32 = tunnel.parse().expect("a number");
        let sa = SaId {
            spi: pair.outbound,
            destination: outer(1 - who),
        };
        self.gateways[who].outbound.insert(tunnel, sa);
        if who == 0
            && let Some(begun) = self.begun.remove(&tunnel)
        {
            let confirmed = self.confirmed.remove(&tunnel).expect("an SA before");
            self.done.push((confirmed - begun, confirmed.elapsed()));
        }
    }

    fn rest(&self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).expect("a short time");
        let mut waited_for: Vec<_> = self
            .gateways
            .iter()
            .flat_map(|gateway| {
                let events = |wants_write| {
                    if wants_write {
                        PollFlags::IN | PollFlags::OUT
                    } else {
                        PollFlags::IN
                    }
                };
                [
                    PollFd::new(&gateway.control, events(gateway.control.wants_write())),
                    PollFd::new(&gateway.xfrm, events(gateway.xfrm.wants_write())),
                ]
            })
            .collect();
        poll(&mut waited_for, Some(&left)).expect("wait for the gateways");
    }
}

impl Gateway {
    fn start(
        who: usize,
        owner: &Authority,
        certified: &Certified,
        signer: &Signer,
        saes: &Authority,
        kmes: &Authority,
        kme: &Kme,
    ) -> Self {
        let time = KnownTime {
            floor: NOW,
            owner: Some(OwnerMoment {
                seconds: NOW,
                at: boot_time(),
            }),
        };
        let [mut engine, mut peer, mut qkd] =
            ["bartizan-engine", "bartizan-peer", "bartizan-qkd"].map(Played::start);
        let sae = saes.issue(&[SAES[who]]);
        let tpms = [
            PlayedTpm::start(peer.grant(Edge::PeerTpm), certified.key()),
            PlayedTpm::start(qkd.grant(Edge::QkdTpm), sae.key()),
        ];
        let mut control = engine.grant(Edge::ControlEngine);
        let mut xfrm = engine.grant(Edge::EngineXfrm);
        let (to_peer, of_peer) = socket_pair().expect("a socketpair");
        let (to_qkd, of_qkd) = socket_pair().expect("a socketpair");
        peer.hand(Edge::EnginePeer, of_peer);
        qkd.hand(Edge::EngineQkd, of_qkd);
        for role in [&mut engine, &mut peer, &mut qkd] {
            role.learn(time);
        }
        let leaf = Certificate::from_der(&certified.chain()[0].0).expect("a certificate");
        let key = leaf.tbs_certificate().subject_public_key_info().to_der();
        let ldevid = thumbprint(&key.expect("a key"));
        engine.begin(RoleConfig::Engine(Box::new(EngineConfig {
            node: node(who),
            ldevid,
            verifier: signer.public_keys(),
        })));
        peer.begin(RoleConfig::Peer(PeerConfig {
            node: node(who),
            listen: vec![(outer(who), 9061).into()],
            anchors: vec![owner.anchor()],
            chain: certified.chain().to_vec(),
        }));
        qkd.begin(RoleConfig::Qkd(QkdConfig {
            kmes: vec![KmeConfig {
                address: kme.address(),
                name: "kme.example".try_into().expect("a name"),
                anchors: vec![kmes.anchor()],
                sae: SAES[who].try_into().expect("a name"),
                chain: sae.chain().to_vec(),
                groups: Groups::HybridOnly,
                interface: KmeInterface::Etsi014,
                transport: KmeTransport::Tls,
                link: None,
                least_rate: 0,
            }],
        }));
        let list = bartizan_tests::played::expect(&mut xfrm).message;
        xfrm.send(&done(&list)).expect("an engine that runs");
        let said = bartizan_tests::played::expect(&mut control).message;
        let EngineToControl::LeaseNonce(nonce) = said else {
            panic!("no nonce: {said:?}");
        };
        let claims = Claims {
            node: node(who),
            ldevid,
            nonce,
            issued: OwnerTime(NOW),
            expires: OwnerTime(NOW).after(Duration::from_mins(5)),
            status: Status::Affirming,
        };
        let lease = signer.sign(&claims.encode()).expect("a lease");
        control
            .send(&ControlToEngine::Lease(lease))
            .expect("an engine that runs");
        let said = bartizan_tests::played::expect(&mut control).message;
        assert!(
            matches!(said, EngineToControl::LeaseAccepted(_)),
            "{said:?}"
        );
        engine.hand(Edge::EnginePeer, to_peer);
        engine.hand(Edge::EngineQkd, to_qkd);
        Self {
            control,
            xfrm,
            engine,
            _peer: peer,
            _qkd: qkd,
            tpms,
            outbound: BTreeMap::new(),
        }
    }

    /// Orders every tunnel.
    fn steer(&mut self, who: usize, mix: &Mix) {
        assert!(self.engine.runs());
        let edit = EditId(1);
        let mut orders = vec![ControlToEngine::BeginEdit(edit)];
        for tunnel in 1..=TUNNELS {
            let entries =
                entries(who, tunnel, mix).map(|entry| ControlToEngine::Put(Box::new(entry)));
            orders.extend(entries);
        }
        orders.push(ControlToEngine::CommitEdit(edit));
        for order in orders {
            self.control.send(&order).expect("an engine that runs");
        }
        bartizan_tests::played::flush(&mut self.control);
    }
}

/// What xfrm answers in a kernel that takes everything.
fn done(order: &EngineToXfrm) -> XfrmToEngine {
    match order {
        EngineToXfrm::ListSas { order } => XfrmToEngine::Listed {
            order: *order,
            sas: Vec::new(),
            last: true,
        },
        EngineToXfrm::InstallPolicy { order, .. }
        | EngineToXfrm::RemovePolicy { order, .. }
        | EngineToXfrm::RemoveOtherPolicies { order }
        | EngineToXfrm::InstallSa { order, .. }
        | EngineToXfrm::ExtendSa { order, .. }
        | EngineToXfrm::RemoveSa { order, .. }
        | EngineToXfrm::RemoveAllSas { order } => XfrmToEngine::Done(*order),
    }
}

fn kme(name: &str, kmes: &Authority, saes: &Authority) -> Kme {
    let certified = kmes.issue(&["kme.example"]);
    let chain = certified.chain().iter();
    Kme::start(Options {
        listen: "127.0.0.1:0".parse().expect("an address"),
        name: name.to_owned(),
        target: "the-other".to_owned(),
        chain: chain.map(|der| der.0.clone().into()).collect(),
        key: PrivatePkcs8KeyDer::from(certified.key().to_vec()).into(),
        client_anchors: vec![saes.anchor().0.into()],
        seed: 7,
        pace: Pace {
            rate: 10_000,
            capacity: 100_000,
            outages: None,
        },
        groups: kme::Groups::Hybrid,
        doors: Vec::new(),
        rendezvous: None,
        hops: 0,
        control: None,
    })
    .expect("a KME")
}

fn node(who: usize) -> NodeId {
    NODES[who].try_into().expect("a name")
}

/// A gateway's address towards the other.
fn outer(who: usize) -> IpAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let last = [1, 2][who];
    Ipv4Addr::new(127, high.saturating_add(1), low, last).into()
}

/// Both entries of one end.
fn entries(who: usize, tunnel: u32, mix: &Mix) -> [Policy; 2] {
    let [_, _, high, low] = tunnel.to_be_bytes();
    let net = |side: u8| {
        let address = Ipv4Addr::new(10 + side, high, low, 0);
        Prefix::new(address.into(), 24).expect("a prefix")
    };
    let (local, remote) = if who == 0 {
        (net(0), net(1))
    } else {
        (net(1), net(0))
    };
    let lifetime = |seconds| Lifetime {
        seconds: Some(seconds),
        ..Lifetime::default()
    };
    let protect = Protect {
        mode: Mode::Tunnel,
        local: outer(who),
        remote: outer(1 - who),
        df: DontFragment::Clear,
        suite: Suite::AesGcm256,
        replay_window: 4096,
        keying: Keying {
            tunnel: TunnelId(tunnel),
            peer: node(1 - who),
            peer_address: (outer(1 - who), 9061).into(),
            dial: Dial::Lower,
            qkd: mix.qkd.then(|| QkdSource {
                need: Need::Required,
                peer_sae: SAES[1 - who].try_into().expect("a name"),
                priority: QkdPriority::DEFAULT,
                minimum: 0,
            }),
            kem: mix.kem.then_some(KemSource {
                need: Need::Required,
                parameter_set: ParameterSet::MlKem768,
            }),
            classical: None,
            combiner: mix.combiner,
            soft: lifetime(2400),
            hard: lifetime(3600),
        },
    };
    [Direction::Outbound, Direction::Inbound].map(|direction| Policy {
        name: EntryName::try_from(format!("{direction:?}/{tunnel}")).expect("a name"),
        priority: 1000 + tunnel,
        direction,
        reqid: tunnel.try_into().expect("a reqid"),
        selector: TrafficSelector {
            local,
            remote,
            protocol: None,
            local_port: None,
            remote_port: None,
        },
        action: Action::Protect(Box::new(protect.clone())),
    })
}
