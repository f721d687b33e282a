//! One message of every variant of every direction, in the order of the enums.

use core::time::Duration;
use std::net::SocketAddr;

use bartizan_model::config::Der;
use bartizan_model::identity::{
    Certified, Credential, Endorsement, Farewell, Floor, Floors, KeyName, LdevidFound, Log,
    PcrSelection, Quoted, TpmFound, TpmIdentity,
};
use bartizan_model::ids::{
    EditId, Epoch, KeyId, NodeId, Nonce, OrderId, SaeId, StreamName, Thumbprint, TunnelId,
};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{
    Achieved, Answer, ControlToEngine, Edge, EditRefusal, EngineToControl, EngineToPeer,
    EngineToQkd, EngineToXfrm, FromTpm, LeaseRefusal, Memory, Offer, PeerLink, PeerMessage,
    PeerToEngine, QkdToEngine, RoleToSupervisor, Side, Stage, Standing, SupervisorToRole, ToTpm,
    XfrmToEngine,
};
use bartizan_model::policy::{Action, Combiner, ParameterSet, Policy};
use bartizan_model::report::{
    Alarm, BudgetLevel, LinkReason, LinkState, Mix, NetworkState, Notice, QkdRefusal,
    VersionReport, VersionStanding, VersionsReport,
};
use bartizan_model::time::{BootTime, KnownTime, OwnerMoment};

use crate::configs::{ownership, role_configs, sources};
use crate::parts::{
    both, entry, link_report, node, pair_report, policy, qkd_report, reqid, sa_id, sa_install,
    sa_listed, spi, tunnel_report, v6,
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
    all.push(SupervisorToRole::Network(NetworkState::RolledBack));
    all.push(SupervisorToRole::CallAnew);
    all
}

fn moment() -> OwnerMoment {
    OwnerMoment {
        seconds: 1_800_000_000,
        at: BootTime(Duration::from_millis(1500)),
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
        RoleToSupervisor::CallingAnew,
        RoleToSupervisor::Versions(Box::new(VersionsReport {
            running: VersionReport {
                version: "1.3".into(),
                standing: VersionStanding::OnTrial { left: 2 },
            },
            others: vec![VersionReport {
                version: "1.2".into(),
                standing: VersionStanding::Blessed,
            }],
        })),
        RoleToSupervisor::Overdue,
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
        ToTpm::Attest {
            order,
            binding: [0x0b; 32],
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
        FromTpm::Attested {
            order,
            quoted: Box::new(Quoted {
                attest: vec![0xff],
                signature: vec![0x18],
                pcrs: vec![(7, [0x77; 32])],
            }),
            floors: Floors {
                ownership: Some(3),
                rollback: Some(2),
                time: None,
            },
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
