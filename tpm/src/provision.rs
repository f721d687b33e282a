//! What a factory does with a TPM, for factories and testbeds: the running role has no way here.
//!
//! Certificates are written with the platform's authorization, which a TPM gives before firmware
//! takes it: so `TPM2_Clear` leaves them alone.

use bartizan_model::identity::Certified;
use tss_esapi::constants::CommandCode;
use tss_esapi::structures::{Data, SignatureScheme};
use tss_esapi::traits::Marshall as _;

use crate::administrator::with_device_key;
use crate::device::{Tpm, TpmError};
use crate::identity::ENDORSEMENT_CHAIN;
use crate::keys::{DeviceKeys, with_endorsement};
use crate::nv::{self, Whose};
use crate::template::{DeviceKey, EndorsementKind};

/// Which certificates are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Certificates {
    /// The TPM maker's over an endorsement key; one.
    Endorsement(EndorsementKind),
    /// Those between it and its maker's root.
    EndorsementChain,
    /// The box maker's over the attestation or the IDevID key, and its chain without the root.
    Device(DeviceKey),
}

/// `TPMT_PUBLIC` of an endorsement key.
///
/// # Errors
///
/// What the TPM says.
pub fn endorsement_public(tpm: &mut Tpm, kind: EndorsementKind) -> Result<Vec<u8>, TpmError> {
    with_endorsement(tpm, kind, |_tpm, key| Ok(key.public.clone()))
}

/// Writes certificates, DER, the leaf first.
///
/// # Errors
///
/// What the TPM says.
pub fn write_certificates(
    tpm: &mut Tpm,
    which: Certificates,
    certificates: &[Vec<u8>],
) -> Result<(), TpmError> {
    let first = match which {
        Certificates::Endorsement(kind) => kind.certificate(),
        Certificates::EndorsementChain => *ENDORSEMENT_CHAIN.start(),
        Certificates::Device(key) => *key.certificates().start(),
    };
    // An index takes no more than the TPM's largest: one for each certificate.
    for (index, certificate) in (first..).zip(certificates) {
        nv::write(tpm, Whose::Maker, index, certificate)?;
    }
    Ok(())
}

/// Has the attestation key say that one of the box's keys sits in the same TPM: of the IDevID key a
/// maker's CA asks for it before it certifies both, of the attestation key itself some verifiers do.
///
/// # Errors
///
/// What the TPM says.
pub fn certify(
    tpm: &mut Tpm,
    keys: &DeviceKeys,
    key: DeviceKey,
    qualifying: &[u8],
) -> Result<Certified, TpmError> {
    let strength = keys.strength;
    let object = match key {
        DeviceKey::Attestation => keys.attestation.key,
        DeviceKey::Idevid => keys.idevid.key,
    };
    let command = Some(CommandCode::Certify);
    let (attest, signature) = with_device_key(tpm, strength, key, command, |tpm, certified| {
        let signer = DeviceKey::Attestation;
        with_device_key(tpm, strength, signer, None, |tpm, signer| {
            let sessions = (Some(certified), Some(signer), None);
            tpm.call("certify a device key", sessions, |context| {
                let (attest, signature) = context.certify(
                    object.into(),
                    keys.attestation.key,
                    Data::try_from(qualifying)?,
                    SignatureScheme::Null,
                )?;
                Ok((attest.marshall()?, signature.marshall()?))
            })
        })
    })?;
    Ok(Certified {
        public: keys.public(key).to_vec(),
        attest,
        signature,
    })
}
