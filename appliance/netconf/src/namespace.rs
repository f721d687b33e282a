//! The namespaces that mean something here.

/// An XML namespace that a document of ours may use.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Namespace {
    /// RFC 6241: messages and the `operation` attribute.
    Netconf,
    /// RFC 5277: `create-subscription` and `notification`.
    Notification,
    /// RFC 5277: the list of event streams.
    Streams,
    /// RFC 7950: the `insert` and `key` attributes.
    Yang,
    /// RFC 9061, the IKE-less case.
    Ikeless,
    /// Our module that augments RFC 9061.
    Bartizan,
    /// RFC 9684: remote attestation.
    Attestation,
    /// RFC 9684: the algorithms of the TCG.
    Algorithms,
    /// Our module that augments RFC 9684.
    BartizanAttestation,
    /// RFC 8525: the YANG library.
    Library,
    /// RFC 8342: the datastores' names.
    Datastores,
}

impl Namespace {
    pub(crate) const ALL: [Self; 11] = [
        Self::Netconf,
        Self::Notification,
        Self::Streams,
        Self::Yang,
        Self::Ikeless,
        Self::Bartizan,
        Self::Attestation,
        Self::Algorithms,
        Self::BartizanAttestation,
        Self::Library,
        Self::Datastores,
    ];

    pub(crate) const fn uri(self) -> &'static str {
        match self {
            Self::Netconf => "urn:ietf:params:xml:ns:netconf:base:1.0",
            Self::Notification => "urn:ietf:params:xml:ns:netconf:notification:1.0",
            Self::Streams => "urn:ietf:params:xml:ns:netmod:notification",
            Self::Yang => "urn:ietf:params:xml:ns:yang:1",
            Self::Ikeless => "urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless",
            Self::Bartizan => "urn:bartizan:yang:bartizan-ikeless",
            Self::Attestation => "urn:ietf:params:xml:ns:yang:ietf-tpm-remote-attestation",
            Self::Algorithms => "urn:ietf:params:xml:ns:yang:ietf-tcg-algs",
            Self::BartizanAttestation => "urn:bartizan:yang:bartizan-attestation",
            Self::Library => "urn:ietf:params:xml:ns:yang:ietf-yang-library",
            Self::Datastores => "urn:ietf:params:xml:ns:yang:ietf-datastores",
        }
    }

    /// The prefix in an error's path and in the value of an identity.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Netconf => "nc",
            Self::Notification => "ncn",
            Self::Streams => "ncs",
            Self::Yang => "yang",
            Self::Ikeless => "nsfikels",
            Self::Bartizan => "bartizan",
            Self::Attestation => "tpm",
            Self::Algorithms => "taa",
            Self::BartizanAttestation => "batt",
            Self::Library => "yanglib",
            Self::Datastores => "ds",
        }
    }

    /// The one that a prefix of ours stands for.
    pub(crate) fn prefixed(prefix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.prefix() == prefix)
    }

    pub(crate) fn of(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.uri() == uri)
    }
}
