//! What can go wrong before a connection stands.

use std::io;

use bartizan_model::ids::{IdError, NodeId};

/// No TLS connection, or none can be tried.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A chain of certificates is empty.
    #[error("no certificate is given")]
    NoCertificate,
    /// No trust anchor is given.
    #[error("no trust anchor is given")]
    NoAnchor,
    /// A trust anchor is no certificate of a CA.
    #[error("a trust anchor cannot be used")]
    Anchor(#[source] rustls::Error),
    /// A certificate does not name one node.
    #[error("a certificate does not name one node")]
    Name(#[from] NameError),
    /// The private key is not the certificate's.
    #[error("the private key is not the certificate's")]
    OtherKey,
    /// rustls takes no such configuration.
    #[error("TLS cannot be configured so")]
    Config(#[source] rustls::Error),
    /// The other end, or the way to it, ended the handshake; or its certificate was refused.
    #[error("the TLS handshake did not succeed")]
    Handshake(#[source] io::Error),
    /// The handshake took longer than it may.
    #[error("the TLS handshake took too long")]
    TimedOut,
    /// The other end is a node, and not the one expected.
    #[error("the certificate names {presented}, not {expected}")]
    OtherNode {
        /// Whom we wanted.
        expected: NodeId,
        /// Who answered.
        presented: NodeId,
    },
    /// The edge to the TPM is broken: the process must end.
    #[error("the edge to the TPM is broken")]
    TpmEdge,
    /// The other end does not speak what this link is for.
    #[error("the other end speaks something else")]
    OtherApplication,
    /// The other end of the handshake gives no channel binding.
    #[error("the connection has no channel binding")]
    NoBinding(#[source] rustls::Error),
    /// The runtime ends.
    #[error("the handshake was given up")]
    GivenUp,
}

/// A certificate that does not name exactly one node.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// The bytes are no certificate.
    #[error("a certificate cannot be decoded")]
    Malformed(#[source] der::Error),
    /// None or several `dNSName` entries.
    #[error("a certificate has {0} dNSName entries where one is asked for")]
    Count(usize),
    /// Its key is on neither P-256 nor P-384.
    #[error("the key of a certificate is on neither P-256 nor P-384")]
    Curve,
    /// The entry is no node id.
    #[error("the dNSName of a certificate is no node id")]
    NodeId(#[source] IdError),
}
