//! Chains of certificates to roots that the owner pinned: of the makers of TPMs and of the makers of
//! boxes (V6).

use bartizan_evidence::lease::OwnerTime;
use bartizan_model::config::Der;
use core::time::Duration;
use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::ext::pkix::ExtendedKeyUsage;

/// Pinned roots of one kind.
#[derive(Debug, Default)]
pub struct Roots(Vec<TrustAnchor<'static>>);

/// What a leaf is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Usage {
    /// An endorsement key (TCG EK Credential Profile, 3.2: `tcg-kp-EKCertificate`, demanded).
    Endorsement,
    /// An attestation key (`tcg-kp-AIKCertificate`, where it has any).
    Attestation,
    /// A box's identity (IEEE 802.1AR): TLS clients', where it has any.
    Device,
}

/// A chain does not lead to a root.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// No certificate is given.
    #[error("there is no certificate")]
    None,
    /// More certificates than a chain has.
    #[error("a chain has more than {CHAIN_MAX} certificates")]
    TooLong,
    /// The bytes are no certificate.
    #[error("a certificate cannot be decoded")]
    Malformed(#[from] der::Error),
    /// It is for something else.
    #[error("the certificate is not for such a key")]
    Usage,
    /// There is no path, or a certificate on it is not valid.
    #[error("the certificate leads to none of the pinned roots")]
    Path(#[source] webpki::Error),
}

/// A root is none.
#[derive(Debug, thiserror::Error)]
#[error("a root is no certificate")]
pub struct RootError(#[source] webpki::Error);

impl Roots {
    /// Takes the roots' certificates.
    ///
    /// # Errors
    ///
    /// [`RootError`].
    pub fn new(certificates: &[Der]) -> Result<Self, RootError> {
        let anchors = certificates.iter().map(|root| {
            let root = CertificateDer::from(root.0.as_slice());
            let anchor = anchor_from_trusted_cert(&root).map_err(RootError)?;
            Ok(anchor.to_owned())
        });
        anchors.collect::<Result<_, _>>().map(Self)
    }

    /// Checks a chain, the leaf first, as of now; returns the leaf's `SubjectPublicKeyInfo` (DER).
    ///
    /// # Errors
    ///
    /// [`ChainError`].
    pub fn check(
        &self,
        chain: &[Der],
        usage: Usage,
        now: OwnerTime,
    ) -> Result<Vec<u8>, ChainError> {
        let (leaf, above) = chain.split_first().ok_or(ChainError::None)?;
        if chain.len() > CHAIN_MAX {
            return Err(ChainError::TooLong);
        }
        usage.check(leaf)?;
        let above: Vec<_> = above
            .iter()
            .map(|der| CertificateDer::from(der.0.as_slice()))
            .collect();
        let der = CertificateDer::from(leaf.0.as_slice());
        let entity = EndEntityCert::try_from(&der).map_err(ChainError::Path)?;
        entity
            .verify_for_usage(
                default_provider().signature_verification_algorithms.all,
                &self.0,
                &above,
                UnixTime::since_unix_epoch(Duration::from_secs(now.0)),
                KeyUsage::required_if_present(usage.oid().as_bytes()),
                None,
                None,
            )
            .map_err(ChainError::Path)?;
        spki(leaf)
    }
}

impl Usage {
    const fn oid(self) -> &'static ObjectIdentifier {
        const ENDORSEMENT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.1");
        const ATTESTATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.3");
        const CLIENT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
        match self {
            Self::Endorsement => &ENDORSEMENT,
            Self::Attestation => &ATTESTATION,
            Self::Device => &CLIENT,
        }
    }

    /// The library asks all certificates of a path alike; what is demanded of the leaf alone is
    /// checked here.
    fn check(self, leaf: &Der) -> Result<(), ChainError> {
        match self {
            Self::Endorsement => {}
            Self::Attestation | Self::Device => return Ok(()),
        }
        let leaf = Certificate::from_der(&leaf.0)?;
        let usages = leaf
            .tbs_certificate()
            .get_extension::<ExtendedKeyUsage>()?
            .map_or_else(Vec::new, |(_, usages)| usages.0);
        if usages.contains(self.oid()) {
            Ok(())
        } else {
            Err(ChainError::Usage)
        }
    }
}

/// The `SubjectPublicKeyInfo` of a certificate (DER).
///
/// # Errors
///
/// [`ChainError::Malformed`].
pub fn spki(certificate: &Der) -> Result<Vec<u8>, ChainError> {
    let certificate = Certificate::from_der(&certificate.0)?;
    let spki = certificate.tbs_certificate().subject_public_key_info();
    Ok(spki.to_der()?)
}

/// The most certificates of a chain: some makers of TPMs have three CAs.
const CHAIN_MAX: usize = 8;
