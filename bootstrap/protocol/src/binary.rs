//! YANG's `binary` as JSON has it: base64 in a string (RFC 7951, 6.6).

use base64ct::{Base64, Encoding as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes that are base64 in a document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Binary(pub(crate) Vec<u8>);

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Base64::encode_string(&self.0))
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Base64::decode_vec(&text)
            .map(Self)
            .map_err(|_| de::Error::custom("not base64"))
    }
}
