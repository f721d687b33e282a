//! `ietf-tpm-remote-attestation` (RFC 9684), as far as the gateway knows it, and
//! `bartizan-attestation`, our module that augments it.

use bartizan_model::identity::Log;

use crate::limits;
use crate::namespace::Namespace::{self, Algorithms, Attestation, BartizanAttestation};
use crate::schema::{Node, Type};
use crate::words::{Words, meaning};

const U16: Type = Type::Unsigned(65_535);
const U32: Type = Type::Unsigned(4_294_967_295);
const U64: Type = Type::Unsigned(u64::MAX);

/// `pcr`.
const PCR: Type = Type::Unsigned(31);

/// The banks that the gateway's TPM can be asked about.
const HASH: Type = Type::Identity(&[(Algorithms, "TPM_ALG_SHA256")]);

/// What a quote is bound to besides its nonce.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Binding {
    TlsExporter,
}

pub(crate) const BINDINGS: Words<Binding> = &[("tls-exporter", Binding::TlsExporter)];

/// How a log is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LogForm {
    /// As it was measured, byte for byte.
    Measured(Log),
}

/// The logs, by their identities.
pub(crate) const LOGS: Words<LogForm> = &[
    ("batt:firmware-log", LogForm::Measured(Log::Firmware)),
    ("batt:userspace-log", LogForm::Measured(Log::Userspace)),
    ("batt:ima-log", LogForm::Measured(Log::Ima)),
];

const LOG_TYPES: &[(Namespace, &str)] = &[
    (BartizanAttestation, "firmware-log"),
    (BartizanAttestation, "userspace-log"),
    (BartizanAttestation, "ima-log"),
];

const fn leaf(name: &'static str, value: Type) -> Node {
    Node::leaf(Attestation, name, value)
}

const fn state(name: &'static str, value: Type) -> Node {
    leaf(name, value).state()
}

const fn container(name: &'static str, children: &'static [Node]) -> Node {
    Node::container(Attestation, name, children)
}

const fn list(
    name: &'static str,
    keys: &'static [&'static str],
    children: &'static [Node],
) -> Node {
    Node::list(Attestation, name, keys, children)
}

const PCR_INDEX: Node = Node::leaf_list(Attestation, "pcr-index", PCR).at_most(limits::PCRS);

/// The input of `tpm20-challenge-response-attestation`.
pub(crate) static CHALLENGE: Node = container(
    "tpm20-challenge-response-attestation",
    &[container(
        "tpm20-attestation-challenge",
        &[
            leaf("nonce-value", Type::Binary(limits::NONCE_MAX)),
            list(
                "tpm20-pcr-selection",
                &[],
                &[leaf("tpm20-hash-algo", HASH), PCR_INDEX],
            ),
            Node::leaf_list(Attestation, "certificate-name", Type::Text),
            Node::leaf(
                BartizanAttestation,
                "channel-binding",
                Type::Word(|text| meaning(BINDINGS, text).is_some()),
            ),
        ],
    )],
);

/// The output of `tpm20-challenge-response-attestation`.
pub(crate) static ATTESTATION_RESPONSE: Node = list(
    "tpm20-attestation-response",
    &[],
    &[
        leaf("certificate-name", Type::Text),
        leaf("quote-data", Type::Binary(limits::LEAF)),
        leaf("quote-signature", Type::Binary(limits::LEAF)),
        leaf("up-time", U32),
        list(
            "unsigned-pcr-values",
            &[],
            &[
                leaf("tpm20-hash-algo", HASH),
                list(
                    "pcr-values",
                    &["pcr-index"],
                    &[leaf("pcr-index", PCR), leaf("pcr-value", Type::Binary(64))],
                )
                .at_most(limits::PCRS),
            ],
        ),
        Node::container(
            BartizanAttestation,
            "floors",
            &[floor("ownership"), floor("rollback"), floor("time")],
        ),
    ],
);

const fn floor(name: &'static str) -> Node {
    Node::leaf(BartizanAttestation, name, U64)
}

/// The input of `log-retrieval`.
pub(crate) static LOG_RETRIEVAL: Node = container(
    "log-retrieval",
    &[
        leaf("log-type", Type::Identity(LOG_TYPES)),
        list(
            "log-selector",
            &[],
            &[
                Node::leaf_list(Attestation, "name", Type::Text),
                leaf("last-entry-value", Type::Binary(limits::LOG_PART)),
                leaf("last-index-number", U64),
                leaf("timestamp", Type::Text),
                Node::leaf(BartizanAttestation, "offset", U32),
                leaf("log-entry-quantity", U16),
            ],
        ),
    ],
);

/// The output of `log-retrieval`; events are not in the table, for they are written one by one.
pub(crate) static EVENT_LOGS: Node = container(
    "system-event-logs",
    &[list(
        "node-data",
        &[],
        &[
            leaf("name", Type::Text),
            leaf("up-time", U32),
            container(
                "log-result",
                &[Node::container(
                    BartizanAttestation,
                    "measured-log",
                    &[
                        Node::leaf(BartizanAttestation, "offset", U32),
                        Node::leaf(BartizanAttestation, "size", U32),
                        Node::leaf(BartizanAttestation, "data", Type::Binary(limits::LOG_PART)),
                    ],
                )],
            ),
        ],
    )],
);

/// The input of `order`.
pub(crate) static ORDER: Node = Node::container(
    BartizanAttestation,
    "order",
    &[Node::leaf(
        BartizanAttestation,
        "signed",
        Type::Binary(limits::LEASE),
    )],
);

/// What a verifier must know before it asks. The device has set all of it.
pub(crate) static RATS_SUPPORT: Node = container(
    "rats-support-structures",
    &[
        container(
            "tpms",
            &[list(
                "tpm",
                &["name"],
                &[
                    state("name", Type::Text),
                    state("hardware-based", Type::Boolean),
                    state("firmware-version", Type::Identity(&[(Algorithms, "tpm20")])),
                    list(
                        "tpm20-pcr-bank",
                        &["tpm20-hash-algo"],
                        &[leaf("tpm20-hash-algo", HASH), PCR_INDEX],
                    )
                    .state(),
                    state("status", Type::Word(|text| text == "operational")),
                    container(
                        "certificates",
                        &[list("certificate", &["name"], &[state("name", Type::Text)]).state()],
                    )
                    .state(),
                ],
            )
            .state()],
        )
        .state(),
        container(
            "attester-supported-algos",
            &[
                Node::leaf_list(
                    Attestation,
                    "tpm20-asymmetric-signing",
                    Type::Identity(&[(Algorithms, "TPM_ALG_ECDSA")]),
                )
                .state(),
                Node::leaf_list(Attestation, "tpm20-hash", HASH).state(),
            ],
        )
        .state(),
    ],
)
.state();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_log_has_one_identity() {
        assert_eq!(LOGS.len(), LOG_TYPES.len());
        for (namespace, name) in LOG_TYPES {
            let identity = format!("{}:{name}", namespace.prefix());
            assert!(meaning(LOGS, &identity).is_some(), "{identity}");
        }
    }
}
