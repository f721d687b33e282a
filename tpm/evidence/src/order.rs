//! The order that ends ownership: the verifier's signed word, in the envelope of [`crate::cose`],
//! that this gateway is given away or retired.
//!
//! Its payload is one map, in deterministic encoding (RFC 8949, 4.2.1):
//!
//! | key | claim | value |
//! |---|---|---|
//! | 2 | `sub` | the node id |
//! | 6 | `iat` | seconds since 1970 |
//! | 8 | `cnf` (RFC 8747) | {3 (`kid`): SHA-256 of the LDevID's `SubjectPublicKeyInfo`} |
//! | 10 | `eat_nonce` (RFC 9711) | the engine's outstanding nonce, 32 bytes |
//! | 265 | `eat_profile` | `urn:bartizan:eat:order-1` |
//! | -70102 | farewell (private) | 0 release, 1 retire |
//!
//! Every claim is required, and no other is allowed. The profile keeps a lease from being an order
//! and an order from being a lease, though the same keys sign both.

use bartizan_model::identity::Farewell;
use bartizan_model::ids::{IdError, NodeId, Nonce, Thumbprint};
use minicbor::decode::{self, Decoder};

use crate::cbor::Writer;
use crate::cose::{self, Algorithm, CoseError, VerifierKeys};
use crate::lease::OwnerTime;

/// The most bytes of an order; the longest that can be made has about 3700.
pub const ORDER_MAX: usize = 5 * 1024;

const PROFILE: &str = "urn:bartizan:eat:order-1";

const SUB: u64 = 2;
const IAT: u64 = 6;
const CNF: u64 = 8;
const KID: u64 = 3;
const EAT_NONCE: u64 = 10;
const EAT_PROFILE: u64 = 265;
const FAREWELL: i64 = -70_102;
const CLAIMS: u64 = 6;

const RELEASE: u8 = 0;
const RETIRE: u8 = 1;

/// What an order says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Order {
    /// The gateway.
    pub node: NodeId,
    /// Its `LDevID` key, as [`crate::lease::thumbprint`] names it.
    pub ldevid: Thumbprint,
    /// The nonce that its engine made for its next lease.
    pub nonce: Nonce,
    /// When the verifier signed.
    pub issued: OwnerTime,
    /// How ownership ends.
    pub farewell: Farewell,
}

/// Why bytes are no order of this verifier.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// More bytes than an order has.
    #[error("an order has at most {ORDER_MAX} bytes")]
    TooLong,
    /// Not an envelope.
    #[error("an order is a COSE_Sign with two signatures")]
    Envelope(#[source] CoseError),
    /// A signature is not of the pinned key over these claims.
    #[error("the {0} signature of an order is wrong")]
    Signature(Algorithm),
    /// Signed, but not the CBOR items of the claims.
    #[error("cannot decode the claims of an order")]
    Malformed(#[source] decode::Error),
    /// The items, but with other claims, or in another form than the one.
    #[error("the claims of an order are not in their one form")]
    Form,
    /// `sub` is no node id.
    #[error("the subject of an order is no node id")]
    Node(#[source] IdError),
}

impl Order {
    /// The payload: what [`cose::to_be_signed`] and [`cose::assemble`] take.
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = Writer::default();
        payload.map(CLAIMS);
        payload.unsigned(SUB).text(self.node.as_str());
        payload.unsigned(IAT).unsigned(self.issued.0);
        payload.unsigned(CNF).map(1);
        payload.unsigned(KID).bytes(&self.ldevid.0);
        payload.unsigned(EAT_NONCE).bytes(&self.nonce.0);
        payload.unsigned(EAT_PROFILE).text(PROFILE);
        payload.int(FAREWELL).unsigned(match self.farewell {
            Farewell::Release => RELEASE.into(),
            Farewell::Retire => RETIRE.into(),
        });
        payload.into_bytes()
    }

    /// Finds the values at the places where claims stand, writes them again and compares.
    fn decode(payload: &[u8]) -> Result<Self, OrderError> {
        let raw = RawOrder::read(payload).map_err(OrderError::Malformed)?;
        let order = Self {
            node: NodeId::try_from(raw.node).map_err(OrderError::Node)?,
            ldevid: Thumbprint(raw.ldevid.try_into().map_err(|_| OrderError::Form)?),
            nonce: Nonce(raw.nonce.try_into().map_err(|_| OrderError::Form)?),
            issued: OwnerTime(raw.issued),
            farewell: match raw.farewell {
                RELEASE => Farewell::Release,
                RETIRE => Farewell::Retire,
                _ => return Err(OrderError::Form),
            },
        };
        if order.encode() != payload {
            return Err(OrderError::Form);
        }
        Ok(order)
    }
}

/// Checks an order: its form and both signatures.
///
/// Whether it is for this gateway and carries the outstanding nonce is the caller's to decide.
///
/// # Errors
///
/// [`OrderError`] if it is no order of this verifier.
pub fn verify(bytes: &[u8], keys: &VerifierKeys) -> Result<Order, OrderError> {
    if bytes.len() > ORDER_MAX {
        return Err(OrderError::TooLong);
    }
    let payload = cose::open(bytes, keys).map_err(|cause| match cause {
        CoseError::Signature(algorithm) => OrderError::Signature(algorithm),
        CoseError::Malformed(_) | CoseError::Form => OrderError::Envelope(cause),
    })?;
    Order::decode(payload)
}

struct RawOrder<'a> {
    node: &'a str,
    ldevid: &'a [u8],
    nonce: &'a [u8],
    issued: u64,
    farewell: u8,
}

impl<'a> RawOrder<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, decode::Error> {
        let mut items = Decoder::new(payload);
        items.map()?;
        items.u64()?;
        let node = items.str()?;
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
        items.i64()?;
        let farewell = items.u8()?;
        Ok(Self {
            node,
            ldevid,
            nonce,
            issued,
            farewell,
        })
    }
}
