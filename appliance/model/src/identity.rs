//! What a TPM says of itself and of the keys in it.
//!
//! The bytes are those of the TPM 2.0 Library, Part 2: nobody on the gateway but the tpm role looks
//! into them, and the verifier trusts none of them before it has checked the signatures.

use serde::{Deserialize, Serialize};

use crate::config::Der;

/// A key of the TPM that signs what it is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum KeyName {
    /// The maker's identity (IEEE 802.1AR): P-384 with SHA-384, or P-256 with SHA-256.
    Idevid,
    /// The owner's identity: P-256 with SHA-256, usable only in an approved boot.
    Ldevid,
}

/// A log of what was measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Log {
    /// The firmware's, TCG2 crypto-agile or SHA-1 format.
    Firmware,
    /// Userspace's (`tpm2-measure.log`, JSON text sequences of RFC 7464).
    Userspace,
    /// The kernel's (IMA), binary.
    Ima,
}

/// Small numbers in the TPM's NV memory that only rise.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Floor {
    /// Below it no voucher counts.
    Ownership,
    /// Below it no image counts.
    Rollback,
    /// Seconds since 1970: no earlier than this is it.
    Time,
}

/// The floors as they stand; none where the index was never written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Floors {
    /// [`Floor::Ownership`].
    pub ownership: Option<u64>,
    /// [`Floor::Rollback`].
    pub rollback: Option<u64>,
    /// [`Floor::Time`].
    pub time: Option<u64>,
}

/// The TPM and its keys, as a registrar must know them.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct TpmIdentity {
    /// `TPM_PT_MANUFACTURER`, four bytes.
    pub manufacturer: [u8; 4],
    /// `TPM_PT_FIRMWARE_VERSION_1` and `_2`.
    pub firmware: [u32; 2],
    /// The endorsement keys for which there is a certificate, the strongest first.
    pub endorsement: Vec<Endorsement>,
    /// Certificates between theirs and their maker's root (NV 0x01C00100 to 0x01C001FF).
    pub endorsement_chain: Vec<Der>,
    /// The attestation key: `TPMT_PUBLIC`.
    pub ak: Vec<u8>,
    /// The maker's certificate over it (IAK) and its chain; empty on a box without.
    pub ak_chain: Vec<Der>,
    /// The key of [`KeyName::Idevid`]: `TPMT_PUBLIC`.
    pub idevid: Vec<u8>,
    /// The maker's certificate over it and its chain; empty on a box without.
    pub idevid_chain: Vec<Der>,
    /// The floors.
    pub floors: Floors,
}

/// An endorsement key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Endorsement {
    /// `TPMT_PUBLIC`.
    pub public: Vec<u8>,
    /// The TPM maker's certificate over it.
    pub certificate: Der,
}

/// A fresh key and the attestation key's word that it sits in the same TPM.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Certified {
    /// `TPMT_PUBLIC` of the key.
    pub public: Vec<u8>,
    /// `TPMS_ATTEST` of `TPM2_Certify`.
    pub attest: Vec<u8>,
    /// `TPMT_SIGNATURE` over it.
    pub signature: Vec<u8>,
}

/// A quote and the values that it speaks of.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Quoted {
    /// `TPMS_ATTEST` of `TPM2_Quote`.
    pub attest: Vec<u8>,
    /// `TPMT_SIGNATURE` over it.
    pub signature: Vec<u8>,
    /// The SHA-256 bank's values, in the order of the PCRs.
    pub pcrs: Vec<(u8, [u8; 32])>,
}

/// PCRs of the SHA-256 bank: bit n is PCR n, of 24.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct PcrSelection(pub u32);

/// What `TPM2_MakeCredential` gives (Part 1, 24).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Credential {
    /// Which of [`TpmIdentity::endorsement`] it is made for.
    pub endorsement: u8,
    /// `TPM2B_ID_OBJECT`.
    pub blob: Vec<u8>,
    /// `TPM2B_ENCRYPTED_SECRET`.
    pub secret: Vec<u8>,
}

/// What the tpm role found at its start; the appliance's state is derived from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct TpmFound {
    /// The LDevID key.
    pub ldevid: LdevidFound,
    /// The owner ordered the end of this box.
    pub retired: bool,
    /// The floors. A box raises the one of ownership before it keeps an ownership, so one that is
    /// missing beside an ownership was cleared away.
    pub floors: Floors,
}

/// An LDevID key, as it was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum LdevidFound {
    /// There is none.
    Absent,
    /// It signs.
    Usable,
    /// It stands, and its policy does not hold: this boot is not approved.
    Unusable,
    /// Something else stands at its handle, or a floor that belongs to it is missing.
    Foreign,
}

/// How ownership ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Farewell {
    /// For a new owner: the owner's keys are evicted, the ownership floor is raised.
    Release,
    /// For good: the same, and the TPM is cleared.
    Retire,
}
