//! `ietf-i2nsf-ikeless` (RFC 9061), as far as the gateway knows it, and RFC 5277's streams.

use bartizan_model::policy::{Direction, Mode};

use crate::namespace::Namespace::{self, Ikeless, Streams};
use crate::schema::bartizan::HYBRID_KEYING;
use crate::schema::{Node, Type};
use crate::words::{Words, meaning};

const U8: Type = Type::Unsigned(255);
const U16: Type = Type::Unsigned(65_535);
const U32: Type = Type::Unsigned(4_294_967_295);
const U64: Type = Type::Unsigned(u64::MAX);

/// `ipsec-spd-action`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SpdAction {
    Protect,
    Bypass,
    Discard,
}

/// `df-bit`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DfBit {
    Clear,
    Set,
    Copy,
}

pub(crate) const DIRECTIONS: Words<Direction> = &[
    ("inbound", Direction::Inbound),
    ("outbound", Direction::Outbound),
];

pub(crate) const ACTIONS: Words<SpdAction> = &[
    ("protect", SpdAction::Protect),
    ("bypass", SpdAction::Bypass),
    ("discard", SpdAction::Discard),
];

pub(crate) const MODES: Words<Mode> = &[("transport", Mode::Transport), ("tunnel", Mode::Tunnel)];

pub(crate) const DF_BITS: Words<DfBit> = &[
    ("clear", DfBit::Clear),
    ("set", DfBit::Set),
    ("copy", DfBit::Copy),
];

const fn leaf(name: &'static str, value: Type) -> Node {
    Node::leaf(Ikeless, name, value)
}

const fn container(name: &'static str, children: &'static [Node]) -> Node {
    Node::container(Ikeless, name, children)
}

const fn list(
    name: &'static str,
    keys: &'static [&'static str],
    children: &'static [Node],
) -> Node {
    Node::list(Ikeless, name, keys, children)
}

/// The root of the module; entries are decoded one by one.
pub(crate) static IPSEC_IKELESS: Node = container("ipsec-ikeless", &[SPD, SAD]);

/// The policies.
pub(crate) const SPD: Node = container("spd", &[SPD_ENTRY]);

/// The SAs, of which a controller can say nothing.
pub(crate) const SAD: Node = container("sad", &[SAD_ENTRY]);

/// An SA, as far as its name.
pub(crate) const SAD_ENTRY: Node = list("sad-entry", &["name"], &[leaf("name", Type::Text)]);

/// One SPD entry with our augment.
pub(crate) const SPD_ENTRY: Node = list(
    "spd-entry",
    &["name"],
    &[
        leaf("name", Type::Text),
        leaf(
            "direction",
            Type::Word(|text| meaning(DIRECTIONS, text).is_some()),
        ),
        leaf("reqid", U64),
        container("ipsec-policy-config", IPSEC_POLICY),
        HYBRID_KEYING,
    ],
);

const IPSEC_POLICY: &[Node] = &[
    leaf("anti-replay-window-size", U32),
    container("traffic-selector", SELECTOR),
    container(
        "processing-info",
        &[
            leaf(
                "action",
                Type::Word(|text| meaning(ACTIONS, text).is_some()),
            ),
            container("ipsec-sa-cfg", SA_CONFIG),
        ],
    ),
];

const SELECTOR: &[Node] = &[
    leaf("local-prefix", Type::Prefix),
    leaf("remote-prefix", Type::Prefix),
    leaf("inner-protocol", Type::InnerProtocol),
    list("local-ports", &["start", "end"], PORT_RANGE),
    list("remote-ports", &["start", "end"], PORT_RANGE),
];

const PORT_RANGE: &[Node] = &[leaf("start", U16), leaf("end", U16)];

const SA_CONFIG: &[Node] = &[
    leaf("pfp-flag", Type::Boolean),
    leaf("ext-seq-num", Type::Boolean),
    leaf("seq-overflow", Type::Boolean),
    leaf("stateful-frag-check", Type::Boolean),
    leaf("mode", Type::Word(|text| meaning(MODES, text).is_some())),
    leaf("protocol-parameters", Type::Word(|text| text == "esp")),
    container(
        "esp-algorithms",
        &[
            Node::leaf_list(Ikeless, "integrity", U16),
            list(
                "encryption",
                &["id"],
                &[
                    leaf("id", U16),
                    leaf("algorithm-type", U16),
                    leaf("key-length", U16),
                ],
            ),
            leaf("tfc-pad", Type::Boolean),
        ],
    ),
    container(
        "tunnel",
        &[
            leaf("local", Type::Address),
            leaf("remote", Type::Address),
            leaf(
                "df-bit",
                Type::Word(|text| meaning(DF_BITS, text).is_some()),
            ),
            leaf("bypass-dscp", Type::Boolean),
            list(
                "dscp-mapping",
                &["id"],
                &[
                    leaf("id", U8),
                    leaf("inner-dscp", Type::Unsigned(63)),
                    leaf("outer-dscp", Type::Unsigned(63)),
                ],
            ),
        ],
    ),
];

/// RFC 9061, 5.3.
pub(crate) static SADB_EXPIRE: Node = container(
    "sadb-expire",
    &[
        leaf("ipsec-sa-name", Type::Text),
        leaf("soft-lifetime-expire", Type::Boolean),
        container(
            "lifetime-current",
            &[
                leaf("time", U32),
                leaf("bytes", U64),
                leaf("packets", U32),
                leaf("idle", U32),
            ],
        ),
    ],
);

const fn streams_leaf(name: &'static str, value: Type) -> Node {
    Node::leaf(Namespace::Streams, name, value).state()
}

/// RFC 5277, 3.2.5.1: which streams can be subscribed to.
pub(crate) static STREAMS: Node = Node::container(
    Streams,
    "netconf",
    &[Node::container(
        Streams,
        "streams",
        &[Node::list(
            Streams,
            "stream",
            &["name"],
            &[
                streams_leaf("name", Type::Text),
                streams_leaf("description", Type::Text),
                streams_leaf("replaySupport", Type::Boolean),
            ],
        )
        .state()],
    )
    .state()],
)
.state();
