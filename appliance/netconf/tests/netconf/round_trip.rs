//! Any policy comes through the documents unchanged: from the owner's end to the engine, and from
//! the gateway's configuration back.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use bartizan_model::ids::{EntryName, Epoch, NodeId, Reqid, SaeId, Spi, TunnelId};
use bartizan_model::message::{ControlToEngine, EngineToControl};
use bartizan_model::policy::{
    Action, Combiner, Dial, Direction, DontFragment, KemSource, Keying, Lifetime, Mode, Need,
    ParameterSet, Policy, Prefix, Protect, QkdPriority, QkdSource, Suite, TrafficSelector,
};
use bartizan_model::report::{
    Alarm, Mix, Notice, PairReport, QkdRefusal, SourceSet, TunnelReport, TunnelState,
};
use bartizan_model::time::BootTime;
use bartizan_netconf::client::{Client, Data, Received, Reply, Request};
use bartizan_netconf::server::{Gateway, Session};
use bartizan_netconf::{Running, SessionId, UnixTime};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::keys::{level, link, qkd, sae};

fn address(v6: bool) -> BoxedStrategy<IpAddr> {
    let address = if v6 {
        any::<u128>()
            .prop_map(|bits| IpAddr::V6(bits.into()))
            .boxed()
    } else {
        any::<u32>()
            .prop_map(|bits| IpAddr::V4(bits.into()))
            .boxed()
    };
    address
        .prop_filter("one host's", |address| {
            !address.is_unspecified() && !address.is_multicast()
        })
        .boxed()
}

fn prefix(v6: bool) -> BoxedStrategy<Prefix> {
    let width = if v6 { 128_u8 } else { 32 };
    (address(v6), 0..=width)
        .prop_map(|(address, length)| {
            let address = match address {
                IpAddr::V4(v4) => {
                    let mask = u32::MAX.checked_shl(u32::from(32 - length)).unwrap_or(0);
                    IpAddr::V4((v4.to_bits() & mask).into())
                }
                IpAddr::V6(v6) => {
                    let mask = u128::MAX.checked_shl(u32::from(128 - length)).unwrap_or(0);
                    IpAddr::V6((v6.to_bits() & mask).into())
                }
            };
            Prefix::new(address, length).unwrap()
        })
        .boxed()
}

fn selector() -> impl Strategy<Value = TrafficSelector> {
    let ports = prop_oneof![
        Just((None, None, None)),
        (1..=255_u8).prop_map(|protocol| (Some(protocol), None, None)),
        (
            select(vec![6_u8, 17, 33, 132]),
            option::of(1..=u16::MAX),
            option::of(1..=u16::MAX)
        )
            .prop_map(|(protocol, local, remote)| (Some(protocol), local, remote)),
    ];
    any::<bool>()
        .prop_flat_map(|v6| (prefix(v6), prefix(v6)))
        .prop_flat_map(move |(local, remote)| (Just(local), Just(remote), ports.clone()))
        .prop_map(
            |(local, remote, (protocol, local_port, remote_port))| TrafficSelector {
                local,
                remote,
                protocol,
                local_port,
                remote_port,
            },
        )
}

fn need() -> impl Strategy<Value = Need> {
    select(vec![Need::Required, Need::Optional])
}

fn parameter_set() -> impl Strategy<Value = ParameterSet> {
    select(vec![
        ParameterSet::MlKem512,
        ParameterSet::MlKem768,
        ParameterSet::MlKem1024,
    ])
}

fn limit() -> impl Strategy<Value = (Option<u64>, Option<u64>)> {
    prop_oneof![
        Just((None, None)),
        (1..=u64::MAX).prop_map(|soft| (Some(soft), None)),
        (2..=u64::MAX)
            .prop_flat_map(|hard| (1..hard).prop_map(move |soft| (Some(soft), Some(hard)))),
    ]
}

fn keying() -> impl Strategy<Value = Keying> {
    let sources = (
        option::of((need(), "[A-Za-z0-9._~-]{1,64}", 0..=7_u8, any::<u32>())),
        option::of((need(), parameter_set())),
        option::of(need()),
    )
        .prop_filter("a source", |(qkd, kem, classical)| {
            qkd.is_some() || kem.is_some() || classical.is_some()
        });
    let peer = (
        any::<u32>(),
        "[a-z0-9.-]{1,64}",
        any::<bool>().prop_flat_map(address),
        1..=u16::MAX,
        select(vec![Dial::Lower, Dial::Higher]),
    );
    let combiner = select(vec![Combiner::Hmac, Combiner::Xor, Combiner::XorHmac]);
    (peer, sources, combiner, limit(), limit(), limit()).prop_map(
        |(
            (tunnel, peer, ip, port, dial),
            (qkd, kem, classical),
            combiner,
            seconds,
            bytes,
            packets,
        )| Keying {
            tunnel: TunnelId(tunnel),
            peer: NodeId::try_from(peer).unwrap(),
            peer_address: SocketAddr::new(ip, port),
            dial,
            qkd: qkd.map(|(need, sae, priority, minimum)| QkdSource {
                need,
                peer_sae: SaeId::try_from(sae).unwrap(),
                priority: QkdPriority::try_from(priority).unwrap(),
                minimum,
            }),
            kem: kem.map(|(need, parameter_set)| KemSource {
                need,
                parameter_set,
            }),
            classical,
            combiner,
            soft: Lifetime {
                seconds: seconds.0,
                bytes: bytes.0,
                packets: packets.0,
            },
            hard: Lifetime {
                seconds: seconds.1,
                bytes: bytes.1,
                packets: packets.1,
            },
        },
    )
}

fn protect() -> impl Strategy<Value = (TrafficSelector, Action)> {
    let tunnel = (
        selector(),
        any::<bool>().prop_flat_map(|v6| (address(v6), address(v6))),
        select(vec![DontFragment::Clear, DontFragment::Copy]),
    )
        .prop_map(|(selector, (local, remote), df)| (selector, Mode::Tunnel, local, remote, df));
    let transport = (
        selector(),
        any::<bool>().prop_flat_map(|v6| (address(v6), address(v6))),
    )
        .prop_map(|(selector, (local, remote))| {
            let selector = TrafficSelector {
                local: Prefix::host(local),
                remote: Prefix::host(remote),
                ..selector
            };
            (
                selector,
                Mode::Transport,
                local,
                remote,
                DontFragment::Clear,
            )
        });
    (prop_oneof![tunnel, transport], 1..=128_u32, keying()).prop_map(
        |((selector, mode, local, remote, df), window, keying)| {
            let protect = Protect {
                mode,
                local,
                remote,
                df,
                suite: Suite::AesGcm256,
                replay_window: window * 32,
                keying,
            };
            (selector, Action::Protect(Box::new(protect)))
        },
    )
}

/// Policies in an order, as the gateway numbers them.
fn policies() -> impl Strategy<Value = Vec<Policy>> {
    let action = prop_oneof![
        1 => selector().prop_map(|selector| (selector, Action::Discard)),
        3 => protect(),
    ];
    let policy = (
        select(vec![Direction::Inbound, Direction::Outbound]),
        1..=u32::MAX,
        action,
    );
    btree_map("[^\\p{Cc}\u{FFFE}\u{FFFF}]{1,60}", policy, 0..8).prop_map(|entries| {
        entries
            .into_iter()
            .zip(1000..)
            .map(
                |((name, (direction, reqid, (selector, action))), priority)| Policy {
                    name: EntryName::try_from(name).unwrap(),
                    priority,
                    direction,
                    reqid: Reqid::try_from(reqid).unwrap(),
                    selector,
                    action,
                },
            )
            .collect()
    })
}

fn sources() -> impl Strategy<Value = SourceSet> {
    (any::<bool>(), any::<bool>()).prop_map(|(qkd, kem)| SourceSet {
        qkd,
        kem,
        classical: false,
    })
}

fn pair() -> impl Strategy<Value = PairReport> {
    (
        any::<u64>(),
        256..=u32::MAX,
        256..=u32::MAX,
        option::of(sources()),
        any::<u32>(),
    )
        .prop_map(|(epoch, inbound, outbound, sources, millis)| PairReport {
            epoch: Epoch(epoch),
            inbound: Spi::try_from(inbound).unwrap(),
            outbound: Spi::try_from(outbound).unwrap(),
            sources,
            since: BootTime(Duration::from_millis(millis.into())),
        })
}

fn alarm() -> impl Strategy<Value = Alarm> {
    select(vec![
        Alarm::NoLease,
        Alarm::Kernel,
        Alarm::Qkd(QkdRefusal::TimedOut),
        Alarm::Qkd(QkdRefusal::ZeroKey),
    ])
}

fn name() -> impl Strategy<Value = EntryName> {
    "[^\\p{Cc}\u{FFFE}\u{FFFF}]{1,60}".prop_map(|name| EntryName::try_from(name).unwrap())
}

fn tunnel() -> impl Strategy<Value = TunnelReport> {
    let state = select(vec![
        TunnelState::Blocked,
        TunnelState::Starting,
        TunnelState::Protected,
        TunnelState::Rekeying,
    ]);
    (
        name(),
        any::<u32>(),
        "[a-z0-9.-]{1,64}",
        1..=u32::MAX,
        state,
        option::of(pair()),
        any::<u64>(),
        option::of(alarm()),
    )
        .prop_map(
            |(entry, tunnel, peer, reqid, state, current, rekeys, alarm)| TunnelReport {
                entry,
                tunnel: TunnelId(tunnel),
                peer: NodeId::try_from(peer).unwrap(),
                reqid: Reqid::try_from(reqid).unwrap(),
                state,
                current,
                rekeys,
                alarm,
            },
        )
}

fn notice() -> impl Strategy<Value = Notice> {
    let mix = (
        sources(),
        option::of(parameter_set()),
        select(vec![Combiner::Hmac, Combiner::Xor]),
    )
        .prop_map(|(sources, parameter_set, combiner)| Mix {
            sources,
            parameter_set,
            combiner,
        });
    prop_oneof![
        (name(), pair(), mix).prop_map(|(entry, pair, mix)| Notice::Established {
            entry,
            pair: PairReport {
                sources: Some(mix.sources),
                ..pair
            },
            mix,
        }),
        (name(), 256..=u32::MAX, any::<bool>()).prop_map(|(entry, spi, hard)| Notice::Expired {
            entry,
            spi: Spi::try_from(spi).unwrap(),
            hard,
        }),
        (name(), alarm()).prop_map(|(entry, alarm)| Notice::Alarm { entry, alarm }),
        (name(), any::<i32>()).prop_map(|(entry, errno)| Notice::NotProgrammed { entry, errno }),
        any::<u32>().prop_map(|entries| Notice::Programmed { entries }),
        (sae(), level()).prop_map(|(peer, level)| Notice::QkdBudget { peer, level }),
        link().prop_map(|link| Notice::QkdLink {
            peer: link.peer,
            kme: link.kme,
            state: link.state,
            reason: link.reason,
        }),
    ]
}

/// Both ends, joined without a network; the engine accepts everything.
struct Ends {
    client: Client,
    session: Session,
    gateway: Gateway,
    told: Vec<ControlToEngine>,
}

impl Ends {
    fn new() -> Self {
        let mut ends = Self {
            client: Client::new(),
            session: Session::new(SessionId(1)),
            gateway: Gateway::new(NodeId::try_from("gw-a").unwrap()),
            told: Vec::new(),
        };
        assert_eq!(ends.carry().len(), 1);
        ends
    }

    fn carry(&mut self) -> Vec<Received> {
        let mut received = Vec::new();
        loop {
            let up = self.client.output().to_vec();
            self.client.sent(up.len());
            self.session.receive(&up);
            self.session.advance(&mut self.gateway);
            while let Some(order) = self.gateway.next_order() {
                if let ControlToEngine::CommitEdit(edit) = order {
                    let heard = self.gateway.heard(EngineToControl::EditAccepted(edit));
                    self.session.answer(heard.verdict.unwrap());
                }
                self.told.push(order);
            }
            let down = self.session.output().to_vec();
            self.session.sent(down.len());
            received.extend(self.client.receive(&down).unwrap());
            if up.is_empty() && down.is_empty() {
                return received;
            }
        }
    }

    fn ask(&mut self, request: &Request<'_>) -> Reply {
        self.client.send(request).unwrap();
        let received = self.carry();
        let [Received::Reply { outcome, .. }] = received.as_slice() else {
            panic!("{received:?}");
        };
        outcome.clone().unwrap()
    }

    fn data(&mut self, request: &Request<'_>) -> Data {
        match self.ask(request) {
            Reply::Data(data) => *data,
            other @ (Reply::Ok | Reply::Evidence(_) | Reply::Log(_)) => panic!("{other:?}"),
        }
    }

    fn told_policies(&mut self) -> Vec<Policy> {
        let told = core::mem::take(&mut self.told).into_iter();
        told.filter_map(|order| match order {
            ControlToEngine::Put(policy) => Some(*policy),
            ControlToEngine::BeginEdit(_)
            | ControlToEngine::BeginRestore(_)
            | ControlToEngine::Remove(_)
            | ControlToEngine::CommitEdit(_)
            | ControlToEngine::Lease(_)
            | ControlToEngine::Order(_) => None,
        })
        .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn policies_come_through_unchanged(policies in policies()) {
        let mut ends = Ends::new();
        prop_assert_eq!(ends.ask(&Request::Replace(&policies)), Reply::Ok);
        prop_assert_eq!(&ends.told_policies(), &policies);
        prop_assert_eq!(&ends.data(&Request::Configuration).policies, &policies);

        let copy = Running::from_copy(&ends.gateway.running().to_copy()).unwrap();
        prop_assert_eq!(&copy, ends.gateway.running());

        // The same again changes nothing; taking all out leaves nothing.
        prop_assert_eq!(ends.ask(&Request::Change { remove: &[], put: &policies }), Reply::Ok);
        prop_assert_eq!(ends.told_policies(), vec![]);
        let names: Vec<_> = policies.iter().map(|policy| policy.name.clone()).collect();
        prop_assert_eq!(ends.ask(&Request::Change { remove: &names, put: &[] }), Reply::Ok);
        prop_assert_eq!(ends.data(&Request::Configuration).policies, vec![]);
    }

    #[test]
    fn tunnels_come_through_unchanged(tunnels in vec(tunnel(), 0..4)) {
        let mut ends = Ends::new();
        let mut expected = std::collections::BTreeMap::new();
        for tunnel in tunnels {
            expected.insert(tunnel.reqid, tunnel.clone());
            ends.gateway.heard(EngineToControl::Tunnel(Box::new(tunnel)));
        }
        let expected: Vec<_> = expected.into_values().collect();
        prop_assert_eq!(ends.data(&Request::State).tunnels, expected);
    }

    #[test]
    fn qkd_keys_come_through_unchanged(reports in vec(qkd(), 0..4)) {
        let mut ends = Ends::new();
        let mut expected = std::collections::BTreeMap::new();
        for report in reports {
            expected.insert(report.peer.clone(), report.clone());
            ends.gateway.heard(EngineToControl::Qkd(Box::new(report)));
        }
        let gone = expected.pop_first();
        if let Some((peer, _)) = gone {
            ends.gateway.heard(EngineToControl::QkdGone(peer));
        }
        let expected: Vec<_> = expected.into_values().collect();
        prop_assert_eq!(ends.data(&Request::State).qkd, expected);
    }

    #[test]
    fn notices_come_through_unchanged(notice in notice()) {
        let mut ends = Ends::new();
        ends.ask(&Request::Subscribe);
        ends.session.notify(&notice, UnixTime(Duration::ZERO));
        let received = ends.carry();
        let [Received::Notification { notice: told, .. }] = received.as_slice() else {
            panic!("{received:?}");
        };
        prop_assert_eq!(&**told, &notice);
    }
}
