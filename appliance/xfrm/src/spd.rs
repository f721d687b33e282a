//! The kernel's policies: how the controller's entries become some, and what stands around them.
//!
//! Priorities lie in bands, lowest first, so that no entry can reach out of its own:
//!
//! | band | what |
//! |---|---|
//! | 100 | built-in bypasses, and what may never be forwarded |
//! | 1000 + place | protect and discard entries of the controller |
//! | 2^31 + place | packets of a LAN before and after protection |
//! | 2^32 - 2 | the gateway's own PMTU errors, where no entry claims them |
//! | 2^32 - 1 | block all |

use core::net::{IpAddr, Ipv6Addr};

use bartizan_model::config::{Reach, XfrmConfig};
use bartizan_model::policy::{Action, Direction, Mode, Policy, Prefix, Protect};

use crate::policy::{KernelDirection, KernelPolicy, PolicyId, Template, Verdict};
use crate::selector::{KernelSelector, Owner, Upper};

/// What an entry becomes, in the order to install it: what protects comes before what lets pass.
/// Take it out the other way round. `None` if the entry contradicts itself.
///
/// An entry claims packets where they come in (`in`, `fwd`) or go out (`out`). For a packet of a
/// LAN that is half of its way: one that will be protected must be let in, one that was protected
/// must be let out. Such a permit stands beneath every claim, so that it opens nothing that an
/// entry claims, its own or another.
pub fn program(entry: &Policy) -> Option<Vec<KernelPolicy>> {
    if entry.priority > PLACE_MAX {
        return None;
    }
    let owner = Owner::Entry(entry.reqid);
    let selector = KernelSelector::of(&entry.selector, entry.direction, owner)?;
    let (verdict, mode) = match &entry.action {
        Action::Discard => (Verdict::Block, None),
        Action::Protect(protect) => (
            Verdict::Protect(template(entry, protect)?),
            Some(protect.mode),
        ),
    };
    let (mut claims, other_half) = match entry.direction {
        Direction::Inbound => (
            vec![KernelDirection::In, KernelDirection::Forward],
            KernelDirection::Out,
        ),
        Direction::Outbound => (vec![KernelDirection::Out], KernelDirection::Forward),
    };
    if mode == Some(Mode::Transport) {
        // The two ends are gateways: there is nothing to forward.
        claims.retain(|direction| *direction != KernelDirection::Forward);
    }
    let place = |band: u32| band.saturating_add(entry.priority);
    let mut policies: Vec<_> = claims
        .into_iter()
        .map(|direction| policy(direction, selector, place(ENTRIES), verdict))
        .collect();
    // Where both directions have one selector, the other one claims all that could be let pass.
    if mode == Some(Mode::Tunnel) && selector != selector.reversed() {
        policies.push(policy(other_half, selector, place(PERMITS), Verdict::Pass));
    }
    Some(policies)
}

/// What stands before any order is heard: nothing passes but neighbour discovery, the PMTU errors
/// and the box's talk with itself.
///
/// IPv4 needs no bypass for the loopback: its interface is exempt in the kernel.
pub fn block_all() -> Vec<KernelPolicy> {
    let mut policies = Vec::new();
    for everything in [Prefix::ANY_V4, Prefix::ANY_V6] {
        for direction in KernelDirection::ALL {
            let all = built_in(everything, everything, Upper::default());
            policies.extend(all.map(|all| policy(direction, all, u32::MAX, Verdict::Block)));
        }
    }
    // RFC 4861, 4: solicitations, advertisements, redirects.
    for kind in 133..=137 {
        let discovery = built_in(Prefix::ANY_V6, Prefix::ANY_V6, icmp(ICMPV6, kind, None));
        policies.extend(discovery.into_iter().flat_map(|discovery| {
            [
                policy(KernelDirection::In, discovery, BYPASS, Verdict::Pass),
                policy(KernelDirection::Out, discovery, BYPASS, Verdict::Pass),
                // A host of the LAN could call anything neighbour discovery and see it pass.
                policy(KernelDirection::Forward, discovery, BYPASS, Verdict::Block),
            ]
        }));
    }
    // An error quotes the packet it is about: one that goes out may carry what is to be protected,
    // so it passes in clear only where no entry claims it.
    let path_mtu = [
        built_in(Prefix::ANY_V4, Prefix::ANY_V4, icmp(ICMP, 3, Some(4))),
        built_in(Prefix::ANY_V6, Prefix::ANY_V6, icmp(ICMPV6, 2, None)),
    ];
    for error in path_mtu.into_iter().flatten() {
        policies.push(policy(KernelDirection::In, error, BYPASS, Verdict::Pass));
        policies.push(policy(
            KernelDirection::Out,
            error,
            OWN_ERRORS,
            Verdict::Pass,
        ));
    }
    let loopback = Prefix::host(IpAddr::V6(Ipv6Addr::LOCALHOST));
    policies.extend(both_ways(built_in(loopback, loopback, Upper::default())));
    policies
}

/// What a configuration lets pass beside its entries. Nothing of it is ever forwarded.
pub fn bypasses(config: &XfrmConfig) -> Vec<KernelPolicy> {
    match config {
        XfrmConfig::Unowned => own_traffic(),
        XfrmConfig::Owned(reach) => reached(reach),
    }
}

/// The gateway's own TCP and UDP: DHCP, DNS, and what it looks for its owner by.
fn own_traffic() -> Vec<KernelPolicy> {
    let mut policies = Vec::new();
    for everybody in [Prefix::ANY_V4, Prefix::ANY_V6] {
        for protocol in [TCP, UDP] {
            let all = Upper {
                protocol: Some(protocol),
                ..Upper::default()
            };
            policies.extend(both_ways(built_in(everybody, everybody, all)));
        }
    }
    policies
}

/// Connections with peers, the controller and the KMEs; DNS, NTP and DHCP where they are used.
fn reached(reach: &Reach) -> Vec<KernelPolicy> {
    let mut policies = Vec::new();
    for own in &reach.addresses {
        let host = Prefix::host(*own);
        let everybody = if own.is_ipv4() {
            Prefix::ANY_V4
        } else {
            Prefix::ANY_V6
        };
        for peers in reach.peer_port.into_iter().map(tcp_to) {
            let dialled = built_in(host, everybody, peers);
            let dialling = built_in(everybody, host, peers);
            policies.extend(both_ways(dialled));
            policies.extend(both_ways(dialling.map(KernelSelector::reversed)));
        }
        for (protocol, ends) in [(TCP, &reach.services), (UDP, &reach.datagrams)] {
            for end in ends {
                let upper = to(protocol, end.port());
                policies.extend(both_ways(built_in(host, Prefix::host(end.ip()), upper)));
            }
        }
        // A forwarded packet with an address of ours is forged, and would match what is above.
        let forged = built_in(host, everybody, Upper::default());
        policies.extend(
            forged.map(|forged| policy(KernelDirection::Forward, forged, BYPASS, Verdict::Block)),
        );
    }
    for end in &reach.owner {
        let owner = Prefix::host(end.ip());
        let everybody = if owner.address().is_ipv4() {
            Prefix::ANY_V4
        } else {
            Prefix::ANY_V6
        };
        let asked = built_in(everybody, owner, tcp_to(end.port()));
        policies.extend(from_any_address(asked));
    }
    if reach.dhcp {
        policies.extend(dhcp());
    }
    policies
}

/// The client's talk with DHCP servers (RFC 2131, 4.1; RFC 8415, 7.2). The gateway's addresses are
/// what it asks for, and the servers are not known.
fn dhcp() -> impl Iterator<Item = KernelPolicy> {
    let talks = [(Prefix::ANY_V4, 68, 67), (Prefix::ANY_V6, 546, 547)];
    talks.into_iter().flat_map(|(everybody, client, server)| {
        let upper = Upper {
            source_port: Some(client),
            ..to(UDP, server)
        };
        from_any_address(built_in(everybody, everybody, upper))
    })
}

/// Lets the gateway's own packets out, and their answers in, whatever its addresses are. A host of
/// the LAN could send what looks like them, and see it pass: it is not forwarded.
fn from_any_address(asked: Option<KernelSelector>) -> Vec<KernelPolicy> {
    let forged = asked.into_iter().flat_map(|asked| {
        [asked, asked.reversed()]
            .map(|forged| policy(KernelDirection::Forward, forged, BYPASS, Verdict::Block))
    });
    both_ways(asked).chain(forged).collect()
}

/// The band of the bypasses.
const BYPASS: u32 = 100;

/// The band of the controller's entries.
const ENTRIES: u32 = 1000;

/// The band of what is let pass before it is protected and after it was.
const PERMITS: u32 = 1 << 31;

/// The gateway's own PMTU errors.
const OWN_ERRORS: u32 = u32::MAX - 1;

/// The last place of an entry; beyond it the bands would overlap.
const PLACE_MAX: u32 = (1 << 30) - 1;

const TCP: u8 = 6;

const UDP: u8 = 17;

const ICMP: u8 = 1;

const ICMPV6: u8 = 58;

fn template(entry: &Policy, protect: &Protect) -> Option<Template> {
    let (source, destination) = match entry.direction {
        Direction::Outbound => (protect.local, protect.remote),
        Direction::Inbound => (protect.remote, protect.local),
    };
    (source.is_ipv4() == destination.is_ipv4()).then_some(Template {
        source,
        destination,
        reqid: entry.reqid.into(),
        mode: protect.mode,
    })
}

fn policy(
    direction: KernelDirection,
    selector: KernelSelector,
    priority: u32,
    verdict: Verdict,
) -> KernelPolicy {
    KernelPolicy {
        id: PolicyId {
            direction,
            selector,
        },
        priority,
        verdict,
    }
}

/// Lets packets out, and their answers in.
fn both_ways(out: Option<KernelSelector>) -> impl Iterator<Item = KernelPolicy> {
    out.into_iter().flat_map(|out| {
        [
            policy(KernelDirection::Out, out, BYPASS, Verdict::Pass),
            policy(KernelDirection::In, out.reversed(), BYPASS, Verdict::Pass),
        ]
    })
}

fn built_in(source: Prefix, destination: Prefix, upper: Upper) -> Option<KernelSelector> {
    KernelSelector::new(source, destination, upper, Owner::BuiltIn)
}

fn tcp_to(port: u16) -> Upper {
    to(TCP, port)
}

fn to(protocol: u8, port: u16) -> Upper {
    Upper {
        protocol: Some(protocol),
        source_port: None,
        destination_port: Some(port),
    }
}

fn icmp(protocol: u8, kind: u16, code: Option<u16>) -> Upper {
    Upper {
        protocol: Some(protocol),
        source_port: Some(kind),
        destination_port: code,
    }
}
