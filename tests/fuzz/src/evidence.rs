//! What a TPM, a firmware, systemd and the kernel say, and what a maker and an owner sign.

use bartizan_evidence::firmware_log::FirmwareLog;
use bartizan_evidence::ima_log::{ImaLog, PCR};
use bartizan_evidence::order;
use bartizan_evidence::pcr_key::PcrSigningKey;
use bartizan_evidence::quote::AttestationKey;
use bartizan_evidence::reference::ReferenceValues;
use bartizan_evidence::replay::{Bank, Pcrs};
use bartizan_evidence::structures::{Attest, EcdsaSignature, Public, endorsement_template};
use bartizan_evidence::userspace_log::UserspaceLog;
use bartizan_manifest::Manifest;

use super::lease::VERIFIER;

/// `TPMT_PUBLIC`.
pub(super) fn tpm_public(data: &[u8]) {
    if let Ok(public) = Public::parse(data) {
        assert_eq!(public.encode(), data, "a public area has one form");
        assert!(!public.spki().is_empty());
        let endorsement = endorsement_template(&public);
        let attestation = AttestationKey::parse(data);
        assert!(endorsement.is_none() || attestation.is_err(), "both");
    }
}

/// `TPMS_ATTEST`.
pub(super) fn tpm_attest(data: &[u8]) {
    if let Ok(attest) = Attest::parse(data) {
        let parts = [&attest.signer.0, &attest.extra_data];
        assert!(parts.iter().all(|part| data.len() >= part.len()));
        assert!(!attest.signer.0.is_empty());
    }
}

/// `TPMT_SIGNATURE`.
pub(super) fn tpm_signature(data: &[u8]) {
    if let Ok(signature) = EcdsaSignature::parse(data) {
        assert_eq!(signature.encode(), data, "a signature has one form");
    }
}

/// The firmware's log, in both formats.
pub(super) fn firmware_log(data: &[u8]) {
    if let Ok(log) = FirmwareLog::parse(data) {
        // An event is never shorter than its fixed fields.
        assert!(log.events().len() * 12 <= data.len());
        for bank in Bank::ALL {
            if let Ok(pcrs) = log.replay(bank) {
                assert_eq!(pcrs.value(0).len(), bank.width());
            }
        }
    }
}

/// Userspace's log.
pub(super) fn userspace_log(data: &[u8]) {
    if let Ok(log) = UserspaceLog::parse(data) {
        assert_eq!(log.is_empty(), data.is_empty());
        let mut pcrs = Pcrs::started(Bank::Sha256, 0);
        let replayed = log.replay(&mut pcrs);
        let extends = |bank: Bank| {
            let mut records = log.records().iter().filter(|record| record.pcr.is_some());
            records.all(|record| record.digests.iter().any(|(known, _)| *known == bank))
        };
        assert_eq!(replayed.is_ok(), extends(Bank::Sha256));
    }
}

/// The IMA log.
pub(super) fn ima_log(data: &[u8]) {
    if let Ok(log) = ImaLog::parse(data) {
        let mut pcrs = Pcrs::started(Bank::Sha256, 0);
        let reset = pcrs.value(PCR);
        assert_eq!(log.replay_until(&mut pcrs, &reset), Some(0));
        assert_eq!(log.replay_until(&mut pcrs, &[]), None);
        assert_eq!(pcrs.is_extended(PCR), !log.entries().is_empty());
    }
}

/// Reference values that the maker did sign.
pub(super) fn reference_values(data: &[u8]) {
    if let Ok(values) = ReferenceValues::verify(&VERIFIER.sign(data), &VERIFIER.pinned) {
        let encoded = values.encode().expect("what was read is whole");
        assert_eq!(encoded, data, "reference values have one form");
    }
}

/// Manifests of updates that the maker did sign.
pub(super) fn manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::verify(&VERIFIER.sign(data), &VERIFIER.pinned) {
        let encoded = manifest.encode().expect("what was read is whole");
        assert_eq!(encoded, data, "a manifest has one form");
        assert!(manifest.update_len() < manifest.parts_len());
    }
}

/// Orders that the verifier did sign.
pub(super) fn order_claims(data: &[u8]) {
    if let Ok(order) = order::verify(&VERIFIER.sign(data), &VERIFIER.pinned) {
        assert_eq!(order.encode(), data, "the claims have one form");
    }
}

/// The PEM file of the key that signs PCR policies.
pub(super) fn pcr_key(data: &[u8]) {
    if let Ok(key) = PcrSigningKey::from_pem(data) {
        let again = PcrSigningKey::from_pem(key.to_pem().as_bytes());
        assert_eq!(again.as_ref(), Ok(&key));
        assert_eq!(
            Public::parse(&key.public().encode()).as_ref(),
            Ok(key.public())
        );
    }
}
