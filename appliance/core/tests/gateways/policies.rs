//! The entries of both ends of a tunnel.

use core::net::{IpAddr, Ipv4Addr};

use bartizan_model::ids::{EntryName, NodeId, TunnelId};
use bartizan_model::policy::{
    Action, Combiner, Dial, Direction, DontFragment, KemSource, Keying, Lifetime, Mode, Need,
    ParameterSet, Policy, Prefix, Protect, QkdPriority, QkdSource, Suite, TrafficSelector,
};

pub(crate) const NODES: [&str; 2] = ["gw-a.example", "gw-b.example"];

/// What the tests vary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) qkd: Option<Need>,
    /// Its QKD priority, and the keys an hour that it is not denied.
    pub(crate) standing: (u8, u32),
    pub(crate) kem: Option<Need>,
    pub(crate) classical: Option<Need>,
    pub(crate) combiner: Combiner,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

pub(crate) const WISH: Wish = Wish {
    qkd: Some(Need::Required),
    standing: (3, 0),
    kem: Some(Need::Required),
    classical: None,
    combiner: Combiner::Hmac,
    soft: 120,
    hard: 1800,
};

pub(crate) fn node(who: usize) -> NodeId {
    NodeId::try_from(NODES[who]).unwrap()
}

/// The gateway's address towards the other.
pub(crate) fn outer(who: usize) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, 1 + u8::try_from(who).unwrap()).into()
}

/// A host behind the gateway, in this tunnel's network.
pub(crate) fn host(who: usize, tunnel: u32) -> IpAddr {
    let [_, _, high, low] = tunnel.to_be_bytes();
    let net = 10 + u8::try_from(who).unwrap();
    Ipv4Addr::new(net, high, low, 1).into()
}

fn net(who: usize, tunnel: u32) -> Prefix {
    let IpAddr::V4(host) = host(who, tunnel) else {
        unreachable!()
    };
    let [a, b, c, _] = host.octets();
    Prefix::new(Ipv4Addr::new(a, b, c, 0).into(), 24).unwrap()
}

pub(crate) fn name(direction: Direction, tunnel: u32) -> EntryName {
    EntryName::try_from(format!("{direction:?}/{tunnel}")).unwrap()
}

/// Both entries of one end.
pub(crate) fn entries(who: usize, tunnel: u32, wish: Wish) -> [Policy; 2] {
    [Direction::Outbound, Direction::Inbound].map(|direction| Policy {
        name: name(direction, tunnel),
        priority: 1000 + tunnel,
        direction,
        reqid: tunnel.try_into().unwrap(),
        selector: TrafficSelector {
            local: net(who, tunnel),
            remote: net(1 - who, tunnel),
            protocol: None,
            local_port: None,
            remote_port: None,
        },
        action: Action::Protect(Box::new(protect(who, tunnel, wish))),
    })
}

fn protect(who: usize, tunnel: u32, wish: Wish) -> Protect {
    Protect {
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
            qkd: wish.qkd.map(|need| QkdSource {
                need,
                peer_sae: ["sae-a", "sae-b"][1 - who].try_into().unwrap(),
                priority: QkdPriority::try_from(wish.standing.0).unwrap(),
                minimum: wish.standing.1,
            }),
            kem: wish.kem.map(|need| KemSource {
                need,
                parameter_set: ParameterSet::MlKem512,
            }),
            classical: wish.classical,
            combiner: wish.combiner,
            soft: Lifetime {
                seconds: Some(wish.soft),
                ..Lifetime::default()
            },
            hard: Lifetime {
                seconds: Some(wish.hard),
                ..Lifetime::default()
            },
        },
    }
}
