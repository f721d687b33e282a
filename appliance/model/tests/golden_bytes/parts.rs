//! What the samples are made of.

use core::time::Duration;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bartizan_model::config::KmeInterface;
use bartizan_model::ids::{EntryName, Epoch, KmeText, NodeId, Reqid, SaeId, Spi, TunnelId};
use bartizan_model::message::{SaId, SaInstall, SaListed};
use bartizan_model::policy::{
    Action, Combiner, Dial, Direction, DontFragment, KemSource, Keying, Lifetime, Mode, Need,
    ParameterSet, Policy, Prefix, Protect, QkdPriority, QkdSource, Suite, TrafficSelector,
};
use bartizan_model::report::{
    Alarm, BudgetLevel, BudgetReport, Latency, LinkCounts, LinkReason, LinkReport, LinkState,
    PairReport, QkdReport, SourceSet, TunnelReport, TunnelState,
};
use bartizan_model::time::BootTime;

pub(crate) fn policy() -> Policy {
    Policy {
        name: entry(),
        priority: 1000,
        direction: Direction::Outbound,
        reqid: reqid(),
        selector: selector(),
        action: Action::Protect(Box::new(Protect {
            mode: Mode::Tunnel,
            local: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            remote: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)),
            df: DontFragment::Copy,
            suite: Suite::AesGcm256,
            replay_window: 4096,
            keying: Keying {
                tunnel: TunnelId(7),
                peer: node(),
                peer_address: SocketAddr::new(v6(), 9061),
                dial: Dial::Lower,
                qkd: Some(QkdSource {
                    need: Need::Required,
                    peer_sae: SaeId::try_from("sae-b").unwrap(),
                    priority: QkdPriority::try_from(5).unwrap(),
                    minimum: 12,
                }),
                kem: Some(KemSource {
                    need: Need::Optional,
                    parameter_set: ParameterSet::MlKem768,
                }),
                classical: Some(Need::Optional),
                combiner: Combiner::Hmac,
                soft: lifetime(1800),
                hard: lifetime(3600),
            },
        })),
    }
}

pub(crate) fn sa_install() -> SaInstall {
    SaInstall {
        id: sa_id(),
        source: v6(),
        direction: Direction::Inbound,
        reqid: reqid(),
        mode: Mode::Transport,
        df: DontFragment::Clear,
        selector: selector(),
        suite: Suite::AesGcm256,
        replay_window: 4096,
        soft: lifetime(1800),
        hard: lifetime(3600),
    }
}

pub(crate) fn sa_listed() -> SaListed {
    SaListed {
        id: sa_id(),
        source: v6(),
        reqid: 7,
        age: 60,
        remaining: Some(240),
    }
}

pub(crate) fn tunnel_report() -> TunnelReport {
    TunnelReport {
        entry: entry(),
        tunnel: TunnelId(7),
        peer: node(),
        reqid: reqid(),
        state: TunnelState::Rekeying,
        current: Some(pair_report()),
        rekeys: 2,
        alarm: Some(Alarm::PeerUnreachable),
    }
}

pub(crate) fn pair_report() -> PairReport {
    PairReport {
        epoch: Epoch(3),
        inbound: spi(1),
        outbound: spi(2),
        sources: Some(both()),
        since: BootTime(Duration::new(60, 5)),
    }
}

pub(crate) fn selector() -> TrafficSelector {
    let net = |third| Prefix::new(IpAddr::V4(Ipv4Addr::new(10, 0, third, 0)), 24).unwrap();
    TrafficSelector {
        local: net(1),
        remote: net(2),
        protocol: Some(17),
        local_port: None,
        remote_port: Some(53),
    }
}

pub(crate) fn lifetime(seconds: u64) -> Lifetime {
    Lifetime {
        seconds: Some(seconds),
        bytes: Some(1 << 40),
        packets: None,
    }
}

pub(crate) fn sa_id() -> SaId {
    SaId {
        spi: spi(1),
        destination: v6(),
    }
}

pub(crate) fn both() -> SourceSet {
    SourceSet {
        qkd: true,
        kem: true,
        classical: false,
    }
}

pub(crate) fn spi(low: u32) -> Spi {
    Spi::try_from(0x1000_0000 | low).unwrap()
}

pub(crate) fn v6() -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))
}

pub(crate) fn reqid() -> Reqid {
    Reqid::try_from(7).unwrap()
}

pub(crate) fn entry() -> EntryName {
    EntryName::try_from("out/10.0.1.0/24").unwrap()
}

pub(crate) fn node() -> NodeId {
    NodeId::try_from("gw-b.example").unwrap()
}

pub(crate) fn qkd_report() -> QkdReport {
    QkdReport {
        peer: SaeId::try_from("sae-b").unwrap(),
        budget: BudgetReport {
            level: BudgetLevel::Dry,
            left: Some(301),
            reserve: 1000,
            rate: Some(3600),
            minimum: 12,
            tunnels: 2000,
            waiting: 3,
            taken: 300,
            refused: 1,
            without: 2,
        },
        links: vec![link_report()],
    }
}

pub(crate) fn link_report() -> LinkReport {
    LinkReport {
        kme: NodeId::try_from("kme.example").unwrap(),
        peer: SaeId::try_from("sae-b").unwrap(),
        interface: KmeInterface::Etsi004Json,
        state: LinkState::Degraded,
        reason: Some(LinkReason::Slow),
        said: Some(KmeText::try_from("no key").unwrap()),
        stored_keys: Some(300),
        prefetched: 4,
        rate: Some(3600),
        latency: Some(Latency { p50: 3, p99: 200 }),
        counts: LinkCounts {
            given: 1,
            failed: 2,
            zero: 3,
            repeated: 4,
            short: 5,
            out_of_order: 6,
            unused: 7,
            wasted: 8,
        },
    }
}
