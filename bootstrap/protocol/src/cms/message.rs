//! A message taken apart: every part of it is in here, and nothing is verified yet.

use bartizan_evidence::cose::Algorithm;
use der::asn1::{Any, ObjectIdentifier, OctetString, SetOfVec};
use der::{Decode as _, Encode as _};

use super::asn1::{ContentInfo, Encapsulated, SIGNED_DATA, SignedData, SignerInfo};
use super::{CERTIFICATES_MAX, CMS_MAX, CmsError, attributes};
use crate::certificate::Certificate;

/// `CMSVersion` of data that is not `id-data` (RFC 5652, 5.1).
const VERSION: u8 = 3;

/// Content and who signed it.
pub(super) struct Message {
    pub(super) content_type: ObjectIdentifier,
    pub(super) content: Vec<u8>,
    pub(super) certificates: Vec<Certificate>,
    /// At most one of each algorithm.
    pub(super) signers: Vec<SignerInfo>,
}

impl Message {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CmsError> {
        if bytes.len() > CMS_MAX {
            return Err(CmsError::TooLong);
        }
        let outer = ContentInfo::from_der(bytes).map_err(CmsError::Malformed)?;
        let data = outer.content;
        let message = Self {
            content_type: data.encapsulated.content_type,
            content: data
                .encapsulated
                .content
                .ok_or(CmsError::Form)?
                .into_bytes()
                .into(),
            certificates: certificates(data.certificates.as_ref())?,
            signers: data
                .signers
                .iter()
                .map(|signer| signer.decode_as().map_err(CmsError::Malformed))
                .collect::<Result<_, _>>()?,
        };
        message.check_signers()?;
        if message.encode()? != bytes {
            return Err(CmsError::Form);
        }
        Ok(message)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, CmsError> {
        let bytes = self.to_der().map_err(CmsError::Malformed)?;
        if bytes.len() > CMS_MAX || self.certificates.len() > CERTIFICATES_MAX {
            return Err(CmsError::TooLong);
        }
        Ok(bytes)
    }

    /// The signer by an algorithm.
    pub(super) fn signer(&self, algorithm: Algorithm) -> Result<&SignerInfo, CmsError> {
        self.signers
            .iter()
            .find(|signer| signer.algorithm() == Some(algorithm))
            .ok_or(CmsError::Missing(algorithm))
    }

    fn check_signers(&self) -> Result<(), CmsError> {
        for (before, signer) in self.signers.iter().enumerate() {
            let algorithm = signer.algorithm().ok_or(CmsError::Form)?;
            let twice = self.signers.iter().take(before);
            if twice
                .into_iter()
                .any(|other| other.algorithm() == Some(algorithm))
            {
                return Err(CmsError::Form);
            }
            attributes::check(
                signer.attributes(),
                self.content_type,
                &self.content,
                algorithm,
            )
            .ok_or(CmsError::Attributes(algorithm))?;
        }
        Ok(())
    }

    fn to_der(&self) -> der::Result<Vec<u8>> {
        let signers = self.signers.iter().map(Any::encode_from);
        let certificates = self
            .certificates
            .iter()
            .map(|certificate| Any::from_der(certificate.as_der()));
        let digests = self.signers.iter().map(SignerInfo::digest_algorithm);
        ContentInfo {
            content_type: SIGNED_DATA,
            content: SignedData {
                version: VERSION,
                digest_algorithms: SetOfVec::from_iter(digests.cloned())?,
                encapsulated: Encapsulated {
                    content_type: self.content_type,
                    content: Some(OctetString::new(self.content.as_slice())?),
                },
                certificates: set(certificates.collect::<Result<_, _>>()?)?,
                signers: SetOfVec::try_from(signers.collect::<Result<Vec<_>, _>>()?)?,
            },
        }
        .to_der()
    }
}

/// The certificates of a message, in the order of their encodings.
pub(super) fn certificates(set: Option<&SetOfVec<Any>>) -> Result<Vec<Certificate>, CmsError> {
    let certificates = set.map(SetOfVec::as_slice).unwrap_or_default();
    if certificates.len() > CERTIFICATES_MAX {
        return Err(CmsError::TooLong);
    }
    certificates
        .iter()
        .map(|any| {
            let der = any.to_der().map_err(CmsError::Malformed)?;
            Certificate::from_der(&der).map_err(CmsError::Certificate)
        })
        .collect()
}

/// An optional set is not there if it is empty.
pub(super) fn set(items: Vec<Any>) -> der::Result<Option<SetOfVec<Any>>> {
    if items.is_empty() {
        return Ok(None);
    }
    SetOfVec::try_from(items).map(Some)
}
