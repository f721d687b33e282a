//! One message of every variant of every direction, in the order of the enums.

use core::time::Duration;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bartizan_model::config::{
    Artifacts, BootstrapConfig, BootstrapServer, ControlConfig, Der, EngineConfig, Groups,
    KmeConfig, KmeInterface, KmeTransport, PeerConfig, Purpose, QkdConfig, Reach, RoleConfig,
    Sources, VerifierKeys, VoucherRoots, XfrmConfig,
};
use bartizan_model::identity::{
    Certified, Credential, Endorsement, Farewell, Floor, Floors, KeyName, LdevidFound, Log,
    PcrSelection, Quoted, TpmFound, TpmIdentity,
};
use bartizan_model::ids::{
    EditId, Epoch, KeyId, KmeText, LinkName, NodeId, Nonce, OrderId, SaeId, StreamName, Thumbprint,
    TunnelId,
};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{
    Achieved, Answer, ControlToEngine, Edge, EditRefusal, EngineToControl, EngineToPeer,
    EngineToQkd, EngineToXfrm, FromTpm, LeaseRefusal, Memory, Offer, PeerLink, PeerMessage,
    PeerToEngine, QkdToEngine, RoleToSupervisor, Side, Stage, Standing, SupervisorToRole, ToTpm,
    XfrmToEngine,
};
use bartizan_model::ownership::{Interface, Ownership, Port, Route, SiteNetwork};
use bartizan_model::policy::{Action, Combiner, ParameterSet, Policy, Prefix};
use bartizan_model::report::{
    Alarm, BudgetLevel, BudgetReport, Latency, LinkCounts, LinkReason, LinkReport, LinkState, Mix,
    Notice, QkdRefusal, QkdReport,
};
use bartizan_model::time::{BootTime, KnownTime, OwnerMoment};

use crate::parts::{
    both, entry, node, pair_report, policy, reqid, sa_id, sa_install, sa_listed, spi,
    tunnel_report, v6,
};

pub(crate) fn supervisor_to_role() -> Vec<SupervisorToRole> {
    let mut all = vec![SupervisorToRole::End(Edge::EnginePeer)];
    all.extend(role_configs().map(SupervisorToRole::Start));
    all.push(SupervisorToRole::Lifecycle(Lifecycle::Operational));
    all.push(SupervisorToRole::Ldevid(vec![Der(vec![0x30])]));
    all.push(SupervisorToRole::Farewell(Farewell::Retire));
    all.push(SupervisorToRole::Sources(Box::new(sources())));
    all.push(SupervisorToRole::Time(KnownTime {
        floor: 1_700_000_000,
        owner: Some(moment()),
    }));
    all.push(SupervisorToRole::KeepLdevid);
    all.push(SupervisorToRole::RaiseRollback(7));
    all
}

fn moment() -> OwnerMoment {
    OwnerMoment {
        seconds: 1_800_000_000,
        at: BootTime(Duration::from_millis(1500)),
    }
}

fn role_configs() -> [RoleConfig; 9] {
    let v4 = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let service = SocketAddr::new(v4, 4335);
    let certificates = vec![Der(vec![0x30, 0x00])];
    [
        RoleConfig::Engine(Box::new(EngineConfig {
            node: node(),
            ldevid: Thumbprint([0x1d; 32]),
            verifier: VerifierKeys {
                es384: vec![4, 1, 2],
                ml_dsa_65: vec![3, 4],
            },
        })),
        RoleConfig::Xfrm(XfrmConfig::Unowned),
        RoleConfig::Xfrm(XfrmConfig::Owned(Reach {
            addresses: vec![v4, v6()],
            peer_port: Some(9061),
            services: vec![service],
            datagrams: vec![service],
            dhcp: true,
        })),
        RoleConfig::Control(ControlConfig {
            node: node(),
            controller: service,
            controller_name: NodeId::try_from("controller.example").unwrap(),
            anchors: certificates.clone(),
            chain: certificates.clone(),
            restored: true,
        }),
        RoleConfig::Peer(PeerConfig {
            node: node(),
            listen: vec![service],
            anchors: certificates.clone(),
            chain: certificates.clone(),
        }),
        RoleConfig::Qkd(QkdConfig { kmes: vec![kme()] }),
        RoleConfig::Tpm,
        bootstrap(Purpose::Enrol),
        bootstrap(Purpose::Quarantine {
            registrar: service,
            name: NodeId::try_from("controller.example").unwrap(),
            anchors: certificates,
        }),
    ]
}

fn kme() -> KmeConfig {
    let certificates = vec![Der(vec![0x30, 0x00])];
    KmeConfig {
        address: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 4335),
        name: NodeId::try_from("kme.example").unwrap(),
        anchors: certificates.clone(),
        sae: SaeId::try_from("sae-a").unwrap(),
        chain: certificates,
        groups: Groups::ClassicalAllowed,
        interface: KmeInterface::Etsi004Binary,
        transport: KmeTransport::Plain,
        link: Some(LinkName::try_from("north").unwrap()),
        least_rate: 256,
    }
}

fn bootstrap(purpose: Purpose) -> RoleConfig {
    RoleConfig::Bootstrap(Box::new(BootstrapConfig {
        purpose,
        manufacturer: VoucherRoots {
            es384: Der(vec![0x30, 0x00]),
            ml_dsa_65: vec![3, 4],
        },
        sources: sources(),
        hw_model: "box".into(),
        os_name: "bartizan".into(),
        os_version: "1.0".into(),
    }))
}

fn sources() -> Sources {
    Sources {
        media: Some(Artifacts {
            conveyed_information: vec![1],
            owner_certificate: vec![2],
            ownership_voucher: vec![3],
        }),
        servers: vec![BootstrapServer {
            host: "owner.example".into(),
            port: 443,
        }],
        resolvers: vec![v6()],
        domain: Some("example".into()),
    }
}

fn ownership() -> Ownership {
    let v4 = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let certificates = vec![Der(vec![0x30, 0x00])];
    Ownership {
        node: node(),
        epoch: 3,
        anchors: certificates.clone(),
        verifier: VerifierKeys {
            es384: vec![4, 1, 2],
            ml_dsa_65: vec![3, 4],
        },
        call_home: SocketAddr::new(v4, 4335),
        registrar: SocketAddr::new(v4, 9443),
        controller: NodeId::try_from("controller.example").unwrap(),
        ldevid: certificates,
        addresses: vec![v4, v6()],
        peer_port: 9061,
        kmes: vec![kme()],
        network: SiteNetwork {
            interfaces: vec![Interface {
                port: Port::Wan0,
                addresses: vec![(v4, 24)],
                dhcp: false,
            }],
            routes: vec![Route {
                destination: Prefix::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0).unwrap(),
                gateway: v4,
                port: Port::Wan0,
            }],
            dns: vec![v6()],
            ntp: vec![v4],
        },
    }
}

pub(crate) fn role_to_supervisor() -> Vec<RoleToSupervisor> {
    vec![
        RoleToSupervisor::LockedDown(Achieved {
            landlock: 7,
            seccomp: true,
            no_new_privs: true,
            undumpable: true,
            capabilities: true,
            memory: Memory::Secret,
        }),
        RoleToSupervisor::LeaseAccepted(Duration::from_millis(299_500)),
        RoleToSupervisor::LeaseLost,
        RoleToSupervisor::PolicyInForce(true),
        RoleToSupervisor::Tunnel(Box::new(tunnel_report())),
        RoleToSupervisor::TunnelGone(reqid()),
        RoleToSupervisor::Counted {
            name: "refused".into(),
            total: 300,
        },
        RoleToSupervisor::Running,
        RoleToSupervisor::Home(true),
        RoleToSupervisor::Ldevid(vec![Der(vec![0x30])]),
        RoleToSupervisor::Found(TpmFound {
            ldevid: LdevidFound::Unusable,
            retired: false,
            floors: Floors {
                ownership: Some(3),
                rollback: None,
                time: Some(1_700_000_000),
            },
        }),
        RoleToSupervisor::OwnerFound,
        RoleToSupervisor::Enrolled(Box::new(ownership())),
        RoleToSupervisor::Ordered(Farewell::Release),
        RoleToSupervisor::Gone(Farewell::Retire),
        RoleToSupervisor::OwnerTime(moment()),
        RoleToSupervisor::LdevidKept,
        RoleToSupervisor::Qkd(Box::new(qkd_report())),
        RoleToSupervisor::QkdGone(SaeId::try_from("sae-b").unwrap()),
        RoleToSupervisor::RollbackFloor(Some(7)),
    ]
}

pub(crate) fn control_to_engine() -> Vec<ControlToEngine> {
    let discard = Policy {
        action: Action::Discard,
        ..policy()
    };
    vec![
        ControlToEngine::BeginEdit(EditId(1)),
        ControlToEngine::BeginRestore(EditId(2)),
        ControlToEngine::Put(Box::new(policy())),
        ControlToEngine::Put(Box::new(discard)),
        ControlToEngine::Remove(entry()),
        ControlToEngine::CommitEdit(EditId(3)),
        ControlToEngine::Lease(vec![0xd8, 0x62]),
        ControlToEngine::Order(vec![0xd8, 0x62]),
    ]
}

pub(crate) fn engine_to_control() -> Vec<EngineToControl> {
    let notice = |notice| EngineToControl::Notice(Box::new(notice));
    vec![
        EngineToControl::LeaseNonce(Nonce([0x4e; 32])),
        EngineToControl::EditAccepted(EditId(1)),
        EngineToControl::EditRefused {
            edit: EditId(2),
            entry: entry(),
            reason: EditRefusal::HalfTunnel,
        },
        EngineToControl::LeaseAccepted(Duration::from_mins(5)),
        EngineToControl::LeaseRefused(LeaseRefusal::Nonce),
        EngineToControl::OrderAccepted,
        EngineToControl::OrderRefused(LeaseRefusal::Signature),
        EngineToControl::Tunnel(Box::new(tunnel_report())),
        EngineToControl::TunnelGone(reqid()),
        notice(Notice::Established {
            entry: entry(),
            pair: pair_report(),
            mix: Mix {
                sources: both(),
                parameter_set: Some(ParameterSet::MlKem768),
                combiner: Combiner::Hmac,
            },
        }),
        notice(Notice::Expired {
            entry: entry(),
            spi: spi(1),
            hard: true,
        }),
        notice(Notice::Alarm {
            entry: entry(),
            alarm: Alarm::Qkd(QkdRefusal::ZeroKey),
        }),
        notice(Notice::NotProgrammed {
            entry: entry(),
            errno: 17,
        }),
        notice(Notice::Programmed { entries: 10_000 }),
        notice(Notice::QkdBudget {
            peer: SaeId::try_from("sae-b").unwrap(),
            level: BudgetLevel::Low,
        }),
        notice(Notice::QkdLink {
            peer: SaeId::try_from("sae-b").unwrap(),
            kme: NodeId::try_from("kme.example").unwrap(),
            state: LinkState::Refused,
            reason: Some(LinkReason::Exhausted),
        }),
        EngineToControl::Qkd(Box::new(qkd_report())),
        EngineToControl::QkdGone(SaeId::try_from("sae-b").unwrap()),
    ]
}

pub(crate) fn engine_to_xfrm() -> Vec<EngineToXfrm> {
    let order = OrderId(5);
    vec![
        EngineToXfrm::InstallPolicy {
            order,
            policy: Box::new(policy()),
        },
        EngineToXfrm::RemovePolicy {
            order,
            policy: Box::new(policy()),
        },
        EngineToXfrm::RemoveOtherPolicies { order },
        EngineToXfrm::InstallSa {
            order,
            sa: Box::new(sa_install()),
        },
        EngineToXfrm::ExtendSa {
            order,
            sa: Box::new(sa_install()),
        },
        EngineToXfrm::RemoveSa { order, sa: sa_id() },
        EngineToXfrm::RemoveAllSas { order },
        EngineToXfrm::ListSas { order },
    ]
}

pub(crate) fn xfrm_to_engine() -> Vec<XfrmToEngine> {
    let order = OrderId(5);
    vec![
        XfrmToEngine::Done(order),
        XfrmToEngine::Refused { order, errno: 17 },
        XfrmToEngine::Unknown(order),
        XfrmToEngine::Listed {
            order,
            sas: vec![sa_listed()],
            last: true,
        },
        XfrmToEngine::Expired {
            sa: sa_id(),
            reqid: 7,
            hard: false,
        },
        XfrmToEngine::Acquire { reqid: 7 },
    ]
}

pub(crate) fn engine_to_peer() -> Vec<EngineToPeer> {
    vec![
        EngineToPeer::Link(PeerLink {
            node: node(),
            address: SocketAddr::new(v6(), 9061),
            dials: true,
        }),
        EngineToPeer::Unlink(node()),
        EngineToPeer::Send {
            to: node(),
            message: Box::new(PeerMessage::RekeyWanted {
                tunnel: TunnelId(7),
                epoch: Epoch(3),
            }),
        },
        EngineToPeer::Close(node()),
    ]
}

pub(crate) fn peer_to_engine() -> Vec<PeerToEngine> {
    vec![
        PeerToEngine::Connected {
            node: node(),
            ldevid: Thumbprint([0x1d; 32]),
        },
        PeerToEngine::Disconnected(node()),
        PeerToEngine::Received {
            from: node(),
            message: Box::new(PeerMessage::Lease(vec![0xd8, 0x62])),
        },
    ]
}

pub(crate) fn peer_message() -> Vec<PeerMessage> {
    let tunnel = TunnelId(7);
    let epoch = Epoch(3);
    let key_id = KeyId::try_from("7a1f0e52").unwrap();
    vec![
        PeerMessage::Lease(vec![0xd8, 0x62]),
        PeerMessage::Resume {
            tunnel,
            last: epoch,
            generations: vec![Standing {
                epoch,
                stage: Stage::Switched,
                inbound: Some(spi(1)),
                outbound: Some(spi(2)),
                seconds: 600,
            }],
            reply: true,
        },
        PeerMessage::RekeyWanted { tunnel, epoch },
        PeerMessage::Offer(Box::new(Offer {
            tunnel,
            epoch,
            side: Side::Initiator,
            nonce: Nonce([0x11; 32]),
            spi: spi(1),
            sources: both(),
            encapsulation_key: vec![0xe0, 0xe1],
            public_key: Vec::new(),
            qkd_key: Some(key_id.clone()),
        })),
        PeerMessage::Answer(Box::new(Answer {
            tunnel,
            epoch,
            side: Side::Responder,
            nonce: Nonce([0x22; 32]),
            spi: spi(2),
            sources: both(),
            ciphertext: vec![0xc0, 0xc1],
            public_key: Vec::new(),
            qkd_key: Some(key_id),
        })),
        PeerMessage::Confirm {
            tunnel,
            epoch,
            tag: [0x7a; 32],
        },
        PeerMessage::InboundStands {
            tunnel,
            epoch,
            seconds: 600,
        },
        PeerMessage::ExtendWanted { tunnel, epoch },
        PeerMessage::Switched { tunnel, epoch },
        PeerMessage::Abandoned { tunnel, epoch },
        PeerMessage::Stream(stream()),
    ]
}

fn stream() -> StreamName {
    StreamName::try_from("north:4f1c").unwrap()
}

pub(crate) fn engine_to_qkd() -> Vec<EngineToQkd> {
    let order = OrderId(5);
    let peer = SaeId::try_from("sae-b").unwrap();
    vec![
        EngineToQkd::NewKey {
            order,
            peer: peer.clone(),
        },
        EngineToQkd::SameKey {
            order,
            peer: peer.clone(),
            key: KeyId::try_from("7a1f0e52").unwrap(),
        },
        EngineToQkd::Join {
            peer: peer.clone(),
            stream: stream(),
        },
        EngineToQkd::Unused {
            peer,
            key: KeyId::try_from("7a1f0e52").unwrap(),
        },
        EngineToQkd::Cancel(order),
    ]
}

fn qkd_report() -> QkdReport {
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

fn link_report() -> LinkReport {
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

pub(crate) fn qkd_to_engine() -> Vec<QkdToEngine> {
    let order = OrderId(5);
    vec![
        QkdToEngine::Key {
            order,
            key: KeyId::try_from("7a1f0e52").unwrap(),
        },
        QkdToEngine::Refused {
            order,
            reason: QkdRefusal::TimedOut,
        },
        QkdToEngine::Stream {
            peer: SaeId::try_from("sae-b").unwrap(),
            stream: stream(),
        },
        QkdToEngine::Link(Box::new(link_report())),
    ]
}

pub(crate) fn to_tpm() -> Vec<ToTpm> {
    let order = OrderId(5);
    vec![
        ToTpm::Sign {
            order,
            key: KeyName::Ldevid,
            digest: vec![0xd1; 32],
        },
        ToTpm::Identity(order),
        ToTpm::CreateLdevid {
            order,
            qualifying: [0xca; 32],
        },
        ToTpm::KeepLdevid(order),
        ToTpm::Activate {
            order,
            credential: Credential {
                endorsement: 1,
                blob: vec![0xb1],
                secret: vec![0x5e],
            },
            context: [0xc7; 32],
        },
        ToTpm::Quote {
            order,
            qualifying: vec![0x0f; 32],
            pcrs: PcrSelection(0x0880),
        },
        ToTpm::ReadLog {
            order,
            log: Log::Userspace,
            offset: 8192,
        },
        ToTpm::RaiseFloor {
            order,
            floor: Floor::Time,
            to: 1_800_000_000,
        },
    ]
}

pub(crate) fn from_tpm() -> Vec<FromTpm> {
    let order = OrderId(5);
    vec![
        FromTpm::Signature {
            order,
            signature: vec![0x30, 0x00],
        },
        FromTpm::Identity {
            order,
            identity: Box::new(TpmIdentity {
                manufacturer: *b"IBM ",
                firmware: [1, 2],
                endorsement: vec![Endorsement {
                    public: vec![0xe1],
                    certificate: Der(vec![0x30]),
                }],
                endorsement_chain: vec![],
                ak: vec![0xa1],
                ak_chain: vec![Der(vec![0x30])],
                idevid: vec![0x1d],
                idevid_chain: vec![Der(vec![0x30])],
                floors: Floors {
                    ownership: Some(3),
                    rollback: None,
                    time: Some(1_800_000_000),
                },
            }),
        },
        FromTpm::Ldevid {
            order,
            certified: Box::new(Certified {
                public: vec![0x1d],
                attest: vec![0xff],
                signature: vec![0x18],
            }),
        },
        FromTpm::Done(order),
        FromTpm::Activated {
            order,
            proof: [0x9f; 32],
        },
        FromTpm::Quoted {
            order,
            quoted: Box::new(Quoted {
                attest: vec![0xff],
                signature: vec![0x18],
                pcrs: vec![(7, [0x77; 32])],
            }),
        },
        FromTpm::LogPart {
            order,
            bytes: vec![0x1e],
            size: 4096,
        },
        FromTpm::NotPermitted(order),
        FromTpm::Failed { order, code: 0x101 },
    ]
}
