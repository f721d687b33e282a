//! What follows from a verdict: a lease, a certificate, or the word that a box is not as it should be.

use core::time::Duration;

use bartizan_evidence::lease::{Claims, OwnerTime, Status, thumbprint};
use bartizan_evidence::order::Order;
use bartizan_model::config::Der;
use bartizan_model::identity::Farewell;
use bartizan_model::ids::{NodeId, Nonce, SaeId, Thumbprint};
use bartizan_signer::SignerError;

use super::Verifier;
use crate::authority::{AuthorityError, Issued, Subject};
use crate::device::{Bytes, Certificate};

/// How long an LDevID certificate lives; it is renewed after half of it.
pub(crate) const CERTIFICATE_LIFE: Duration = Duration::from_hours(24);

/// Nothing is granted.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The verifier's keys do not sign.
    #[error("the verifier does not sign")]
    Signer(#[from] SignerError),
    /// The CA does not.
    #[error("the CA does not certify")]
    Ca(#[from] AuthorityError),
    /// A key manager wants a certificate, and nobody is configured who could issue it.
    #[error("no CA for SAE certificates is configured")]
    NoSaeCa,
}

impl Verifier {
    /// Signs the result of an attestation for the engine that made this nonce; returns it with its
    /// end. A lease that affirms lets it work, any other makes it wipe its keys.
    ///
    /// # Errors
    ///
    /// [`GrantError::Signer`].
    pub fn lease_for(
        &self,
        node: &NodeId,
        ldevid: Thumbprint,
        nonce: Nonce,
        status: Status,
        now: OwnerTime,
    ) -> Result<(Vec<u8>, OwnerTime), GrantError> {
        let expires = now.after(self.lease);
        let claims = Claims {
            node: node.clone(),
            ldevid,
            nonce,
            issued: now,
            expires,
            status,
        };
        Ok((self.signer.sign(&claims.encode())?, expires))
    }

    /// Signs the order that ends the ownership of a gateway.
    ///
    /// # Errors
    ///
    /// [`GrantError::Signer`].
    pub fn order_for(
        &self,
        node: &NodeId,
        ldevid: Thumbprint,
        nonce: Nonce,
        farewell: Farewell,
        now: OwnerTime,
    ) -> Result<Vec<u8>, GrantError> {
        let order = Order {
            node: node.clone(),
            ldevid,
            nonce,
            issued: now,
            farewell,
        };
        Ok(self.signer.sign(&order.encode())?)
    }

    /// Certifies a gateway's LDevID key (DER `SubjectPublicKeyInfo`); returns the chain, and what
    /// is kept of it.
    ///
    /// # Errors
    ///
    /// [`GrantError::Ca`].
    pub fn certify(
        &self,
        node: &NodeId,
        spki: &[u8],
        now: OwnerTime,
    ) -> Result<(Vec<Der>, Certificate), GrantError> {
        let Issued { chain, expires, .. } =
            self.ca
                .certify(Subject::Node(node), spki, now, CERTIFICATE_LIFE)?;
        let leaf = chain.first().map(|leaf| leaf.0.clone()).unwrap_or_default();
        let kept = Certificate {
            key: thumbprint(spki),
            der: Bytes(leaf),
            not_after: expires,
        };
        Ok((chain, kept))
    }

    /// Certifies the same key for the key managers that know the gateway by this name.
    ///
    /// # Errors
    ///
    /// [`GrantError::NoSaeCa`], [`GrantError::Ca`].
    pub fn certify_sae(
        &self,
        sae: &SaeId,
        spki: &[u8],
        now: OwnerTime,
    ) -> Result<Vec<Der>, GrantError> {
        let ca = self.sae_ca.as_ref().ok_or(GrantError::NoSaeCa)?;
        // Only enrolment brings it to the box, so it lives as long as an ownership may.
        let issued = ca.certify(Subject::Sae(sae), spki, now, SAE_CERTIFICATE_LIFE)?;
        Ok(issued.chain)
    }
}

/// How long a certificate for key managers lives.
const SAE_CERTIFICATE_LIFE: Duration = Duration::from_hours(24 * 365);
