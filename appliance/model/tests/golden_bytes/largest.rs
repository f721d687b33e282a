//! The longest messages that the rules of their types allow stay within their edges' caps.

use core::time::Duration;
use std::net::{SocketAddr, SocketAddrV6};

use bartizan_model::config::KmeInterface;
use bartizan_model::ids::{
    EditId, EntryName, Epoch, KeyId, KmeText, NodeId, Nonce, OrderId, Reqid, SaeId, Spi, TunnelId,
};
use bartizan_model::message::{
    Answer, ControlToEngine, Edge, EditRefusal, EngineToControl, EngineToPeer, EngineToQkd,
    EngineToXfrm, FromTpm, Offer, PeerLink, PeerMessage, PeerToEngine, QkdToEngine,
    RoleToSupervisor, SUPERVISOR_CAP, SaId, SaInstall, SaListed, Side, Stage, Standing,
    XfrmToEngine,
};
use bartizan_model::policy::{
    Action, KemSource, Keying, Lifetime, Need, ParameterSet, Policy, Prefix, Protect, QkdPriority,
    QkdSource, TrafficSelector,
};
use bartizan_model::report::{
    Alarm, Latency, LinkCounts, LinkReason, LinkReport, LinkState, Mix, Notice, PairReport,
    QkdRefusal, TunnelReport,
};
use bartizan_model::time::BootTime;
use serde::Serialize;

use crate::parts;

/// `ControlToEngine::Lease`, `PeerMessage::Lease`, `FromTpm::Signature`, `XfrmToEngine::Listed` and
/// `PeerMessage::Resume` say how many.
const LEASE_FROM_CONTROL: usize = 8 * 1024;
const LEASE_FROM_PEER: usize = 6 * 1024;
const SIGNATURE: usize = 72;
const LISTED: usize = 32;
const STANDING: usize = 6;

#[test]
fn the_longest_message_of_every_direction_fits() {
    for message in [
        ControlToEngine::Lease(vec![1; LEASE_FROM_CONTROL]),
        ControlToEngine::Put(Box::new(policy())),
        ControlToEngine::Remove(entry()),
    ] {
        fits(&message, Edge::ControlEngine.cap());
    }
    for message in [
        EngineToControl::EditRefused {
            edit: EditId(u64::MAX),
            entry: entry(),
            reason: EditRefusal::NotBegun,
        },
        EngineToControl::Tunnel(Box::new(tunnel_report())),
        EngineToControl::Notice(Box::new(Notice::Established {
            entry: entry(),
            pair: pair_report(),
            mix: Mix {
                parameter_set: Some(ParameterSet::MlKem1024),
                ..mix()
            },
        })),
    ] {
        fits(&message, Edge::ControlEngine.cap());
    }
    for message in [
        EngineToXfrm::InstallPolicy {
            order: OrderId(u64::MAX),
            policy: Box::new(policy()),
        },
        EngineToXfrm::InstallSa {
            order: OrderId(u64::MAX),
            sa: Box::new(sa_install()),
        },
    ] {
        fits(&message, Edge::EngineXfrm.cap());
    }
    let listed = XfrmToEngine::Listed {
        order: OrderId(u64::MAX),
        sas: vec![sa_listed(); LISTED],
        last: false,
    };
    fits(&listed, Edge::EngineXfrm.cap());
    for message in peer_messages() {
        let sent = EngineToPeer::Send {
            to: node(),
            message: Box::new(message.clone()),
        };
        fits(&sent, Edge::EnginePeer.cap());
        let received = PeerToEngine::Received {
            from: node(),
            message: Box::new(message),
        };
        fits(&received, Edge::EnginePeer.cap());
    }
    let link = EngineToPeer::Link(PeerLink {
        node: node(),
        address: address(),
        dials: true,
    });
    fits(&link, Edge::EnginePeer.cap());
    let same_key = EngineToQkd::SameKey {
        order: OrderId(u64::MAX),
        peer: sae(),
        key: key_id(),
    };
    fits(&same_key, Edge::EngineQkd.cap());
    let key = QkdToEngine::Key {
        order: OrderId(u64::MAX),
        key: key_id(),
    };
    fits(&key, Edge::EngineQkd.cap());
    let link = QkdToEngine::Link(Box::new(link_report()));
    fits(&link, Edge::EngineQkd.cap());
    let signature = FromTpm::Signature {
        order: OrderId(u64::MAX),
        signature: vec![1; SIGNATURE],
    };
    fits(&signature, Edge::ControlTpm.cap());
    let part = FromTpm::LogPart {
        order: OrderId(u64::MAX),
        bytes: vec![1; 8 * 1024],
        size: u32::MAX,
    };
    fits(&part, Edge::ControlTpm.cap());
    let tunnel = RoleToSupervisor::Tunnel(Box::new(tunnel_report()));
    fits(&tunnel, SUPERVISOR_CAP);
}

fn fits(message: &impl Serialize, cap: usize) {
    let len = postcard::to_allocvec(message).unwrap().len();
    assert!(len <= cap, "{len} bytes pass the cap of {cap}");
}

fn peer_messages() -> [PeerMessage; 4] {
    let set = ParameterSet::MlKem1024;
    let standing = Standing {
        epoch: Epoch(u64::MAX),
        stage: Stage::Draining,
        inbound: Some(spi()),
        outbound: Some(spi()),
        seconds: u64::MAX,
    };
    [
        PeerMessage::Lease(vec![1; LEASE_FROM_PEER]),
        PeerMessage::Resume {
            tunnel: TunnelId(u32::MAX),
            last: Epoch(u64::MAX),
            generations: vec![standing; STANDING],
            reply: true,
        },
        PeerMessage::Offer(Box::new(Offer {
            tunnel: TunnelId(u32::MAX),
            epoch: Epoch(u64::MAX),
            side: Side::Initiator,
            nonce: Nonce([1; 32]),
            spi: spi(),
            sources: parts::both(),
            encapsulation_key: vec![1; set.encapsulation_key_len()],
            public_key: Vec::new(),
            qkd_key: Some(key_id()),
        })),
        PeerMessage::Answer(Box::new(Answer {
            tunnel: TunnelId(u32::MAX),
            epoch: Epoch(u64::MAX),
            side: Side::Responder,
            nonce: Nonce([1; 32]),
            spi: spi(),
            sources: parts::both(),
            ciphertext: vec![1; set.ciphertext_len()],
            public_key: Vec::new(),
            qkd_key: Some(key_id()),
        })),
    ]
}

fn link_report() -> LinkReport {
    LinkReport {
        kme: node(),
        peer: sae(),
        interface: KmeInterface::Etsi004Json,
        state: LinkState::Refused,
        reason: Some(LinkReason::Stale),
        said: Some("x".repeat(KmeText::MAX).try_into().unwrap()),
        stored_keys: Some(u32::MAX),
        prefetched: u32::MAX,
        rate: Some(u32::MAX),
        latency: Some(Latency {
            p50: u32::MAX,
            p99: u32::MAX,
        }),
        counts: LinkCounts {
            given: u64::MAX,
            failed: u64::MAX,
            zero: u64::MAX,
            repeated: u64::MAX,
            short: u64::MAX,
            out_of_order: u64::MAX,
            unused: u64::MAX,
            wasted: u64::MAX,
        },
    }
}

fn policy() -> Policy {
    let mut policy = parts::policy();
    let Action::Protect(protect) = policy.action else {
        panic!("the sample protects");
    };
    policy.action = Action::Protect(Box::new(Protect {
        local: parts::v6(),
        remote: parts::v6(),
        replay_window: u32::MAX,
        keying: Keying {
            tunnel: TunnelId(u32::MAX),
            peer: node(),
            peer_address: address(),
            qkd: Some(QkdSource {
                need: Need::Optional,
                peer_sae: sae(),
                priority: QkdPriority::DEFAULT,
                minimum: u32::MAX,
            }),
            kem: Some(KemSource {
                need: Need::Optional,
                parameter_set: ParameterSet::MlKem1024,
            }),
            soft: lifetime(),
            hard: lifetime(),
            ..protect.keying
        },
        ..*protect
    }));
    Policy {
        name: entry(),
        priority: u32::MAX,
        reqid: reqid(),
        selector: selector(),
        ..policy
    }
}

fn sa_install() -> SaInstall {
    SaInstall {
        id: sa_id(),
        reqid: reqid(),
        selector: selector(),
        replay_window: u32::MAX,
        soft: lifetime(),
        hard: lifetime(),
        ..parts::sa_install()
    }
}

fn sa_listed() -> SaListed {
    SaListed {
        id: sa_id(),
        reqid: u32::MAX,
        age: u64::MAX,
        remaining: Some(u64::MAX),
        ..parts::sa_listed()
    }
}

fn tunnel_report() -> TunnelReport {
    TunnelReport {
        entry: entry(),
        tunnel: TunnelId(u32::MAX),
        peer: node(),
        reqid: reqid(),
        current: Some(pair_report()),
        rekeys: u64::MAX,
        alarm: Some(Alarm::Qkd(QkdRefusal::LockedMemory)),
        ..parts::tunnel_report()
    }
}

fn pair_report() -> PairReport {
    PairReport {
        epoch: Epoch(u64::MAX),
        inbound: spi(),
        outbound: spi(),
        since: BootTime(Duration::MAX),
        ..parts::pair_report()
    }
}

fn mix() -> Mix {
    Mix {
        sources: parts::both(),
        parameter_set: None,
        combiner: bartizan_model::policy::Combiner::Xor,
    }
}

fn selector() -> TrafficSelector {
    TrafficSelector {
        local: Prefix::host(parts::v6()),
        remote: Prefix::host(parts::v6()),
        protocol: Some(u8::MAX),
        local_port: Some(u16::MAX),
        remote_port: Some(u16::MAX),
    }
}

fn lifetime() -> Lifetime {
    Lifetime {
        seconds: Some(u64::MAX),
        bytes: Some(u64::MAX),
        packets: Some(u64::MAX),
    }
}

fn sa_id() -> SaId {
    SaId {
        spi: spi(),
        destination: parts::v6(),
    }
}

fn address() -> SocketAddr {
    let std::net::IpAddr::V6(v6) = parts::v6() else {
        panic!("the sample is IPv6");
    };
    SocketAddr::V6(SocketAddrV6::new(v6, u16::MAX, u32::MAX, u32::MAX))
}

fn spi() -> Spi {
    Spi::try_from(u32::MAX).unwrap()
}

fn reqid() -> Reqid {
    Reqid::try_from(u32::MAX).unwrap()
}

/// Of bytes, not characters, there are as many.
fn entry() -> EntryName {
    EntryName::try_from("e".repeat(EntryName::MAX)).unwrap()
}

fn node() -> NodeId {
    NodeId::try_from("n".repeat(NodeId::MAX)).unwrap()
}

fn sae() -> SaeId {
    SaeId::try_from("s".repeat(SaeId::MAX)).unwrap()
}

fn key_id() -> KeyId {
    KeyId::try_from("k".repeat(KeyId::MAX)).unwrap()
}
