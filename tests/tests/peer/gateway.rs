//! Gateways for the tests: the peer role as a real process, the test as its engine.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use bartizan_model::config::{PeerConfig, RoleConfig};
use bartizan_model::ids::{Epoch, NodeId, Thumbprint, TunnelId};
use bartizan_model::message::{Edge, EngineToPeer, PeerLink, PeerMessage, PeerToEngine};
use bartizan_model::time::{KnownTime, OwnerMoment};
use bartizan_process::{Channel, boot_time};
use bartizan_tests::pki::{Authority, Certified};
use bartizan_tests::played::{PATIENCE, Played, PlayedTpm, expect, flush, next};
use bartizan_tests::testbed::process::readable;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

/// The owner's time, in seconds since 1970: of the year 2026.
const NOW: u64 = 1_795_000_000;

/// Who certifies the nodes.
pub(crate) struct Owner {
    pub(crate) authority: Authority,
}

/// One gateway's peer role.
pub(crate) struct Gateway {
    pub(crate) role: Played,
    pub(crate) engine: Channel<PeerToEngine, EngineToPeer>,
    pub(crate) tpm: PlayedTpm,
    pub(crate) address: SocketAddr,
    pub(crate) certified: Certified,
    node: NodeId,
    key: Thumbprint,
}

impl Owner {
    pub(crate) fn new() -> Self {
        Self {
            authority: Authority::new("Owner"),
        }
    }

    pub(crate) fn gateway(&self, name: &str) -> Gateway {
        self.gateway_at(name, free_address())
    }

    pub(crate) fn gateway_at(&self, name: &str, address: SocketAddr) -> Gateway {
        let certified = self.authority.issue(&[name]);
        let mut role = Played::start("bartizan-peer");
        let engine = role.grant(Edge::EnginePeer);
        let tpm = PlayedTpm::start(role.grant(Edge::PeerTpm), certified.key());
        // As the first lease of a boot shows it, without which no peer role is started.
        role.learn(KnownTime {
            floor: 0,
            owner: Some(OwnerMoment {
                seconds: NOW,
                at: boot_time(),
            }),
        });
        role.begin(RoleConfig::Peer(PeerConfig {
            node: node(name),
            listen: vec![address],
            anchors: vec![self.authority.anchor()],
            chain: certified.chain().to_vec(),
        }));
        let deadline = Instant::now() + PATIENCE;
        while !listens(address) {
            assert!(Instant::now() < deadline, "{name} does not listen");
            // It says nothing to its engine yet; its end would wake us.
            readable(&engine, Instant::now() + Duration::from_millis(5));
        }
        Gateway {
            role,
            engine,
            tpm,
            address,
            node: node(name),
            key: thumbprint(&certified),
            certified,
        }
    }

    /// Two gateways with a link between them: gw-a dials.
    pub(crate) fn pair(&self) -> (Gateway, Gateway) {
        let (mut a, mut b) = (self.gateway("gw-a"), self.gateway("gw-b"));
        b.link_to("gw-a", &a, false);
        a.link_to("gw-b", &b, true);
        (a, b)
    }
}

impl Gateway {
    /// The engine wants a link with this node, at the other's address.
    pub(crate) fn link_to(&mut self, name: &str, other: &Self, dials: bool) {
        self.link(name, other.address, dials);
    }

    pub(crate) fn link(&mut self, name: &str, address: SocketAddr, dials: bool) {
        let node = node(name);
        self.order(&EngineToPeer::Link(PeerLink {
            node,
            address,
            dials,
        }));
    }

    pub(crate) fn order(&mut self, order: &EngineToPeer) {
        self.engine.send(order).unwrap();
        flush(&mut self.engine);
    }

    pub(crate) fn say(&mut self, to: &str, message: PeerMessage) {
        let (to, message) = (node(to), Box::new(message));
        self.order(&EngineToPeer::Send { to, message });
    }

    /// What the engine is told next.
    pub(crate) fn heard(&mut self) -> PeerToEngine {
        expect(&mut self.engine).message
    }

    /// Waits for a link; with whom.
    pub(crate) fn connected(&mut self) -> (NodeId, Thumbprint) {
        let event = self.heard();
        let PeerToEngine::Connected { node, ldevid } = event else {
            panic!("{event:?}");
        };
        (node, ldevid)
    }

    pub(crate) fn disconnected(&mut self, name: &str) {
        assert_eq!(self.heard(), PeerToEngine::Disconnected(node(name)));
    }

    /// Whether the engine was told nothing so far.
    pub(crate) fn hears_nothing(&mut self) -> bool {
        next(&mut self.engine, Instant::now() + Duration::from_millis(1)).is_none()
    }

    /// Who it is, as the other end's engine is told.
    pub(crate) fn identity(&self) -> (NodeId, Thumbprint) {
        (self.node.clone(), self.key)
    }

    /// Closes the engine's end.
    pub(crate) fn hang_up(&mut self) {
        self.engine = Channel::pair().unwrap().0;
    }

    /// Its memory in use, in bytes.
    pub(crate) fn resident(&self) -> usize {
        let pid = self.role.pid().as_raw_nonzero();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<usize>().unwrap() * 1024
    }
}

pub(crate) fn node(name: &str) -> NodeId {
    NodeId::try_from(name).unwrap()
}

/// A small message that can be told from others.
pub(crate) fn switched(epoch: u64) -> PeerMessage {
    PeerMessage::Switched {
        tunnel: TunnelId(1),
        epoch: Epoch(epoch),
    }
}

/// A large one.
pub(crate) fn lease(length: usize) -> PeerMessage {
    PeerMessage::Lease(vec![0x5a; length])
}

pub(crate) fn heard(from: &str, message: PeerMessage) -> PeerToEngine {
    let (from, message) = (node(from), Box::new(message));
    PeerToEngine::Received { from, message }
}

fn thumbprint(certified: &Certified) -> Thumbprint {
    let leaf = Certificate::from_der(&certified.chain()[0].0).unwrap();
    let key = leaf.tbs_certificate().subject_public_key_info().to_der();
    let sha256 = digest(&SHA256, &key.unwrap());
    Thumbprint(sha256.as_ref().try_into().unwrap())
}

/// Whether any process listens at this address.
fn listens(address: SocketAddr) -> bool {
    let SocketAddr::V4(address) = address else {
        panic!("not an IPv4 address");
    };
    let ip = u32::from_ne_bytes(address.ip().octets());
    let listening = format!(" {ip:08X}:{:04X} 00000000:0000 0A ", address.port());
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    sockets.contains(&listening)
}

/// A loopback address that no other gateway of these tests has.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let last = NEXT.fetch_add(1, Ordering::Relaxed);
    (Ipv4Addr::new(127, high.saturating_add(1), low, last), 9061).into()
}
