//! `bartizan-ikeless`, our augmenting module.

use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::policy::{Combiner, Dial, Need, ParameterSet};
use bartizan_model::report::{Alarm, NetworkState, QkdRefusal, SourceSet, TunnelState};

use crate::limits;
use crate::namespace::Namespace::{Bartizan, BartizanAttestation};
use crate::schema::{Node, QKD_KEYS, Type};
use crate::words::{Words, meaning};

const U16: Type = Type::Unsigned(65_535);
const U32: Type = Type::Unsigned(4_294_967_295);
const U64: Type = Type::Unsigned(u64::MAX);

/// Who begins a new generation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RekeyMode {
    Delegated,
    Controller,
}

pub(crate) const NEEDS: Words<Need> = &[("required", Need::Required), ("optional", Need::Optional)];

pub(crate) const DIALS: Words<Dial> = &[("lower", Dial::Lower), ("higher", Dial::Higher)];

pub(crate) const COMBINERS: Words<Combiner> = &[
    ("hmac", Combiner::Hmac),
    ("xor", Combiner::Xor),
    ("xorhmac", Combiner::XorHmac),
];

pub(crate) const REKEY_MODES: Words<RekeyMode> = &[
    ("delegated", RekeyMode::Delegated),
    ("controller", RekeyMode::Controller),
];

pub(crate) const PARAMETER_SETS: Words<ParameterSet> = &[
    ("ml-kem-512", ParameterSet::MlKem512),
    ("ml-kem-768", ParameterSet::MlKem768),
    ("ml-kem-1024", ParameterSet::MlKem1024),
];

pub(crate) const LIFECYCLES: Words<Lifecycle> = &[
    ("factory", Lifecycle::Factory),
    ("discovering", Lifecycle::Discovering),
    ("enrolling", Lifecycle::Enrolling),
    ("attesting", Lifecycle::Attesting),
    ("attested", Lifecycle::Attested),
    ("operational", Lifecycle::Operational),
    ("quarantined", Lifecycle::Quarantined),
    ("decommissioned", Lifecycle::Decommissioned),
];

pub(crate) const NETWORKS: Words<NetworkState> = &[
    ("image", NetworkState::Image),
    ("written", NetworkState::Written),
    ("on-trial", NetworkState::OnTrial),
    ("settled", NetworkState::Settled),
    ("rolled-back", NetworkState::RolledBack),
];

pub(crate) const STATES: Words<TunnelState> = &[
    ("blocked", TunnelState::Blocked),
    ("starting", TunnelState::Starting),
    ("protected", TunnelState::Protected),
    ("rekeying", TunnelState::Rekeying),
];

pub(crate) const SOURCES: Words<SourceSet> = &[
    ("none", SourceSet::NONE),
    ("qkd", sources(true, false, false)),
    ("kem", sources(false, true, false)),
    ("qkd-and-kem", sources(true, true, false)),
    ("x25519", sources(false, false, true)),
    ("qkd-and-x25519", sources(true, false, true)),
    ("kem-and-x25519", sources(false, true, true)),
    ("qkd-and-kem-and-x25519", sources(true, true, true)),
];

const fn sources(qkd: bool, kem: bool, classical: bool) -> SourceSet {
    SourceSet {
        qkd,
        kem,
        classical,
    }
}

pub(crate) const ALARMS: Words<Alarm> = &[
    ("no-lease", Alarm::NoLease),
    ("peer-no-lease", Alarm::PeerNoLease),
    ("peer-unreachable", Alarm::PeerUnreachable),
    ("peer-abandoned", Alarm::PeerAbandoned),
    ("peer-mismatch", Alarm::PeerMismatch),
    ("tag-mismatch", Alarm::TagMismatch),
    ("timed-out", Alarm::TimedOut),
    ("kernel", Alarm::Kernel),
    ("locked-memory", Alarm::LockedMemory),
    ("qkd-unreachable", Alarm::Qkd(QkdRefusal::Unreachable)),
    ("qkd-timed-out", Alarm::Qkd(QkdRefusal::TimedOut)),
    ("qkd-bad-request", Alarm::Qkd(QkdRefusal::BadRequest)),
    ("qkd-unauthorized", Alarm::Qkd(QkdRefusal::Unauthorized)),
    ("qkd-unavailable", Alarm::Qkd(QkdRefusal::Unavailable)),
    ("qkd-bad-reply", Alarm::Qkd(QkdRefusal::BadReply)),
    ("qkd-wrong-key-id", Alarm::Qkd(QkdRefusal::WrongKeyId)),
    ("qkd-wrong-length", Alarm::Qkd(QkdRefusal::WrongLength)),
    ("qkd-zero-key", Alarm::Qkd(QkdRefusal::ZeroKey)),
    ("qkd-repeated-key", Alarm::Qkd(QkdRefusal::RepeatedKey)),
    ("qkd-busy", Alarm::Qkd(QkdRefusal::Busy)),
    ("qkd-locked-memory", Alarm::Qkd(QkdRefusal::LockedMemory)),
    ("qkd-budget", Alarm::Qkd(QkdRefusal::Budget)),
    ("qkd-peer-without", Alarm::Qkd(QkdRefusal::PeerWithout)),
];

const fn leaf(name: &'static str, value: Type) -> Node {
    Node::leaf(Bartizan, name, value)
}

const fn state(name: &'static str, value: Type) -> Node {
    leaf(name, value).state()
}

const fn container(name: &'static str, children: &'static [Node]) -> Node {
    Node::container(Bartizan, name, children)
}

const NEED: Node = leaf("need", Type::Word(|text| meaning(NEEDS, text).is_some()));
const PARAMETER_SET: Type = Type::Word(|text| meaning(PARAMETER_SETS, text).is_some());
const COMBINER: Type = Type::Word(|text| meaning(COMBINERS, text).is_some());
const ALARM: Type = Type::Word(|text| meaning(ALARMS, text).is_some());

/// What an `spd-entry` says about its keys.
pub(crate) const HYBRID_KEYING: Node = container(
    "hybrid-keying",
    &[
        leaf("tunnel-id", U32),
        leaf("peer-node", Type::Text),
        leaf("peer-address", Type::Address),
        leaf("peer-port", U16),
        leaf("dial", Type::Word(|text| meaning(DIALS, text).is_some())),
        Node::presence(
            Bartizan,
            "qkd",
            &[
                NEED,
                leaf("peer-sae-id", Type::Text),
                leaf("priority", Type::Unsigned(7)),
                leaf("minimum-keys-per-hour", U32),
            ],
        ),
        Node::presence(
            Bartizan,
            "kem",
            &[NEED, leaf("parameter-set", PARAMETER_SET)],
        ),
        Node::presence(Bartizan, "x25519", &[NEED]),
        leaf("combiner", COMBINER),
        leaf(
            "rekey-mode",
            Type::Word(|text| meaning(REKEY_MODES, text).is_some()),
        ),
        container("soft-lifetime", LIFETIME),
        container("hard-lifetime", LIFETIME),
    ],
);

const LIFETIME: &[Node] = &[leaf("time", U64), leaf("bytes", U64), leaf("packets", U64)];

const EPOCH: Node = state("epoch", U64);
const INBOUND_SPI: Node = state("inbound-spi", U32);
const OUTBOUND_SPI: Node = state("outbound-spi", U32);
const SOURCES_LEAF: Node = state(
    "sources",
    Type::Word(|text| meaning(SOURCES, text).is_some()),
);
const SINCE: Node = state("since", U64);

/// `bartizan-attestation`'s: what comes with a lease.
pub(crate) const LDEVID_CHAIN: Node = Node::leaf_list(
    BartizanAttestation,
    "ldevid-chain",
    Type::Binary(limits::CERTIFICATE),
)
.at_most(limits::CHAIN);

/// The gateway as its owner sees it.
pub(crate) static GATEWAY: Node = container(
    "gateway",
    &[
        leaf("lease", Type::Binary(limits::LEASE)),
        LDEVID_CHAIN,
        state("lease-nonce", Type::Binary(32)),
        state("node", Type::Text),
        state(
            "lifecycle",
            Type::Word(|text| meaning(LIFECYCLES, text).is_some()),
        ),
        state(
            "network",
            Type::Word(|text| meaning(NETWORKS, text).is_some()),
        ),
        Node::list(
            Bartizan,
            "tunnel",
            &["entry"],
            &[
                state("entry", Type::Text),
                state("tunnel-id", U32),
                state("peer-node", Type::Text),
                state("reqid", U32),
                state("state", Type::Word(|text| meaning(STATES, text).is_some())),
                Node::presence(
                    Bartizan,
                    "current",
                    &[EPOCH, INBOUND_SPI, OUTBOUND_SPI, SOURCES_LEAF, SINCE],
                )
                .state(),
                state("rekeys", U64),
                state("alarm", ALARM),
            ],
        )
        .state(),
        QKD_KEYS,
    ],
);

pub(crate) static TUNNEL_ESTABLISHED: Node = container(
    "tunnel-established",
    &[
        state("entry", Type::Text),
        EPOCH,
        INBOUND_SPI,
        OUTBOUND_SPI,
        SOURCES_LEAF,
        SINCE,
        state("parameter-set", PARAMETER_SET),
        state("combiner", COMBINER),
    ],
);

pub(crate) static TUNNEL_ALARM: Node = container(
    "tunnel-alarm",
    &[state("entry", Type::Text), state("alarm", ALARM)],
);

pub(crate) static ENTRY_NOT_PROGRAMMED: Node = container(
    "entry-not-programmed",
    &[state("entry", Type::Text), state("errno", Type::Int32)],
);

pub(crate) static EDIT_PROGRAMMED: Node = container("edit-programmed", &[state("entries", U32)]);

#[cfg(test)]
mod tests {
    use bartizan_model::policy::{Direction, Mode};

    use super::*;
    use crate::schema::{ACTIONS, DF_BITS, DIRECTIONS, DfBit, MODES, SpdAction};

    /// How many values a type has: a value that is added breaks the build here.
    macro_rules! values {
        ($type:ty: $($value:pat),+ $(,)?) => {{
            let _all = |value: $type| match value { $($value => {})+ };
            [$(stringify!($value)),+].len()
        }};
    }

    fn check<T: Copy + PartialEq>(words: Words<T>, values: usize) {
        assert_eq!(words.len(), values);
        for (place, (word, value)) in words.iter().enumerate() {
            let same = |(other, other_value): &(&str, T)| other == word || other_value == value;
            assert_eq!(words.iter().position(same), Some(place), "{word}");
        }
    }

    #[test]
    fn every_value_has_one_word() {
        use QkdRefusal as Q;

        let alarms = values!(Alarm:
            Alarm::NoLease, Alarm::PeerNoLease, Alarm::PeerUnreachable, Alarm::PeerAbandoned,
            Alarm::PeerMismatch, Alarm::TagMismatch, Alarm::TimedOut, Alarm::Kernel,
            Alarm::LockedMemory, Alarm::Qkd(Q::Unreachable), Alarm::Qkd(Q::TimedOut),
            Alarm::Qkd(Q::BadRequest), Alarm::Qkd(Q::Unauthorized), Alarm::Qkd(Q::Unavailable),
            Alarm::Qkd(Q::BadReply), Alarm::Qkd(Q::WrongKeyId), Alarm::Qkd(Q::WrongLength),
            Alarm::Qkd(Q::ZeroKey), Alarm::Qkd(Q::RepeatedKey), Alarm::Qkd(Q::Busy),
            Alarm::Qkd(Q::LockedMemory), Alarm::Qkd(Q::Budget), Alarm::Qkd(Q::PeerWithout),
        );
        check(ALARMS, alarms);
        check(LIFECYCLES, Lifecycle::ALL.len());
        check(
            NETWORKS,
            values!(NetworkState:
                NetworkState::Image, NetworkState::Written, NetworkState::OnTrial,
                NetworkState::Settled, NetworkState::RolledBack,
            ),
        );
        check(
            STATES,
            values!(TunnelState:
                TunnelState::Blocked, TunnelState::Starting, TunnelState::Protected,
                TunnelState::Rekeying,
            ),
        );
        // Each of three sources is in or not.
        check(SOURCES, 8);
        check(
            PARAMETER_SETS,
            values!(ParameterSet:
                ParameterSet::MlKem512, ParameterSet::MlKem768, ParameterSet::MlKem1024,
            ),
        );
        check(NEEDS, values!(Need: Need::Required, Need::Optional));
        check(DIALS, values!(Dial: Dial::Lower, Dial::Higher));
        check(
            COMBINERS,
            values!(Combiner: Combiner::Hmac, Combiner::Xor, Combiner::XorHmac),
        );
        check(
            REKEY_MODES,
            values!(RekeyMode: RekeyMode::Delegated, RekeyMode::Controller),
        );
        check(
            DIRECTIONS,
            values!(Direction: Direction::Inbound, Direction::Outbound),
        );
        check(MODES, values!(Mode: Mode::Tunnel, Mode::Transport));
        check(
            DF_BITS,
            values!(DfBit: DfBit::Clear, DfBit::Set, DfBit::Copy),
        );
        check(
            ACTIONS,
            values!(SpdAction:
                SpdAction::Protect, SpdAction::Bypass, SpdAction::Discard,
            ),
        );
    }
}
