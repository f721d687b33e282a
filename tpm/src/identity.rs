//! The description of the TPM and of the keys in it, for the registrar.

use bartizan_model::config::Der;
use bartizan_model::identity::{Endorsement, TpmIdentity};
use tss_esapi::constants::PropertyTag;

use crate::device::{NONE, Tpm, TpmError, code};
use crate::floor;
use crate::keys::{DeviceKeys, with_endorsement};
use crate::nv;
use crate::template::{DeviceKey, EndorsementKind};

/// The most bytes of certificates in all: a message has room for them and for the rest.
const CERTIFICATES_MAX: usize = 48 * 1024;

/// The NV indices between an endorsement certificate and its maker's root (TCG EK Credential
/// Profile 2.5, 2.2.1.6).
pub(crate) const ENDORSEMENT_CHAIN: core::ops::RangeInclusive<u32> = 0x01c0_0100..=0x01c0_01ff;

/// Describes the TPM.
///
/// # Errors
///
/// [`TpmError::Refused`] with `TPM_RC_SIZE` if it holds more certificates than a message, else what
/// the TPM says.
pub(crate) fn identity(tpm: &mut Tpm, keys: &DeviceKeys) -> Result<TpmIdentity, TpmError> {
    let mut endorsement = Vec::new();
    for (kind, certificate) in endorsements(tpm)? {
        let public = with_endorsement(tpm, kind, |_tpm, key| Ok(key.public.clone()))?;
        endorsement.push(Endorsement {
            public,
            certificate,
        });
    }
    let mut property = |tag| {
        let property = tpm.call("read a property", NONE, |context| {
            context.get_tpm_property(tag)
        });
        property.map(Option::unwrap_or_default)
    };
    let manufacturer = property(PropertyTag::Manufacturer)?.to_be_bytes();
    let firmware = [
        property(PropertyTag::FirmwareVersion1)?,
        property(PropertyTag::FirmwareVersion2)?,
    ];
    let identity = TpmIdentity {
        manufacturer,
        firmware,
        endorsement,
        endorsement_chain: chain(tpm, &ENDORSEMENT_CHAIN)?,
        ak: keys.public(DeviceKey::Attestation).to_vec(),
        ak_chain: chain(tpm, &DeviceKey::Attestation.certificates())?,
        idevid: keys.public(DeviceKey::Idevid).to_vec(),
        idevid_chain: chain(tpm, &DeviceKey::Idevid.certificates())?,
        floors: floor::read_all(tpm)?,
    };
    let certificates = identity
        .endorsement
        .iter()
        .map(|endorsement| &endorsement.certificate)
        .chain(&identity.endorsement_chain)
        .chain(&identity.ak_chain)
        .chain(&identity.idevid_chain);
    let bytes: usize = certificates.map(|certificate| certificate.0.len()).sum();
    if bytes > CERTIFICATES_MAX {
        return Err(TpmError::Refused {
            command: "describe itself",
            code: code::SIZE,
        });
    }
    Ok(identity)
}

/// The endorsement keys that have a certificate, the strongest first.
pub(crate) fn endorsements(tpm: &mut Tpm) -> Result<Vec<(EndorsementKind, Der)>, TpmError> {
    let mut endorsements = Vec::new();
    for kind in EndorsementKind::ALL {
        let certificate = nv::read(tpm, kind.certificate())?;
        let certificate = certificate.and_then(|bytes| nv::certificates(&bytes).into_iter().next());
        endorsements.extend(certificate.map(|certificate| (kind, certificate)));
    }
    Ok(endorsements)
}

/// The certificates of a range, each index holding one or several: a chain may be split.
fn chain(tpm: &mut Tpm, range: &core::ops::RangeInclusive<u32>) -> Result<Vec<Der>, TpmError> {
    let mut certificates = Vec::new();
    for index in nv::defined(tpm, range)? {
        if let Some(bytes) = nv::read(tpm, index)? {
            certificates.extend(nv::certificates(&bytes));
        }
    }
    Ok(certificates)
}
