//! Which certificates the other end may show.
//!
//! rustls' own verifiers do the chain; what is added is that a certificate names exactly one node.
//! It is checked in the handshake, so whoever drives rustls without this crate has it too.

use core::time::Duration;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, RootCertStore, SignatureScheme,
};

use crate::certificate::{Anchors, not_after, peer_node};
use crate::clock::Clock;
use crate::error::{NameError, TlsError};

/// Which server a client takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expected {
    /// The node that the caller asked for.
    Asked,
    /// Whichever the anchors have signed, also one whose own certificate has ended: it called us,
    /// we did not call it.
    AnyOfTheAnchors,
    /// The KME that the caller asked for, which may have other names beside that one.
    Kme,
}

/// Checks a server's certificate.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    expected: Expected,
    roots: Arc<RootCertStore>,
    clock: Clock,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub(crate) fn new(expected: Expected, anchors: &Anchors, provider: &CryptoProvider) -> Self {
        Self {
            expected,
            roots: Arc::clone(&anchors.roots),
            clock: anchors.clock.clone(),
            algorithms: provider.signature_verification_algorithms,
        }
    }

    /// Whether the anchors stand behind a certificate at this moment.
    fn verify_path(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        moment: UnixTime,
    ) -> Result<(), Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(leaf)?,
            &self.roots,
            intermediates,
            moment,
            self.algorithms.all,
        )
    }

    /// Whether the anchors stand behind a certificate that has ended: they did when it ended, and
    /// they do behind those between.
    fn verify_lapsed(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let expired = || Error::from(CertificateError::Expired);
        let end = not_after(leaf).map_err(refused)?;
        for intermediate in intermediates {
            if not_after(intermediate).map_err(refused)? < now.as_secs() {
                return Err(expired());
            }
        }
        if end >= now.as_secs() {
            return Err(expired());
        }
        let end = UnixTime::since_unix_epoch(Duration::from_secs(end));
        self.verify_path(leaf, intermediates, end)
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let now = self.clock.judges(end_entity, intermediates);
        match self.verify_path(end_entity, intermediates, now) {
            Err(Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) if self.expected == Expected::AnyOfTheAnchors => {
                self.verify_lapsed(end_entity, intermediates, now)?;
            }
            verified => verified?,
        }
        if self.expected == Expected::Kme {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let node = peer_node(std::slice::from_ref(end_entity)).map_err(refused)?;
        match (self.expected, server_name) {
            (Expected::AnyOfTheAnchors, _) => Ok(ServerCertVerified::assertion()),
            (Expected::Asked, ServerName::DnsName(asked)) if asked.as_ref() == node.as_str() => {
                Ok(ServerCertVerified::assertion())
            }
            (Expected::Asked | Expected::Kme, _) => Err(CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Checks a client's certificate; one is always asked for.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    clock: Clock,
}

impl ClientVerifier {
    pub(crate) fn new(anchors: &Anchors, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let inner =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&anchors.roots), provider)
                .build()
                .map_err(|error| TlsError::Config(Error::General(error.to_string())))?;
        Ok(Self {
            inner,
            clock: anchors.clock.clone(),
        })
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let now = self.clock.judges(end_entity, intermediates);
        let verified = self
            .inner
            .verify_client_cert(end_entity, intermediates, now)?;
        peer_node(std::slice::from_ref(end_entity)).map_err(refused)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Takes any server that holds the key of its certificate.
#[derive(Debug)]
pub(crate) struct AnyServer(WebPkiSupportedAlgorithms);

impl AnyServer {
    pub(crate) fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Takes any client that holds the key of its certificate; one is always asked for.
#[derive(Debug)]
pub(crate) struct AnyClient(WebPkiSupportedAlgorithms);

impl AnyClient {
    pub(crate) fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

fn refused(error: NameError) -> Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}
