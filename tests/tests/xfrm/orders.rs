//! Orders for the two gateways of the topology.

use std::net::{IpAddr, SocketAddr};

use bartizan_model::{
    config::{Reach, XfrmConfig},
    ids::{EntryName, NodeId, Reqid, Spi, TunnelId},
    message::{SaId, SaInstall},
    policy::{
        Action, Combiner, Dial, Direction, DontFragment, KemSource, Keying, Lifetime, Mode, Need,
        ParameterSet, Policy, Prefix, Protect, Suite, TrafficSelector,
    },
};
use bartizan_secret::Secret;
use bartizan_tests::testbed::topology::{Family, Side, controller};

pub(crate) const PEER_PORT: u16 = 9061;

pub(crate) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

pub(crate) const MODES: [Mode; 2] = [Mode::Tunnel, Mode::Transport];

/// No limits at all.
pub(crate) const UNLIMITED: Lifetime = Lifetime {
    seconds: None,
    bytes: None,
    packets: None,
};

/// A tunnel between the gateways.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tunnel {
    pub(crate) family: Family,
    pub(crate) mode: Mode,
    pub(crate) covers: Covers,
    pub(crate) reqid: u32,
}

/// What a tunnel protects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Covers {
    /// What the LANs say to each other.
    Lans,
    /// What the gateways say to each other.
    Gateways,
    /// What anybody says to anybody.
    Everything,
}

impl Tunnel {
    pub(crate) fn new(family: Family, mode: Mode) -> Self {
        let reqid = match (family, mode) {
            (Family::V4, Mode::Tunnel) => 11,
            (Family::V6, Mode::Tunnel) => 12,
            (Family::V4, Mode::Transport) => 13,
            (Family::V6, Mode::Transport) => 14,
        };
        Self {
            family,
            mode,
            covers: match mode {
                Mode::Tunnel => Covers::Lans,
                Mode::Transport => Covers::Gateways,
            },
            reqid,
        }
    }

    /// What it protects, seen from `side`.
    pub(crate) fn selector(self, side: Side) -> TrafficSelector {
        let prefix = |side: Side| match self.covers {
            Covers::Lans => lan(side, self.family),
            Covers::Gateways => Prefix::host(side.wan(self.family)),
            Covers::Everything => any(self.family),
        };
        TrafficSelector {
            local: prefix(side),
            remote: prefix(side.other()),
            protocol: None,
            local_port: None,
            remote_port: None,
        }
    }

    /// The entry of one direction.
    pub(crate) fn entry(self, side: Side, direction: Direction) -> Policy {
        Policy {
            name: EntryName::try_from(format!("tunnel-{}-{direction:?}", self.reqid)).unwrap(),
            priority: self.reqid,
            direction,
            reqid: Reqid::try_from(self.reqid).unwrap(),
            selector: self.selector(side),
            action: Action::Protect(Box::new(Protect {
                mode: self.mode,
                df: DontFragment::Clear,
                local: side.wan(self.family),
                remote: side.other().wan(self.family),
                suite: Suite::AesGcm256,
                replay_window: 4096,
                keying: keying(side, self.family),
            })),
        }
    }

    /// The SA for what `sender` sends, as `side` installs it.
    pub(crate) fn sa(self, side: Side, sender: Side, spi: u32, hard: Lifetime) -> SaInstall {
        SaInstall {
            id: SaId {
                spi: Spi::try_from(spi).unwrap(),
                destination: sender.other().wan(self.family),
            },
            source: sender.wan(self.family),
            direction: if side == sender {
                Direction::Outbound
            } else {
                Direction::Inbound
            },
            reqid: Reqid::try_from(self.reqid).unwrap(),
            mode: self.mode,
            df: DontFragment::Clear,
            selector: self.selector(side),
            suite: Suite::AesGcm256,
            replay_window: 4096,
            soft: UNLIMITED,
            hard,
        }
    }
}

/// The key of a test's SA: another one for each SPI, the same at both ends.
pub(crate) fn key(spi: u32) -> Secret {
    Secret::from_fn(Suite::AesGcm256.key_len(), |slot| {
        for (at, byte) in slot.iter_mut().enumerate() {
            *byte = spi.to_be_bytes()[at % 4] ^ u8::try_from(at).unwrap();
        }
    })
    .unwrap()
}

/// A limit in seconds alone.
pub(crate) fn seconds(seconds: u64) -> Lifetime {
    Lifetime {
        seconds: Some(seconds),
        ..UNLIMITED
    }
}

/// What the supervisor would tell a gateway's xfrm.
pub(crate) fn config(side: Side) -> XfrmConfig {
    XfrmConfig::Owned(reach(side))
}

/// What a gateway of an owner reaches.
pub(crate) fn reach(side: Side) -> Reach {
    let own = |address: fn(Side, Family) -> IpAddr| FAMILIES.map(|family| address(side, family));
    Reach {
        addresses: [own(Side::wan), own(Side::management), own(Side::kme_client)].concat(),
        peer_port: Some(PEER_PORT),
        owner: FAMILIES
            .map(|family| SocketAddr::new(controller(family), 4335))
            .to_vec(),
        services: FAMILIES
            .map(|family| SocketAddr::new(side.kme(family), 8443))
            .to_vec(),
        ..Reach::default()
    }
}

/// Every address.
pub(crate) fn any(family: Family) -> Prefix {
    match family {
        Family::V4 => Prefix::ANY_V4,
        Family::V6 => Prefix::ANY_V6,
    }
}

/// A LAN as a prefix.
pub(crate) fn lan(side: Side, family: Family) -> Prefix {
    let text = side.lan_prefix(family);
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
}

fn keying(side: Side, family: Family) -> Keying {
    Keying {
        tunnel: TunnelId(1),
        peer: NodeId::try_from("gw-peer").unwrap(),
        peer_address: SocketAddr::new(side.other().wan(family), PEER_PORT),
        dial: Dial::Lower,
        qkd: None,
        kem: Some(KemSource {
            need: Need::Required,
            parameter_set: ParameterSet::MlKem768,
        }),
        classical: None,
        combiner: Combiner::Hmac,
        soft: UNLIMITED,
        hard: UNLIMITED,
    }
}
