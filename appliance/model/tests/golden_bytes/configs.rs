//! What the supervisor gives a role at its start, and an owner a box: one of each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bartizan_model::config::{
    Artifacts, BootstrapConfig, BootstrapServer, ControlConfig, Der, EngineConfig, Groups,
    KmeConfig, KmeInterface, KmeTransport, PeerConfig, Purpose, QkdConfig, Reach, RoleConfig,
    Sources, VerifierKeys, VoucherRoots, XfrmConfig,
};
use bartizan_model::ids::{LinkName, NodeId, SaeId, Thumbprint};
use bartizan_model::ownership::{Interface, Ownership, Port, Route, SiteNetwork};
use bartizan_model::policy::Prefix;

use crate::parts::{node, v6};

pub(crate) fn role_configs() -> [RoleConfig; 10] {
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
            owner: vec![service],
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
        RoleConfig::Updater,
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

pub(crate) fn sources() -> Sources {
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

pub(crate) fn ownership() -> Ownership {
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
