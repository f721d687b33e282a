//! Certificates alone: `SignedData` with neither content nor signers (RFC 5652, 5.2), as an owner
//! certificate comes (RFC 8572, 3.2).

use der::asn1::{Any, ObjectIdentifier, SetOfVec};
use der::{Decode as _, Encode as _};

use super::asn1::{ContentInfo, Encapsulated, SIGNED_DATA, SignedData};
use super::message::{certificates as certificates_of, set};
use super::{CERTIFICATES_MAX, CMS_MAX, CmsError};
use crate::certificate::Certificate;

/// `id-data` (RFC 5652, 4).
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");

/// `CMSVersion` of certificates alone (RFC 5652, 5.1).
const VERSION: u8 = 1;

/// Puts certificates into a message, in whatever order: a set has none.
///
/// # Errors
///
/// [`CmsError`] if they are none, too many or too long.
pub fn chain(certificates: &[Certificate]) -> Result<Vec<u8>, CmsError> {
    if certificates.is_empty() {
        return Err(CmsError::Form);
    }
    if certificates.len() > CERTIFICATES_MAX {
        return Err(CmsError::TooLong);
    }
    let bytes = to_der(certificates).map_err(CmsError::Malformed)?;
    if bytes.len() > CMS_MAX {
        return Err(CmsError::TooLong);
    }
    Ok(bytes)
}

/// Takes the certificates out of a message; what else there is is in the one form, but tools do not
/// agree on the order.
///
/// # Errors
///
/// [`CmsError`] if it holds anything else, none or too many.
pub fn certificates(bytes: &[u8]) -> Result<Vec<Certificate>, CmsError> {
    if bytes.len() > CMS_MAX {
        return Err(CmsError::TooLong);
    }
    let outer = ContentInfo::from_der(bytes).map_err(CmsError::Malformed)?;
    let data = outer.content;
    let degenerate = outer.content_type == SIGNED_DATA
        && data.version == VERSION
        && data.digest_algorithms.is_empty()
        && data.encapsulated.content_type == DATA
        && data.encapsulated.content.is_none()
        && data.signers.is_empty();
    let certificates = certificates_of(data.certificates.as_ref())?;
    if !degenerate || certificates.is_empty() {
        return Err(CmsError::Form);
    }
    Ok(certificates)
}

fn to_der(certificates: &[Certificate]) -> der::Result<Vec<u8>> {
    let certificates = certificates
        .iter()
        .map(|certificate| Any::from_der(certificate.as_der()));
    ContentInfo {
        content_type: SIGNED_DATA,
        content: SignedData {
            version: VERSION,
            digest_algorithms: SetOfVec::new(),
            encapsulated: Encapsulated {
                content_type: DATA,
                content: None,
            },
            certificates: set(certificates.collect::<Result<_, _>>()?)?,
            signers: SetOfVec::new(),
        },
    }
    .to_der()
}
