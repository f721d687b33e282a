//! What each role is told at its start.

use core::net::{IpAddr, SocketAddr};

use bartizan_model::config::{
    BootstrapConfig, ControlConfig, EngineConfig, PeerConfig, Purpose, QkdConfig, Reach,
    RoleConfig, Sources, VoucherRoots, XfrmConfig,
};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::Role;
use bartizan_model::ownership::{Ownership, SiteNetwork};

use crate::config::Config;
use crate::ownership::Owned;

/// UDP port of DNS (RFC 1035, 4.2); the same of TCP.
const DNS: u16 = 53;

/// UDP port of NTP (RFC 5905, 16).
const NTP: u16 = 123;

/// What the image says, for every role that is started.
#[derive(Clone, Debug)]
pub struct Briefing {
    /// The configuration.
    pub config: Config,
    /// The manufacturer's roots.
    pub roots: VoucherRoots,
}

impl Briefing {
    /// The part of everything that a role is told; `restored` says that control gets a copy of
    /// `running` along. `None` for a role that has nothing to do without an owner.
    pub fn of(
        &self,
        role: Role,
        state: Lifecycle,
        owned: Option<&Owned>,
        sources: &Sources,
        restored: bool,
    ) -> Option<RoleConfig> {
        let ownership = owned.map(Owned::ownership);
        Some(match role {
            Role::Engine => RoleConfig::Engine(Box::new(EngineConfig {
                node: ownership?.node.clone(),
                ldevid: owned?.key(),
                verifier: ownership?.verifier.clone(),
            })),
            Role::Xfrm => RoleConfig::Xfrm(reach(state, ownership)),
            Role::Control => RoleConfig::Control(ControlConfig {
                node: ownership?.node.clone(),
                controller: ownership?.call_home,
                controller_name: ownership?.controller.clone(),
                anchors: ownership?.anchors.clone(),
                chain: ownership?.ldevid.clone(),
                restored,
            }),
            Role::Peer => RoleConfig::Peer(PeerConfig {
                node: ownership?.node.clone(),
                listen: listen(ownership?),
                anchors: ownership?.anchors.clone(),
                chain: ownership?.ldevid.clone(),
            }),
            Role::Qkd => RoleConfig::Qkd(QkdConfig {
                kmes: ownership?.kmes.clone(),
            }),
            Role::Tpm => RoleConfig::Tpm,
            Role::Bootstrap => RoleConfig::Bootstrap(Box::new(self.bootstrap(ownership, sources))),
            Role::Updater => RoleConfig::Updater,
        })
    }

    fn bootstrap(&self, owner: Option<&Ownership>, sources: &Sources) -> BootstrapConfig {
        let purpose = match owner {
            None => Purpose::Enrol,
            Some(owner) => Purpose::Quarantine {
                registrar: owner.registrar,
                name: owner.controller.clone(),
                anchors: owner.anchors.clone(),
            },
        };
        let platform = &self.config.platform;
        BootstrapConfig {
            purpose,
            manufacturer: self.roots.clone(),
            sources: sources.clone(),
            hw_model: platform.hw_model.clone(),
            os_name: platform.os_name.clone(),
            os_version: platform.os_version.clone(),
        }
    }
}

/// Where the peer role listens.
fn listen(owner: &Ownership) -> Vec<SocketAddr> {
    let at = |address: &IpAddr| SocketAddr::new(*address, owner.peer_port);
    owner.addresses.iter().map(at).collect()
}

/// What xfrm lets pass.
fn reach(state: Lifecycle, owner: Option<&Ownership>) -> XfrmConfig {
    let quarantined = state == Lifecycle::Quarantined;
    match owner {
        None if quarantined => XfrmConfig::Owned(Reach::default()),
        None => XfrmConfig::Unowned,
        Some(owner) => XfrmConfig::Owned(owned_reach(owner, quarantined)),
    }
}

/// In quarantine the registrar alone is left; it is known by its address.
fn owned_reach(owner: &Ownership, quarantined: bool) -> Reach {
    let interfaces = &owner.network.interfaces;
    // An image that configures the interfaces does it by DHCP.
    let dhcp = interfaces.is_empty() || interfaces.iter().any(|port| port.dhcp);
    let addresses = owner.addresses.clone();
    if quarantined {
        return Reach {
            addresses,
            owner: vec![owner.registrar],
            dhcp,
            ..Reach::default()
        };
    }
    let ends = |servers: &[IpAddr], port| {
        let end = |server: &IpAddr| SocketAddr::new(*server, port);
        servers.iter().map(end).collect::<Vec<_>>()
    };
    let SiteNetwork { dns, ntp, .. } = &owner.network;
    let mut own = vec![owner.call_home];
    if owner.registrar != owner.call_home {
        own.push(owner.registrar);
    }
    let mut services: Vec<_> = owner.kmes.iter().map(|kme| kme.address).collect();
    services.extend(ends(dns, DNS));
    Reach {
        addresses,
        peer_port: Some(owner.peer_port),
        owner: own,
        services,
        datagrams: [ends(dns, DNS), ends(ntp, NTP)].concat(),
        dhcp,
    }
}
