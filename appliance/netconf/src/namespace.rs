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
    /// Our augmenting module.
    Bartizan,
}

impl Namespace {
    pub(crate) const ALL: [Self; 6] = [
        Self::Netconf,
        Self::Notification,
        Self::Streams,
        Self::Yang,
        Self::Ikeless,
        Self::Bartizan,
    ];

    pub(crate) const fn uri(self) -> &'static str {
        match self {
            Self::Netconf => "urn:ietf:params:xml:ns:netconf:base:1.0",
            Self::Notification => "urn:ietf:params:xml:ns:netconf:notification:1.0",
            Self::Streams => "urn:ietf:params:xml:ns:netmod:notification",
            Self::Yang => "urn:ietf:params:xml:ns:yang:1",
            Self::Ikeless => "urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless",
            Self::Bartizan => "urn:bartizan:yang:bartizan-ikeless",
        }
    }

    /// The prefix in an error's path.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Netconf => "nc",
            Self::Notification => "ncn",
            Self::Streams => "ncs",
            Self::Yang => "yang",
            Self::Ikeless => "nsfikels",
            Self::Bartizan => "bartizan",
        }
    }

    pub(crate) fn of(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.uri() == uri)
    }
}
