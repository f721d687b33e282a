//! The words of the edges to the TPM.

use serde::{Deserialize, Serialize};

use crate::identity::{
    Certified, Credential, Floor, Floors, KeyName, Log, PcrSelection, Quoted, TpmIdentity,
};
use crate::ids::OrderId;

/// Orders to the TPM; which role may say what is a table in the tpm role.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum ToTpm {
    /// Sign a digest.
    Sign {
        /// Repeated in the reply.
        order: OrderId,
        /// With which key.
        key: KeyName,
        /// Of the message: 32 bytes for a P-256 key, 48 for a P-384 one.
        digest: Vec<u8>,
    },
    /// Describe the TPM and its keys.
    Identity(OrderId),
    /// Make an LDevID key under the policy of this boot, in the place of one that was not kept.
    CreateLdevid {
        /// Repeated in the reply.
        order: OrderId,
        /// `qualifyingData` of `TPM2_Certify`.
        qualifying: [u8; 32],
    },
    /// Keep the LDevID key that was made last.
    KeepLdevid(OrderId),
    /// Open a credential for the attestation key and prove it (`TPM2_ActivateCredential`).
    Activate {
        /// Repeated in the reply.
        order: OrderId,
        /// The credential.
        credential: Credential,
        /// What the proof is over.
        context: [u8; 32],
    },
    /// Quote PCRs of the SHA-256 bank with the attestation key.
    Quote {
        /// Repeated in the reply.
        order: OrderId,
        /// `qualifyingData`, 16 to 64 bytes, but not the 33 of [`ToTpm::Attest`].
        qualifying: Vec<u8>,
        /// Which PCRs.
        pcrs: PcrSelection,
    },
    /// Quote PCRs of the SHA-256 bank with the attestation key, and show the floors: the quote is
    /// bound to both.
    Attest {
        /// Repeated in the reply.
        order: OrderId,
        /// What the quote is bound to besides.
        binding: [u8; 32],
        /// Which PCRs.
        pcrs: PcrSelection,
    },
    /// Read a part of a log.
    ReadLog {
        /// Repeated in the reply.
        order: OrderId,
        /// Which log.
        log: Log,
        /// Its first byte.
        offset: u32,
    },
    /// Raise a floor; one that is as high stays.
    RaiseFloor {
        /// Repeated in the reply.
        order: OrderId,
        /// Which floor.
        floor: Floor,
        /// To what.
        to: u64,
    },
}

/// Replies of the TPM.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum FromTpm {
    /// The signature.
    Signature {
        /// Which order.
        order: OrderId,
        /// DER `Ecdsa-Sig-Value` (RFC 3279, 2.2.3), at most 104 bytes.
        signature: Vec<u8>,
    },
    /// The TPM and its keys.
    Identity {
        /// Which order.
        order: OrderId,
        /// The description.
        identity: Box<TpmIdentity>,
    },
    /// The LDevID key, not kept yet.
    Ldevid {
        /// Which order.
        order: OrderId,
        /// The key and the attestation key's word on it.
        certified: Box<Certified>,
    },
    /// The order is carried out: the LDevID key is kept, the floor raised.
    Done(OrderId),
    /// HMAC-SHA-256 under the credential's secret over the context: nobody else sees the secret.
    Activated {
        /// Which order.
        order: OrderId,
        /// The proof.
        proof: [u8; 32],
    },
    /// The quote.
    Quoted {
        /// Which order.
        order: OrderId,
        /// The quote and the values.
        quoted: Box<Quoted>,
    },
    /// The quote that is bound to the floors.
    Attested {
        /// Which order.
        order: OrderId,
        /// The quote and the values.
        quoted: Box<Quoted>,
        /// The floors, as they stood when it was made.
        floors: Floors,
    },
    /// A part of a log.
    LogPart {
        /// Which order.
        order: OrderId,
        /// At most 8 KiB; empty at the end, and where there is no such log.
        bytes: Vec<u8>,
        /// The whole log's size as it is now, in bytes.
        size: u32,
    },
    /// The asking role may not, in this state.
    NotPermitted(OrderId),
    /// The TPM did not.
    Failed {
        /// Which order.
        order: OrderId,
        /// Its response code.
        code: u32,
    },
}
