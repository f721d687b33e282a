//! The lease: the verifier's signed word that a gateway may work, for how long and since when.
//!
//! An EAT attestation result (draft-ietf-rats-ear) as a CWT (RFC 8392) in the envelope of
//! [`crate::cose`]. Its payload is one map, in deterministic encoding (RFC 8949, 4.2.1):
//!
//! | key | claim | value |
//! |---|---|---|
//! | 2 | `sub` | the node id |
//! | 4 | `exp` | seconds since 1970 |
//! | 6 | `iat` | seconds since 1970 |
//! | 8 | `cnf` (RFC 8747) | {3 (`kid`): SHA-256 of the LDevID's `SubjectPublicKeyInfo`} |
//! | 10 | `eat_nonce` (RFC 9711) | the engine's nonce, 32 bytes |
//! | 265 | `eat_profile` | `tag:ietf.org,2026:rats/ear#04` |
//! | 266 | `submods` | {"gateway": {1000 (`ear_status`): tier}} |
//! | 1004 | `ear_verifier_id` | {0: "bartizan", 1: "lease 1"} |
//!
//! Every claim is required, and no other is allowed: what rests on no evidence has no form.

use core::time::Duration;

use bartizan_model::ids::{IdError, NodeId, Nonce, Thumbprint};
use minicbor::decode::{self, Decoder};
use sha2::{Digest, Sha256};

use crate::cbor::Writer;
use crate::cose::{self, Algorithm, CoseError, VerifierKeys};

/// The most bytes of a lease; the longest that can be made has about 3700.
pub const LEASE_MAX: usize = 5 * 1024;

const PROFILE: &str = "tag:ietf.org,2026:rats/ear#04";
const SUBMOD: &str = "gateway";
// EAR demands a verifier id; nothing is decided by it.
const DEVELOPER: &str = "bartizan";
const BUILD: &str = "lease 1";

const SUB: u64 = 2;
const EXP: u64 = 4;
const IAT: u64 = 6;
const CNF: u64 = 8;
const KID: u64 = 3;
const EAT_NONCE: u64 = 10;
const EAT_PROFILE: u64 = 265;
const SUBMODS: u64 = 266;
const EAR_STATUS: u64 = 1000;
const EAR_VERIFIER_ID: u64 = 1004;

/// How many claims a lease has.
const CLAIMS: u64 = 8;

/// What a lease says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claims {
    /// The gateway.
    pub node: NodeId,
    /// Its LDevID key, as [`thumbprint`] names it.
    pub ldevid: Thumbprint,
    /// The nonce that its engine made for this lease.
    pub nonce: Nonce,
    /// When the verifier signed.
    pub issued: OwnerTime,
    /// When the lease ends; after `issued` in every lease that [`verify`] returns.
    pub expires: OwnerTime,
    /// The verifier's result.
    pub status: Status,
}

/// A moment by the owner's clock, the verifier's: whole seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct OwnerTime(pub u64);

impl OwnerTime {
    /// The moment `wait` after this one, rounded down; the end of time where there is none.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait.as_secs()))
    }

    /// How long ago `earlier` was; zero if it is still to come.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

/// Trustworthiness tier (draft-ietf-rats-ar4si, 2.3.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// The verifier makes no statement.
    None,
    /// It runs what it should.
    Affirming,
    /// Something needs attention.
    Warning,
    /// It does not run what it should.
    Contraindicated,
}

impl Status {
    /// Every tier, from none to worst.
    pub const ALL: [Self; 4] = [
        Self::None,
        Self::Affirming,
        Self::Warning,
        Self::Contraindicated,
    ];

    const fn tier(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Affirming => 2,
            Self::Warning => 32,
            Self::Contraindicated => 96,
        }
    }
}

/// Why bytes are no lease of this verifier.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// More bytes than a lease has.
    #[error("a lease has at most {LEASE_MAX} bytes")]
    TooLong,
    /// Not an envelope.
    #[error("a lease is a COSE_Sign with two signatures")]
    Envelope(#[source] CoseError),
    /// A signature is not of the pinned key over these claims.
    #[error("the {0} signature of a lease is wrong")]
    Signature(Algorithm),
    /// Signed, but not the CBOR items of the claims.
    #[error("cannot decode the claims of a lease")]
    Malformed(#[source] decode::Error),
    /// The items, but with other claims, or in another form than the one.
    #[error("the claims of a lease are not in their one form")]
    Form,
    /// `sub` is no node id.
    #[error("the subject of a lease is no node id")]
    Node(#[source] IdError),
    /// No such tier.
    #[error("a lease has a status that does not exist")]
    Status,
    /// It ends before it begins.
    #[error("a lease ends no later than it begins")]
    Times,
}

impl Claims {
    /// How long the lease lives.
    pub fn lifetime(&self) -> Duration {
        self.expires.since(self.issued)
    }

    /// The payload: what [`cose::to_be_signed`] and [`cose::assemble`] take.
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = Writer::default();
        payload.map(CLAIMS);
        payload.unsigned(SUB).text(self.node.as_str());
        payload.unsigned(EXP).unsigned(self.expires.0);
        payload.unsigned(IAT).unsigned(self.issued.0);
        payload.unsigned(CNF).map(1);
        payload.unsigned(KID).bytes(&self.ldevid.0);
        payload.unsigned(EAT_NONCE).bytes(&self.nonce.0);
        payload.unsigned(EAT_PROFILE).text(PROFILE);
        payload.unsigned(SUBMODS).map(1).text(SUBMOD).map(1);
        let tier = u64::from(self.status.tier());
        payload.unsigned(EAR_STATUS).unsigned(tier);
        payload.unsigned(EAR_VERIFIER_ID).map(2);
        payload.unsigned(0).text(DEVELOPER).unsigned(1).text(BUILD);
        payload.into_bytes()
    }

    fn decode(payload: &[u8]) -> Result<Self, LeaseError> {
        let raw = RawClaims::read(payload).map_err(LeaseError::Malformed)?;
        let claims = Self {
            node: NodeId::try_from(raw.node).map_err(LeaseError::Node)?,
            ldevid: Thumbprint(raw.ldevid.try_into().map_err(|_| LeaseError::Form)?),
            nonce: Nonce(raw.nonce.try_into().map_err(|_| LeaseError::Form)?),
            issued: OwnerTime(raw.issued),
            expires: OwnerTime(raw.expires),
            status: Status::ALL
                .into_iter()
                .find(|status| status.tier() == raw.tier)
                .ok_or(LeaseError::Status)?,
        };
        if claims.encode() != payload {
            return Err(LeaseError::Form);
        }
        if claims.expires <= claims.issued {
            return Err(LeaseError::Times);
        }
        Ok(claims)
    }
}

/// Checks a lease: its form, both signatures, and that its claims are whole.
///
/// Whether it is for this gateway, with the outstanding nonce and a good status, is the caller's
/// to decide.
///
/// # Errors
///
/// [`LeaseError`] if it is no lease of this verifier.
pub fn verify(bytes: &[u8], keys: &VerifierKeys) -> Result<Claims, LeaseError> {
    if bytes.len() > LEASE_MAX {
        return Err(LeaseError::TooLong);
    }
    let payload = cose::open(bytes, keys).map_err(|cause| match cause {
        CoseError::Signature(algorithm) => LeaseError::Signature(algorithm),
        CoseError::Malformed(_) | CoseError::Form => LeaseError::Envelope(cause),
    })?;
    Claims::decode(payload)
}

/// The name of a public key in a lease: SHA-256 of its DER `SubjectPublicKeyInfo` (RFC 5280, 4.1).
pub fn thumbprint(spki: &[u8]) -> Thumbprint {
    Thumbprint(Sha256::digest(spki).into())
}

/// The values at the places where claims stand; whether the rest is right, the comparison in
/// [`Claims::decode`] says.
struct RawClaims<'a> {
    node: &'a str,
    ldevid: &'a [u8],
    nonce: &'a [u8],
    issued: u64,
    expires: u64,
    tier: u8,
}

impl<'a> RawClaims<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, decode::Error> {
        let mut items = Decoder::new(payload);
        items.map()?;
        items.u64()?;
        let node = items.str()?;
        items.u64()?;
        let expires = items.u64()?;
        items.u64()?;
        let issued = items.u64()?;
        items.u64()?;
        items.map()?;
        items.u64()?;
        let ldevid = items.bytes()?;
        items.u64()?;
        let nonce = items.bytes()?;
        items.u64()?;
        items.str()?;
        items.u64()?;
        items.map()?;
        items.str()?;
        items.map()?;
        items.u64()?;
        let tier = items.u8()?;
        Ok(Self {
            node,
            ldevid,
            nonce,
            issued,
            expires,
            tier,
        })
    }
}
