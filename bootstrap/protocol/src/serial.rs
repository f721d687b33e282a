//! The name that a maker gives a box.

use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What stands before the digest in the serial number of a box without an IDevID certificate.
const OF_ENDORSEMENT: &str = "ek-";

/// A serial number: 1 to 128 printable ASCII characters.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Serial(String);

/// Not a serial number.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a serial number is 1 to {} printable ascii characters", Serial::MAX)]
pub struct SerialError;

impl Serial {
    /// The most bytes that it may have.
    pub const MAX: usize = 128;

    /// The serial number of a box that its maker gave no IDevID certificate: of the DER
    /// `SubjectPublicKeyInfo` of the first endorsement key. No other TPM can claim it, because
    /// activation proves the key.
    pub fn of_endorsement(spki: &[u8]) -> Self {
        let digest = Sha256::digest(spki);
        let hex = digest.iter().take(20).map(|byte| format!("{byte:02x}"));
        Self(
            core::iter::once(OF_ENDORSEMENT.to_owned())
                .chain(hex)
                .collect(),
        )
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is made of an endorsement key.
    pub fn is_of_endorsement(&self) -> bool {
        self.0.starts_with(OF_ENDORSEMENT)
    }
}

impl TryFrom<String> for Serial {
    type Error = SerialError;

    fn try_from(text: String) -> Result<Self, SerialError> {
        let printable = text.bytes().all(|c| c.is_ascii_graphic() || c == b' ');
        if text.is_empty() || text.len() > Self::MAX || !printable {
            return Err(SerialError);
        }
        Ok(Self(text))
    }
}

impl TryFrom<&str> for Serial {
    type Error = SerialError;

    fn try_from(text: &str) -> Result<Self, SerialError> {
        Self::try_from(text.to_owned())
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> Self {
        serial.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({})", self.0)
    }
}
