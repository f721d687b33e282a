//! What we write is what an independent codec reads, and what it writes is what we read.

#![cfg(test)]
#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

mod independent;

use std::net::IpAddr;

use bartizan_model::ids::Spi;
use bartizan_model::message::SaId;
use bartizan_model::policy::{DontFragment, Mode, Prefix, Suite};
use bartizan_secret::Secret;
use bartizan_xfrm::{
    Dump, Event, KernelDirection, KernelPolicy, KernelSa, KernelSelector, Limits, NoRoom, Owner,
    PolicyId, ReplayWindow, Replies, Request, SaKey, Said, Shown, Template, Upper, Verdict,
};
use netlink_packet_xfrm::monitor::{AcquireMessage, ExpireMessage, NewAsyncEventMessage};
use netlink_packet_xfrm::policy::ModifyMessage as PolicyMessage;
use netlink_packet_xfrm::state::ModifyMessage as SaMessage;
use netlink_packet_xfrm::{ReplayEsn, UserAcquire, UserExpire, XfrmAttrs, XfrmMessage};
use proptest::prelude::*;

use independent::{decoded, sa_info_of, selector_of, template_of};

const KEY: [u8; 36] = *b"0123456789abcdef0123456789abcdefSALT";

fn address(v4: bool) -> BoxedStrategy<IpAddr> {
    if v4 {
        any::<[u8; 4]>().prop_map(IpAddr::from).boxed()
    } else {
        any::<[u8; 16]>().prop_map(IpAddr::from).boxed()
    }
}

fn prefix(v4: bool) -> impl Strategy<Value = Prefix> {
    (any::<u128>(), 0..=if v4 { 32_u8 } else { 128 }).prop_map(move |(bits, length)| {
        let kept = |width: u8| {
            let dropped = u32::from(width - length);
            let mask = u128::MAX.checked_shl(dropped).unwrap_or(0);
            bits & mask
        };
        let address = if v4 {
            IpAddr::from(
                u32::try_from(kept(32) & u128::from(u32::MAX))
                    .unwrap()
                    .to_be_bytes(),
            )
        } else {
            IpAddr::from(kept(128).to_be_bytes())
        };
        Prefix::new(address, length).unwrap()
    })
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![
        Just(Owner::BuiltIn),
        (1..=u32::MAX).prop_map(|reqid| Owner::Entry(reqid.try_into().unwrap())),
    ]
}

fn selector(v4: bool) -> impl Strategy<Value = KernelSelector> {
    let upper = (
        proptest::option::of(1_u8..),
        any::<Option<u16>>(),
        any::<Option<u16>>(),
    );
    let upper = upper.prop_map(|(protocol, source_port, destination_port)| Upper {
        protocol,
        source_port,
        destination_port,
    });
    (prefix(v4), prefix(v4), upper, owner()).prop_map(|(source, destination, upper, owner)| {
        KernelSelector::new(source, destination, upper, owner).unwrap()
    })
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Tunnel), Just(Mode::Transport)]
}

fn limits() -> impl Strategy<Value = Limits> {
    any::<[u64; 6]>().prop_map(|[a, b, c, d, e, f]| Limits {
        soft_bytes: a,
        hard_bytes: b,
        soft_packets: c,
        hard_packets: d,
        soft_seconds: e,
        hard_seconds: f,
    })
}

prop_compose! {
    fn sa()(outer_v4 in any::<bool>(), inner_v4 in any::<bool>())(
        destination in address(outer_v4),
        source in address(outer_v4),
        selector in selector(inner_v4),
        spi in 256..=u32::MAX,
        reqid in any::<u32>(),
        mode in mode(),
        df in prop_oneof![Just(DontFragment::Clear), Just(DontFragment::Copy)],
        words in 1..=128_u32,
        limits in limits(),
    ) -> KernelSa {
        KernelSa {
            id: SaId { spi: Spi::try_from(spi).unwrap(), destination },
            source,
            reqid,
            mode,
            df,
            selector,
            suite: Suite::AesGcm256,
            replay_window: ReplayWindow::new(words * 32).unwrap(),
            limits,
        }
    }
}

prop_compose! {
    fn policy()(outer_v4 in any::<bool>(), inner_v4 in any::<bool>())(
        direction in proptest::sample::select(&KernelDirection::ALL[..]),
        selector in selector(inner_v4),
        priority in any::<u32>(),
        verdict in prop_oneof![
            Just(Verdict::Block),
            Just(Verdict::Pass),
            (address(outer_v4), address(outer_v4), any::<u32>(), mode()).prop_map(
                |(source, destination, reqid, mode)| {
                    Verdict::Protect(Template { source, destination, reqid, mode })
                }
            ),
        ],
    ) -> KernelPolicy {
        KernelPolicy { id: PolicyId { direction, selector }, priority, verdict }
    }
}

fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut buffer = vec![0xa5; 2048];
    let len = request.encode(&mut buffer, 77).unwrap();
    buffer.truncate(len);
    buffer
}

fn attributes(sa: &KernelSa, words: u32, key: Vec<u8>) -> Vec<XfrmAttrs> {
    assert_eq!(sa.suite, Suite::AesGcm256);
    vec![
        XfrmAttrs::EncryptionAlgAead(independent::aes_gcm_256(key)),
        XfrmAttrs::ReplayStateEsn(ReplayEsn {
            bmp_len: words,
            replay_window: words * 32,
            bmp: vec![0; usize::try_from(words).unwrap()],
            ..ReplayEsn::default()
        }),
    ]
}

/// The window is what nobody can read back from the type; it is found from the message's length.
fn words_of(message: &[u8]) -> u32 {
    let rest = message.len() - 16 - 224 - (4 + 72 + 36) - (4 + 24);
    u32::try_from(rest / 4).unwrap()
}

proptest! {
    #[test]
    fn an_sa_with_its_key_arrives_as_ordered(sa in sa()) {
        let key = Secret::from_fn(KEY.len(), |slot| slot.copy_from_slice(&KEY)).unwrap();
        let key = SaKey::new(&key, sa.suite).unwrap();
        let bytes = encoded(&Request::AddSa(&sa, key));
        let words = words_of(&bytes);
        prop_assert_eq!(ReplayWindow::new(words * 32), Some(sa.replay_window));
        let expected = XfrmMessage::AddSa(SaMessage {
            user_sa_info: sa_info_of(&sa),
            nlas: attributes(&sa, words, KEY.to_vec()),
        });
        prop_assert_eq!(decoded(&bytes, 77), expected);
    }

    #[test]
    fn an_extension_repeats_the_sa_with_a_key_that_nobody_knows(sa in sa()) {
        let bytes = [encoded(&Request::UpdateSa(&sa)), encoded(&Request::UpdateSa(&sa))];
        let keys = bytes.each_ref().map(|bytes| {
            let XfrmMessage::UpdateSa(message) = decoded(bytes, 77) else {
                panic!("not an update");
            };
            assert_eq!(message.user_sa_info, sa_info_of(&sa));
            let [XfrmAttrs::EncryptionAlgAead(aead), XfrmAttrs::ReplayStateEsn(_)] =
                &message.nlas[..]
            else {
                panic!("{:?}", message.nlas);
            };
            assert_eq!(aead, &independent::aes_gcm_256(aead.alg_key.clone()));
            aead.alg_key.clone()
        });
        prop_assert_ne!(&keys[0], &keys[1]);
        prop_assert_ne!(&keys[0], &vec![0; 36]);
    }

    #[test]
    fn an_sa_is_named_as_ordered(sa in sa()) {
        let name = independent::sa_id_of(sa.id);
        let named = |request| decoded(&encoded(&request), 77);
        prop_assert_eq!(named(Request::DeleteSa(sa.id)), XfrmMessage::DeleteSa(name.clone()));
        prop_assert_eq!(named(Request::ShowSa(sa.id)), XfrmMessage::GetSa(name.clone()));
        let XfrmMessage::GetAsyncEvent(question) = named(Request::CountSa(sa.id)) else {
            panic!("not a question for the counters");
        };
        prop_assert_eq!(question.id.sa_id, name.user_sa_id);
    }

    #[test]
    fn an_spi_is_asked_for_as_ordered(sa in sa(), low in 256..=u32::MAX, high in 256..=u32::MAX) {
        let request = Request::AllocateSpi {
            sa: &sa,
            low: low.try_into().unwrap(),
            high: high.try_into().unwrap(),
        };
        let XfrmMessage::AllocSpi(message) = decoded(&encoded(&request), 77) else {
            panic!("not an ALLOCSPI");
        };
        prop_assert_eq!(message.spi_info.info, sa_info_of(&sa));
        prop_assert_eq!((message.spi_info.min, message.spi_info.max), (low, high));
        prop_assert_eq!(message.nlas, []);
    }

    #[test]
    fn a_policy_arrives_as_ordered(policy in policy()) {
        let expected = independent::policy_message_of(&policy);
        let added = decoded(&encoded(&Request::AddPolicy(&policy)), 77);
        prop_assert_eq!(added, XfrmMessage::AddPolicy(expected.clone()));
        let put = decoded(&encoded(&Request::PutPolicy(&policy)), 77);
        prop_assert_eq!(put, XfrmMessage::UpdatePolicy(expected));
    }

    #[test]
    fn a_policy_is_named_as_ordered(policy in policy(), index in any::<u32>()) {
        let XfrmMessage::DeletePolicy(by_name) =
            decoded(&encoded(&Request::DeletePolicy(policy.id)), 77)
        else {
            panic!("not a DELPOLICY");
        };
        prop_assert_eq!(by_name.user_policy_id.selector, selector_of(policy.id.selector));
        prop_assert_eq!(by_name.user_policy_id.index, 0);
        let at = Request::DeletePolicyAt(policy.id.direction, index);
        let XfrmMessage::DeletePolicy(by_index) = decoded(&encoded(&at), 77) else {
            panic!("not a DELPOLICY");
        };
        prop_assert_eq!(by_index.user_policy_id.index, index);
        prop_assert_eq!(by_index.user_policy_id.direction, by_name.user_policy_id.direction);
    }

    #[test]
    fn an_sa_is_read_as_shown(sa in sa(), sent in any::<u64>(), received in any::<u64>(), used in any::<[u64; 4]>()) {
        let halves = |wide: u64| (u32::try_from(wide >> 32).unwrap(), u32::try_from(wide & 0xffff_ffff).unwrap());
        let ((oseq_hi, oseq), (seq_hi, seq)) = (halves(sent), halves(received));
        let mut info = sa_info_of(&sa);
        info.lifetime_cur.bytes = used[0];
        info.lifetime_cur.packets = used[1];
        info.lifetime_cur.add_time = used[2];
        info.lifetime_cur.use_time = used[3];
        let message = XfrmMessage::AddSa(SaMessage {
            user_sa_info: info,
            nlas: vec![
                XfrmAttrs::EncryptionAlgAead(independent::aes_gcm_256(KEY.to_vec())),
                XfrmAttrs::ReplayStateEsn(ReplayEsn {
                    bmp_len: 1, oseq, seq, oseq_hi, seq_hi, replay_window: 32, bmp: vec![0],
                }),
            ],
        });
        let Said::Shown(Shown::Sa(shown)) = independent::said(message) else {
            panic!("not an SA");
        };
        prop_assert_eq!(shown.id(), Some(sa.id));
        prop_assert_eq!((shown.source, shown.reqid), (sa.source, sa.reqid));
        prop_assert_eq!((shown.mode, shown.selector), (Some(sa.mode), Some(sa.selector)));
        prop_assert_eq!(shown.limits, sa.limits);
        let shown_used = [shown.used.bytes, shown.used.packets, shown.used.added];
        prop_assert_eq!(shown_used, [used[0], used[1], used[2]]);
        let replay = shown.replay.unwrap();
        prop_assert_eq!((replay.sent, replay.received, replay.window), (sent, received, 32));
    }

    #[test]
    fn counters_are_read_as_shown(used in any::<[u64; 4]>()) {
        let current = netlink_packet_xfrm::Lifetime {
            bytes: used[0], packets: used[1], add_time: used[2], use_time: used[3],
        };
        let message = XfrmMessage::NewAsyncEvent(NewAsyncEventMessage {
            nlas: vec![
                XfrmAttrs::ReplayStateEsn(ReplayEsn { bmp_len: 1, oseq: 5, bmp: vec![0],
                    replay_window: 32, ..ReplayEsn::default() }),
                XfrmAttrs::LifetimeBytes(current),
            ],
            ..NewAsyncEventMessage::default()
        });
        let Said::Shown(Shown::Counters(counters)) = independent::said(message) else {
            panic!("no counters");
        };
        prop_assert_eq!(counters.used.added, used[2]);
        prop_assert_eq!(counters.replay.unwrap().sent, 5);
    }

    #[test]
    fn a_policy_is_read_as_shown(policy in policy(), index in any::<u32>()) {
        let mut message: PolicyMessage = independent::policy_message_of(&policy);
        message.user_policy_info.index = index;
        let Said::Shown(Shown::Policy(shown)) =
            independent::said(XfrmMessage::AddPolicy(message))
        else {
            panic!("not a policy");
        };
        prop_assert_eq!(shown.id(), Some(policy.id));
        prop_assert_eq!((shown.index, shown.priority), (index, policy.priority));
        prop_assert_eq!(shown.blocks, policy.verdict == Verdict::Block);
        let reqid = match policy.verdict {
            Verdict::Protect(template) => Some(template.reqid),
            Verdict::Block | Verdict::Pass => None,
        };
        prop_assert_eq!(shown.reqid, reqid);
    }

    #[test]
    fn an_expiry_is_read_as_reported(sa in sa(), hard in any::<bool>()) {
        let expire = UserExpire { state: sa_info_of(&sa), hard: hard.into() };
        let event = independent::said(XfrmMessage::Expire(ExpireMessage { expire }));
        let expected = Event::Expired { sa: Some(sa.id), reqid: sa.reqid, hard };
        prop_assert_eq!(event, Said::Event(expected));
    }

    #[test]
    fn a_wish_for_an_sa_is_read_as_reported(policy in policy()) {
        let Verdict::Protect(template) = policy.verdict else {
            return Ok(());
        };
        let mut acquire = UserAcquire::default();
        acquire.id.proto = 50;
        let event = independent::said(XfrmMessage::Acquire(AcquireMessage {
            acquire,
            nlas: vec![XfrmAttrs::Template(vec![template_of(template)])],
        }));
        prop_assert_eq!(event, Said::Event(Event::Acquire { reqid: template.reqid }));
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Replies::of(&bytes).count() <= bytes.len() / 16 + 1);
    }

    #[test]
    fn a_damaged_message_is_read_without_harm(
        sa in sa(), at in 0..400_usize, value in any::<u8>(), len in 0..600_usize,
    ) {
        let info = sa_info_of(&sa);
        let message = XfrmMessage::AddSa(SaMessage { user_sa_info: info, nlas: Vec::new() });
        let mut bytes = independent::datagram(message);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        bytes.truncate(len);
        prop_assert!(Replies::of(&bytes).count() <= bytes.len() / 16 + 1);
    }
}

#[test]
fn everything_is_asked_for_and_flushed_as_ordered() {
    let flush = decoded(&encoded(&Request::FlushSas), 77);
    let XfrmMessage::FlushSa(message) = flush else {
        panic!("{flush:?}");
    };
    assert_eq!(message.protocol, 0, "every protocol");
    let flush = decoded(&encoded(&Request::FlushPolicies), 77);
    assert!(matches!(flush, XfrmMessage::FlushPolicy(_)));
    for (dump, kind) in [(Dump::Sas, 0x12_u8), (Dump::Policies, 0x15)] {
        let mut buffer = [0; 32];
        let len = dump.encode(&mut buffer, 9).unwrap();
        let header = [16, 0, 0, 0, kind, 0, 1, 3, 9, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(buffer[..len], header, "REQUEST, ROOT and MATCH");
    }
}

#[test]
fn a_request_that_does_not_fit_leaves_no_key_behind() {
    let key = Secret::from_fn(KEY.len(), |slot| slot.copy_from_slice(&KEY)).unwrap();
    let sa = KernelSa {
        id: SaId {
            spi: 4096.try_into().unwrap(),
            destination: [192, 0, 2, 1].into(),
        },
        source: [192, 0, 2, 2].into(),
        reqid: 1,
        mode: Mode::Tunnel,
        df: DontFragment::Clear,
        selector: KernelSelector::new(
            Prefix::ANY_V4,
            Prefix::ANY_V4,
            Upper::default(),
            Owner::BuiltIn,
        )
        .unwrap(),
        suite: Suite::AesGcm256,
        replay_window: ReplayWindow::SMALLEST,
        limits: Limits {
            soft_bytes: 0,
            hard_bytes: 0,
            soft_packets: 0,
            hard_packets: 0,
            soft_seconds: 0,
            hard_seconds: 0,
        },
    };
    let request = Request::AddSa(&sa, SaKey::new(&key, sa.suite).unwrap());
    let whole = request.encode(&mut [0; 1024], 1).unwrap();
    for room in 0..whole {
        let mut buffer = vec![0; room];
        assert_eq!(request.encode(&mut buffer, 1), Err(NoRoom));
        assert!(buffer.iter().all(|byte| *byte == 0));
    }
    assert_eq!(request.encode(&mut vec![0; whole], 1), Ok(whole));
}

#[test]
fn a_key_of_another_length_is_none() {
    for len in [1, 32, 35, 37, 64] {
        let key = Secret::from_fn(len, |_| ()).unwrap();
        assert!(SaKey::new(&key, Suite::AesGcm256).is_none());
    }
}
