//! Certificates: ours with its key, the anchors, and the name in one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bartizan_model::config::Der;
use bartizan_model::ids::{NodeId, Thumbprint};
use der::{Decode as _, Encode as _};
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, DnsName, ServerName};
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::clock::Clock;
use crate::error::{NameError, TlsError};
use crate::signer::sha256;

/// Who we are: a chain of certificates, the leaf first, and the key of the leaf.
///
/// Clones, and the configurations made of them, are one identity: all show the chain of the last
/// [`Identity::renew`].
#[derive(Clone, Debug)]
pub struct Identity {
    shown: Arc<Shown>,
    node: NodeId,
}

impl Identity {
    /// Puts a chain and its key together.
    ///
    /// # Errors
    ///
    /// [`TlsError::NoCertificate`], [`TlsError::Name`] if the leaf names no node,
    /// [`TlsError::OtherKey`] if the key can tell its public half and it is not the leaf's.
    pub fn new(chain: &[Der], key: Arc<dyn SigningKey>) -> Result<Self, TlsError> {
        let certified = certified(chain, key)?;
        let node = peer_node(&certified.cert)?;
        Ok(Self {
            shown: Arc::new(Shown(Mutex::new(certified))),
            node,
        })
    }

    /// Says whether [`Identity::renew`] would take a chain.
    ///
    /// # Errors
    ///
    /// As [`Identity::renew`].
    pub fn check_renewal(&self, chain: &[Der]) -> Result<(), TlsError> {
        self.renewed(chain).map(|_renewed| ())
    }

    /// Takes a newer chain over the same key, for the handshakes that begin from now on.
    ///
    /// # Errors
    ///
    /// [`TlsError::NoCertificate`], [`TlsError::Name`], [`TlsError::OtherKey`] if the leaf is over
    /// another key, [`TlsError::OtherNode`] if it names another node; nothing has changed then.
    pub fn renew(&self, chain: &[Der]) -> Result<(), TlsError> {
        let renewed = self.renewed(chain)?;
        *self.shown.lock() = renewed;
        Ok(())
    }

    fn renewed(&self, chain: &[Der]) -> Result<Arc<CertifiedKey>, TlsError> {
        let current = self.shown.current();
        let renewed = certified(chain, Arc::clone(&current.key))?;
        if peer_thumbprint(&renewed.cert)? != peer_thumbprint(&current.cert)? {
            return Err(TlsError::OtherKey);
        }
        let node = peer_node(&renewed.cert)?;
        if node != self.node {
            return Err(TlsError::OtherNode {
                expected: self.node.clone(),
                presented: node,
            });
        }
        Ok(renewed)
    }

    pub(crate) fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown)
    }

    /// The node that the leaf names.
    pub fn node(&self) -> &NodeId {
        &self.node
    }
}

/// What is shown in handshakes.
#[derive(Debug)]
pub(crate) struct Shown(Mutex<Arc<CertifiedKey>>);

impl Shown {
    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<CertifiedKey>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Puts a chain and its key together, whatever the leaf names.
pub(crate) fn certified(
    chain: &[Der],
    key: Arc<dyn SigningKey>,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain: Vec<_> = chain
        .iter()
        .map(|der| CertificateDer::from(der.0.clone()))
        .collect();
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // A key in the TPM tells nothing; a wrong one shows at the first handshake.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => return Err(TlsError::OtherKey),
        Err(error) => return Err(TlsError::Config(error)),
    }
    Ok(Arc::new(certified))
}

/// Who may have signed the other end's certificate, never empty, and by which clock its time is
/// judged.
#[derive(Clone, Debug)]
pub struct Anchors {
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) clock: Clock,
}

impl Anchors {
    /// Takes the CA certificates.
    ///
    /// # Errors
    ///
    /// [`TlsError::NoAnchor`] for an empty list, [`TlsError::Anchor`] for bytes that are no
    /// certificate.
    pub fn new(certificates: &[Der], clock: &Clock) -> Result<Self, TlsError> {
        if certificates.is_empty() {
            return Err(TlsError::NoAnchor);
        }
        let mut store = RootCertStore::empty();
        for certificate in certificates {
            store
                .add(CertificateDer::from(certificate.0.clone()))
                .map_err(TlsError::Anchor)?;
        }
        Ok(Self {
            roots: Arc::new(store),
            clock: clock.clone(),
        })
    }
}

/// Reads the node from a chain: the only `dNSName` of its leaf.
///
/// # Errors
///
/// [`NameError`] if the leaf has none, several, or one that is no [`NodeId`].
pub fn peer_node(chain: &[CertificateDer<'_>]) -> Result<NodeId, NameError> {
    let leaf = chain.first().ok_or(NameError::Count(0))?;
    let leaf = Certificate::from_der(leaf).map_err(NameError::Malformed)?;
    let names = leaf
        .tbs_certificate()
        .get_extension::<SubjectAltName>()
        .map_err(NameError::Malformed)?
        .map_or_else(Vec::new, |(_, names)| names.0);
    let mut dns = names.iter().filter_map(|name| {
        if let GeneralName::DnsName(name) = name {
            Some(name.as_str())
        } else {
            None
        }
    });
    match (dns.next(), dns.count()) {
        (Some(name), 0) => NodeId::try_from(name).map_err(NameError::NodeId),
        (None, _) => Err(NameError::Count(0)),
        (Some(_), more) => Err(NameError::Count(more.saturating_add(1))),
    }
}

/// The thumbprint of a chain's key: SHA-256 of its leaf's DER `SubjectPublicKeyInfo`, as a lease
/// names the `LDevID` that it is for.
///
/// # Errors
///
/// [`NameError::Count`] for an empty chain, [`NameError::Malformed`] if the leaf is no certificate.
pub fn peer_thumbprint(chain: &[CertificateDer<'_>]) -> Result<Thumbprint, NameError> {
    let leaf = chain.first().ok_or(NameError::Count(0))?;
    let leaf = Certificate::from_der(leaf).map_err(NameError::Malformed)?;
    let key = leaf.tbs_certificate().subject_public_key_info();
    let key = key.to_der().map_err(NameError::Malformed)?;
    Ok(Thumbprint(sha256(&key)))
}

/// When a certificate ends, in seconds since 1970.
///
/// # Errors
///
/// [`NameError::Malformed`] if it is none.
pub(crate) fn not_after(certificate: &CertificateDer<'_>) -> Result<u64, NameError> {
    let certificate = Certificate::from_der(certificate).map_err(NameError::Malformed)?;
    let ends = certificate.tbs_certificate().validity().not_after;
    Ok(ends.to_unix_duration().as_secs())
}

/// A node's name as rustls takes it.
///
/// # Errors
///
/// [`TlsError::Config`] for the few node ids that are no DNS name (`a..b`).
pub fn server_name(node: &NodeId) -> Result<ServerName<'static>, TlsError> {
    DnsName::try_from(String::from(node.as_str()))
        .map(ServerName::DnsName)
        .map_err(|_no_dns_name| TlsError::Config(Error::General("no DNS name".into())))
}
