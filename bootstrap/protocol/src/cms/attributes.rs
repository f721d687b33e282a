//! What a signer signs: the content's type and digest, and perhaps the time (RFC 5652, 11).

use core::time::Duration;

use bartizan_evidence::cose::Algorithm;
use der::asn1::{Any, ObjectIdentifier, OctetString, SetOfVec};
use der::{DateTime, Decode as _, Encode as _};
use sha2::{Digest as _, Sha384, Sha512};
use x509_cert::attr::Attribute;
use x509_cert::time::Time;

use super::Draft;

const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");

/// The attributes of a signer over a draft.
pub(super) fn of(draft: &Draft<'_>, algorithm: Algorithm) -> der::Result<SetOfVec<Attribute>> {
    let mut attributes = required(draft.content_type.oid(), draft.content, algorithm)?;
    if let Some(signed) = draft.signed {
        let time = DateTime::from_unix_duration(Duration::from_secs(signed.0))?;
        attributes.insert(attribute(
            SIGNING_TIME,
            Any::encode_from(&Time::from(time))?,
        )?)?;
    }
    Ok(attributes)
}

/// Checks that attributes are over this content, and that there are no others.
pub(super) fn check(
    attributes: &SetOfVec<Attribute>,
    content_type: ObjectIdentifier,
    content: &[u8],
    algorithm: Algorithm,
) -> Option<()> {
    let mut expected = required(content_type, content, algorithm).ok()?;
    let time = attributes
        .iter()
        .find(|attribute| attribute.oid == SIGNING_TIME);
    if let Some(time) = time {
        let [value] = time.values.as_slice() else {
            return None;
        };
        Time::from_der(&value.to_der().ok()?).ok()?;
        expected.insert(time.clone()).ok()?;
    }
    (*attributes == expected).then_some(())
}

fn required(
    content_type: ObjectIdentifier,
    content: &[u8],
    algorithm: Algorithm,
) -> der::Result<SetOfVec<Attribute>> {
    let digest = match algorithm {
        Algorithm::Es384 => Sha384::digest(content).to_vec(),
        Algorithm::MlDsa65 => Sha512::digest(content).to_vec(),
    };
    SetOfVec::from_iter([
        attribute(CONTENT_TYPE, Any::encode_from(&content_type)?)?,
        attribute(
            MESSAGE_DIGEST,
            Any::encode_from(&OctetString::new(digest)?)?,
        )?,
    ])
}

fn attribute(oid: ObjectIdentifier, value: Any) -> der::Result<Attribute> {
    Ok(Attribute {
        oid,
        values: SetOfVec::from_iter([value])?,
    })
}
