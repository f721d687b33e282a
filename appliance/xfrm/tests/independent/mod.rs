//! The same messages in the types of an independent codec.

use std::net::IpAddr;

use bartizan_model::message::SaId;
use bartizan_model::policy::{DontFragment, Mode, Prefix};
use bartizan_xfrm::{
    KernelDirection, KernelPolicy, KernelSa, KernelSelector, Owner, Replies, Said, Template,
    Verdict,
};
use netlink_packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use netlink_packet_xfrm::policy::ModifyMessage as PolicyMessage;
use netlink_packet_xfrm::state::DelGetMessage;
use netlink_packet_xfrm::{
    Address, AlgAead, Id, LifetimeConfig, Selector, UserPolicyInfo, UserSaId, UserSaInfo,
    UserTemplate, XfrmAttrs, XfrmMessage,
};

/// Reads a message with the independent codec, all of it.
pub(crate) fn decoded(message: &[u8], seq: u32) -> XfrmMessage {
    let frame = NetlinkBuffer::new_checked(message).unwrap();
    let declared = usize::try_from(frame.length()).unwrap();
    assert_eq!(declared.next_multiple_of(4), message.len());
    let frame = NetlinkMessage::<XfrmMessage>::deserialize(message).unwrap();
    assert_eq!(frame.header.sequence_number, seq);
    assert_eq!(
        frame.header.flags, 1,
        "a request, not yet with an acknowledgement"
    );
    let NetlinkPayload::InnerMessage(inner) = frame.payload else {
        panic!("no XFRM message");
    };
    inner
}

/// Writes a message of the kernel with the independent codec.
pub(crate) fn datagram(message: XfrmMessage) -> Vec<u8> {
    let mut frame = NetlinkMessage::from(message);
    frame.header.sequence_number = 77;
    frame.finalize();
    let mut bytes = vec![0; frame.buffer_len()];
    frame.serialize(&mut bytes);
    bytes
}

/// What we read from a message of the kernel.
pub(crate) fn said(message: XfrmMessage) -> Said {
    let bytes = datagram(message);
    let mut replies = Replies::of(&bytes);
    let reply = replies.next().unwrap();
    assert_eq!(reply.seq, 77);
    assert_eq!(replies.next(), None);
    reply.said
}

pub(crate) fn selector_of(selector: KernelSelector) -> Selector {
    let (source, destination) = (selector.source(), selector.destination());
    let upper = selector.upper();
    let masked = |port: Option<u16>| port.map_or((0, 0), |port| (port, u16::MAX));
    let (sport, sport_mask) = masked(upper.source_port);
    let (dport, dport_mask) = masked(upper.destination_port);
    Selector {
        daddr: address_of(destination),
        saddr: address_of(source),
        dport,
        dport_mask,
        sport,
        sport_mask,
        family: family_of(destination.address()),
        prefixlen_d: destination.length(),
        prefixlen_s: source.length(),
        proto: upper.protocol.unwrap_or(0),
        ifindex: 0,
        user: match selector.owner() {
            Owner::BuiltIn => 0,
            Owner::Entry(reqid) => reqid.into(),
        },
    }
}

pub(crate) fn sa_info_of(sa: &KernelSa) -> UserSaInfo {
    UserSaInfo {
        selector: selector_of(sa.selector),
        id: Id {
            daddr: Address::from_ip(&sa.id.destination),
            spi: sa.id.spi.into(),
            proto: 50,
        },
        saddr: Address::from_ip(&sa.source),
        lifetime_cfg: LifetimeConfig {
            soft_byte_limit: sa.limits.soft_bytes,
            hard_byte_limit: sa.limits.hard_bytes,
            soft_packet_limit: sa.limits.soft_packets,
            hard_packet_limit: sa.limits.hard_packets,
            soft_add_expires_seconds: sa.limits.soft_seconds,
            hard_add_expires_seconds: sa.limits.hard_seconds,
            soft_use_expires_seconds: 0,
            hard_use_expires_seconds: 0,
        },
        reqid: sa.reqid,
        family: family_of(sa.id.destination),
        mode: mode_of(sa.mode),
        flags: 128
            | match (sa.mode, sa.id.destination, sa.df) {
                (Mode::Tunnel, IpAddr::V4(_), DontFragment::Clear) => 4,
                _ => 0,
            },
        ..UserSaInfo::default()
    }
}

pub(crate) fn sa_id_of(id: SaId) -> DelGetMessage {
    DelGetMessage {
        user_sa_id: UserSaId {
            daddr: Address::from_ip(&id.destination),
            spi: id.spi.into(),
            family: family_of(id.destination),
            proto: 50,
        },
        nlas: Vec::new(),
    }
}

pub(crate) fn aes_gcm_256(key: Vec<u8>) -> AlgAead {
    let mut alg_name = [0; 64];
    alg_name[..17].copy_from_slice(b"rfc4106(gcm(aes))");
    AlgAead {
        alg_name,
        alg_key_len: 256 + 32,
        alg_icv_len: 128,
        alg_key: key,
    }
}

pub(crate) fn template_of(template: Template) -> UserTemplate {
    UserTemplate {
        id: Id {
            daddr: Address::from_ip(&template.destination),
            spi: 0,
            proto: 50,
        },
        family: family_of(template.destination),
        saddr: Address::from_ip(&template.source),
        reqid: template.reqid,
        mode: mode_of(template.mode),
        ..UserTemplate::default()
    }
}

pub(crate) fn policy_message_of(policy: &KernelPolicy) -> PolicyMessage {
    let (action, template) = match policy.verdict {
        Verdict::Block => (1, None),
        Verdict::Pass => (0, None),
        Verdict::Protect(template) => (0, Some(template)),
    };
    PolicyMessage {
        user_policy_info: UserPolicyInfo {
            selector: selector_of(policy.id.selector),
            lifetime_cfg: LifetimeConfig {
                soft_byte_limit: u64::MAX,
                hard_byte_limit: u64::MAX,
                soft_packet_limit: u64::MAX,
                hard_packet_limit: u64::MAX,
                soft_add_expires_seconds: 0,
                hard_add_expires_seconds: 0,
                soft_use_expires_seconds: 0,
                hard_use_expires_seconds: 0,
            },
            priority: policy.priority,
            direction: KernelDirection::ALL
                .iter()
                .position(|direction| *direction == policy.id.direction)
                .unwrap()
                .try_into()
                .unwrap(),
            action,
            ..UserPolicyInfo::default()
        },
        nlas: template
            .map(|template| XfrmAttrs::Template(vec![template_of(template)]))
            .into_iter()
            .collect(),
    }
}

fn address_of(prefix: Prefix) -> Address {
    Address::from_ip(&prefix.address())
}

fn family_of(address: IpAddr) -> u16 {
    if address.is_ipv4() { 2 } else { 10 }
}

fn mode_of(mode: Mode) -> u8 {
    match mode {
        Mode::Transport => 0,
        Mode::Tunnel => 1,
    }
}
