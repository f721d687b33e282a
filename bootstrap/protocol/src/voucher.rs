//! The voucher: the maker's signed word whose a box is (RFC 8366, in JSON).
//!
//! Two members of our own stand beside those of the standard: `bartizan:ownership-epoch`, below
//! whose floor in the TPM no voucher counts, and `bartizan:owner-ml-dsa-65`, the owner's second key,
//! so that what the owner conveys is signed twice as well.

use bartizan_evidence::lease::OwnerTime;
use bartizan_model::ids::Nonce;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::binary::Binary;
use crate::certificate::{Certificate, CertificateError};
use crate::cms::{ContentType, Draft, MlDsa65Key};
use crate::date::Date;
use crate::serial::{Serial, SerialError};

/// What a voucher says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Voucher {
    /// When the maker made it: it is no earlier.
    pub created: OwnerTime,
    /// What keeps it from counting for ever.
    pub bound: Bound,
    /// How the maker knows the owner.
    pub assertion: Assertion,
    /// The box.
    pub serial: Serial,
    /// The authority that certified its IDevID, where serial numbers alone do not tell boxes apart:
    /// as [`Certificate::authority_key_identifier`] has it.
    pub idevid_issuer: Option<Vec<u8>>,
    /// The owner's certificate authority, or the owner's certificate itself.
    pub pinned_domain_cert: Certificate,
    /// Whether the box must ask if the owner's certificate was revoked; it cannot.
    pub revocation_checks: Option<bool>,
    /// Which ownership of this box it is; each later one has a higher number.
    pub epoch: u32,
    /// The owner's second key.
    pub owner_ml_dsa_65: MlDsa65Key,
}

/// What keeps a voucher from counting for ever; RFC 8366 allows one of the two.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Bound {
    /// It answers one question of the box: 8 to 32 bytes.
    Nonce(Vec<u8>),
    /// It ends.
    Expires(OwnerTime),
}

/// How the maker knows the owner (RFC 8366, 5.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Assertion {
    /// By its books.
    Verified,
    /// The voucher was given to who asked, and that was logged.
    Logged,
    /// The box and the owner proved to be near each other.
    Proximity,
}

/// Why bytes are no voucher.
#[derive(Debug, thiserror::Error)]
pub enum VoucherError {
    /// Not the JSON of a voucher.
    #[error("cannot decode a voucher")]
    Malformed(#[source] serde_json::Error),
    /// Neither a nonce nor an end, or both.
    #[error("a voucher has either a nonce or an end")]
    Bound,
    /// A nonce of another length.
    #[error("the nonce of a voucher has 8 to 32 bytes")]
    Nonce,
    /// A day of last renewal for a voucher that does not end.
    #[error("a voucher that does not end is not renewed")]
    Renewal,
    /// The serial number is none.
    #[error("the serial number of a voucher is none")]
    Serial(#[source] SerialError),
    /// The pinned certificate is none.
    #[error("the pinned domain certificate of a voucher is none")]
    PinnedDomainCert(#[source] CertificateError),
    /// The owner's second key is none.
    #[error("the owner's ML-DSA-65 key in a voucher is none")]
    OwnerKey,
}

impl Voucher {
    /// The JSON that is signed.
    ///
    /// # Errors
    ///
    /// [`VoucherError::Malformed`] if a time is after the year 9999, [`VoucherError::Nonce`] if the
    /// nonce has another length.
    pub fn encode(&self) -> Result<Vec<u8>, VoucherError> {
        let (nonce, expires_on) = match &self.bound {
            Bound::Nonce(nonce) if nonce_fits(nonce) => (Some(Binary(nonce.clone())), None),
            Bound::Nonce(_) => return Err(VoucherError::Nonce),
            Bound::Expires(end) => (None, Some(Date(*end))),
        };
        let document = Document {
            voucher: Members {
                created_on: Date(self.created),
                expires_on,
                assertion: self.assertion,
                serial_number: self.serial.as_str().to_owned(),
                idevid_issuer: self.idevid_issuer.clone().map(Binary),
                pinned_domain_cert: Binary(self.pinned_domain_cert.as_der().to_vec()),
                domain_cert_revocation_checks: self.revocation_checks,
                nonce,
                last_renewal_date: None,
                ownership_epoch: self.epoch,
                owner_ml_dsa_65: Binary(self.owner_ml_dsa_65.as_bytes().to_vec()),
            },
        };
        serde_json::to_vec(&document).map_err(VoucherError::Malformed)
    }

    /// Reads what was signed.
    ///
    /// # Errors
    ///
    /// [`VoucherError`] if it is no voucher.
    pub fn decode(json: &[u8]) -> Result<Self, VoucherError> {
        let Document { voucher } = serde_json::from_slice(json).map_err(VoucherError::Malformed)?;
        if voucher.last_renewal_date.is_some() && voucher.expires_on.is_none() {
            return Err(VoucherError::Renewal);
        }
        let bound = match (voucher.nonce, voucher.expires_on) {
            (Some(Binary(nonce)), None) if nonce_fits(&nonce) => Bound::Nonce(nonce),
            (Some(_), None) => return Err(VoucherError::Nonce),
            (None, Some(Date(end))) => Bound::Expires(end),
            (None, None) | (Some(_), Some(_)) => return Err(VoucherError::Bound),
        };
        Ok(Self {
            created: voucher.created_on.0,
            bound,
            assertion: voucher.assertion,
            serial: Serial::try_from(voucher.serial_number.as_str())
                .map_err(VoucherError::Serial)?,
            idevid_issuer: voucher.idevid_issuer.map(|issuer| issuer.0),
            pinned_domain_cert: Certificate::from_der(&voucher.pinned_domain_cert.0)
                .map_err(VoucherError::PinnedDomainCert)?,
            revocation_checks: voucher.domain_cert_revocation_checks,
            epoch: voucher.ownership_epoch,
            owner_ml_dsa_65: MlDsa65Key::from_bytes(&voucher.owner_ml_dsa_65.0)
                .ok_or(VoucherError::OwnerKey)?,
        })
    }
}

impl Bound {
    /// The bound of a voucher that answers this question alone.
    pub fn nonce(nonce: &Nonce) -> Self {
        Self::Nonce(nonce.0.to_vec())
    }
}

/// The content of a voucher, to be signed by the maker.
pub fn draft(json: &[u8], signed: Option<OwnerTime>) -> Draft<'_> {
    Draft {
        content_type: ContentType::Voucher,
        content: json,
        signed,
    }
}

fn nonce_fits(nonce: &[u8]) -> bool {
    (8..=32).contains(&nonce.len())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "ietf-voucher:voucher")]
    voucher: Members,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Members {
    created_on: Date,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_on: Option<Date>,
    assertion: Assertion,
    serial_number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    idevid_issuer: Option<Binary>,
    pinned_domain_cert: Binary,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain_cert_revocation_checks: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<Binary>,
    #[serde(skip_serializing)]
    last_renewal_date: Option<IgnoredAny>,
    #[serde(rename = "bartizan:ownership-epoch")]
    ownership_epoch: u32,
    #[serde(rename = "bartizan:owner-ml-dsa-65")]
    owner_ml_dsa_65: Binary,
}
