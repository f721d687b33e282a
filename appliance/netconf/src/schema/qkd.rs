//! What `bartizan-ikeless` says of the keys of QKD links.

use bartizan_model::config::KmeInterface;
use bartizan_model::report::{BudgetLevel, LinkReason, LinkState};

use crate::namespace::Namespace::Bartizan;
use crate::schema::{Node, Type};
use crate::words::{Words, meaning};

const U32: Type = Type::Unsigned(4_294_967_295);
const U64: Type = Type::Unsigned(u64::MAX);

pub(crate) const LEVELS: Words<BudgetLevel> = &[
    ("plenty", BudgetLevel::Plenty),
    ("oversold", BudgetLevel::Oversold),
    ("low", BudgetLevel::Low),
    ("dry", BudgetLevel::Dry),
];

pub(crate) const LINK_STATES: Words<LinkState> = &[
    ("healthy", LinkState::Healthy),
    ("degraded", LinkState::Degraded),
    ("refused", LinkState::Refused),
];

pub(crate) const LINK_REASONS: Words<LinkReason> = &[
    ("unreachable", LinkReason::Unreachable),
    ("unauthorized", LinkReason::Unauthorized),
    ("exhausted", LinkReason::Exhausted),
    ("slow", LinkReason::Slow),
    ("bad-replies", LinkReason::BadReplies),
    ("repeated-keys", LinkReason::RepeatedKeys),
    ("zero-keys", LinkReason::ZeroKeys),
    ("short-keys", LinkReason::ShortKeys),
    ("out-of-order", LinkReason::OutOfOrder),
    ("peer-without", LinkReason::PeerWithout),
    ("stale", LinkReason::Stale),
];

pub(crate) const INTERFACES: Words<KmeInterface> = &[
    ("etsi014", KmeInterface::Etsi014),
    ("etsi004-binary", KmeInterface::Etsi004Binary),
    ("etsi004-json", KmeInterface::Etsi004Json),
];

const fn state(name: &'static str, value: Type) -> Node {
    Node::leaf(Bartizan, name, value).state()
}

const PEER: Node = state("peer-sae-id", Type::Text);
const LEVEL: Node = state("level", Type::Word(|text| meaning(LEVELS, text).is_some()));
const LINK_STATE: Node = state(
    "state",
    Type::Word(|text| meaning(LINK_STATES, text).is_some()),
);
const REASON: Node = state(
    "reason",
    Type::Word(|text| meaning(LINK_REASONS, text).is_some()),
);
const INTERFACE: Type = Type::Word(|text| meaning(INTERFACES, text).is_some());

/// The keys shared with one peer, in the container `gateway`.
pub(crate) const QKD_KEYS: Node = Node::list(
    Bartizan,
    "qkd-keys",
    &["peer-sae-id"],
    &[
        PEER,
        LEVEL,
        state("left", U32),
        state("reserve", U32),
        state("rate", U32),
        state("minimum", U32),
        state("tunnels", U32),
        state("waiting", U32),
        state("taken", U64),
        state("refused", U64),
        state("without", U64),
        Node::list(
            Bartizan,
            "link",
            &["kme"],
            &[
                state("kme", Type::Text),
                state("interface", INTERFACE),
                LINK_STATE,
                REASON,
                state("said", Type::Text),
                state("stored-keys", U32),
                state("prefetched", U32),
                state("rate", U32),
                Node::presence(Bartizan, "latency", &[state("p50", U32), state("p99", U32)])
                    .state(),
                Node::container(
                    Bartizan,
                    "counts",
                    &[
                        state("given", U64),
                        state("failed", U64),
                        state("zero", U64),
                        state("repeated", U64),
                        state("short", U64),
                        state("out-of-order", U64),
                        state("unused", U64),
                        state("wasted", U64),
                    ],
                )
                .state(),
            ],
        )
        .state(),
    ],
)
.state();

pub(crate) static QKD_BUDGET_CHANGE: Node =
    Node::container(Bartizan, "qkd-budget-change", &[PEER, LEVEL]);

pub(crate) static QKD_LINK_CHANGE: Node = Node::container(
    Bartizan,
    "qkd-link-change",
    &[PEER, state("kme", Type::Text), LINK_STATE, REASON],
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_one_word() {
        // A value that is added breaks the build here.
        const _: fn(BudgetLevel) = |level| match level {
            BudgetLevel::Plenty | BudgetLevel::Oversold | BudgetLevel::Low | BudgetLevel::Dry => {}
        };
        const _: fn(LinkReason) = |reason| match reason {
            LinkReason::Unreachable
            | LinkReason::Unauthorized
            | LinkReason::Exhausted
            | LinkReason::Slow
            | LinkReason::BadReplies
            | LinkReason::RepeatedKeys
            | LinkReason::ZeroKeys
            | LinkReason::ShortKeys
            | LinkReason::OutOfOrder
            | LinkReason::PeerWithout
            | LinkReason::Stale => {}
        };
        const _: fn(LinkState) = |state| match state {
            LinkState::Healthy | LinkState::Degraded | LinkState::Refused => {}
        };
        const _: fn(KmeInterface) = |interface| match interface {
            KmeInterface::Etsi014 | KmeInterface::Etsi004Binary | KmeInterface::Etsi004Json => {}
        };
        fn check<T: Copy + PartialEq + core::fmt::Debug>(words: Words<T>, last: T, values: usize) {
            assert_eq!(
                (words.len(), words.last().map(|(_, value)| *value)),
                (values, Some(last))
            );
        }
        check(LEVELS, BudgetLevel::Dry, 4);
        check(LINK_STATES, LinkState::Refused, 3);
        check(LINK_REASONS, LinkReason::Stale, 11);
        check(INTERFACES, KmeInterface::Etsi004Json, 3);
    }
}
