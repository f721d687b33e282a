//! Ownership as the supervisor keeps it: checked whenever it is read, learned or renewed.
//!
//! One file, JSON, of the one form that [`Owned::encode`] writes: a document that says the same in
//! other bytes was not written here, and does not count.

use bartizan_model::config::Der;
use bartizan_model::ids::Thumbprint;
use bartizan_model::ownership::{Broken, Ownership};
use serde::{Deserialize, Serialize};

use crate::chain::{ChainError, Leaf};

/// The only version of the document.
const VERSION: u32 = 1;

/// The most bytes of the document: DER stands in it as numbers.
pub const DOCUMENT_MAX: u64 = 2 << 20;

/// Why an ownership does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnershipError {
    /// Not the document.
    #[error("not a document of version {VERSION}")]
    Document(#[source] serde_json::Error),
    /// Of a version that is not known here.
    #[error("a document of version {0}")]
    Version(u32),
    /// It says the same in other bytes than are written here.
    #[error("a document of another hand")]
    Form,
    /// A value breaks a rule.
    #[error("it breaks a rule")]
    Rule(#[from] Broken),
    /// A certificate is wrong.
    #[error("the LDevID certificate")]
    Chain(#[from] ChainError),
    /// The certificate names another node.
    #[error("the LDevID certificate names another node")]
    OtherNode,
    /// The renewed certificate is over another key.
    #[error("the LDevID certificate is over another key")]
    OtherKey,
}

/// An ownership that was checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owned {
    ownership: Ownership,
    key: Thumbprint,
    since: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    ownership: Ownership,
}

impl Owned {
    /// Checks an ownership.
    ///
    /// # Errors
    ///
    /// [`OwnershipError`] with the first thing that is wrong.
    pub fn new(ownership: Ownership) -> Result<Self, OwnershipError> {
        ownership.check()?;
        let leaf = Leaf::of(&ownership.ldevid, &ownership.anchors)?;
        if leaf.node != ownership.node {
            return Err(OwnershipError::OtherNode);
        }
        Ok(Self {
            ownership,
            key: leaf.key,
            since: leaf.begins,
        })
    }

    /// Reads a document.
    ///
    /// # Errors
    ///
    /// [`OwnershipError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, OwnershipError> {
        let document: Document = serde_json::from_slice(bytes).map_err(OwnershipError::Document)?;
        if document.version != VERSION {
            return Err(OwnershipError::Version(document.version));
        }
        let owned = Self::new(document.ownership)?;
        if owned.encode()? != bytes {
            return Err(OwnershipError::Form);
        }
        Ok(owned)
    }

    /// Writes the document.
    ///
    /// # Errors
    ///
    /// [`OwnershipError::Document`] if JSON cannot say it.
    pub fn encode(&self) -> Result<Vec<u8>, OwnershipError> {
        let document = Document {
            version: VERSION,
            ownership: self.ownership.clone(),
        };
        serde_json::to_vec(&document).map_err(OwnershipError::Document)
    }

    /// Takes another LDevID certificate over the same key, for the same node.
    ///
    /// # Errors
    ///
    /// [`OwnershipError`]; nothing has changed.
    pub fn renewed(&self, chain: Vec<Der>) -> Result<Self, OwnershipError> {
        let mut ownership = self.ownership.clone();
        ownership.ldevid = chain;
        let renewed = Self::new(ownership)?;
        if renewed.key != self.key {
            return Err(OwnershipError::OtherKey);
        }
        Ok(renewed)
    }

    /// What was checked.
    pub fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    /// When the owner last certified the LDevID, in seconds since 1970: it is no earlier.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// The LDevID key.
    pub fn key(&self) -> Thumbprint {
        self.key
    }
}
