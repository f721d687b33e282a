//! Identifiers, each a type of its own with a checked constructor.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A value breaks the rule of its type.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IdError {
    /// RFC 4303, 2.1 keeps SPIs 0 to 255.
    #[error("an SPI below 256 is reserved")]
    ReservedSpi,
    /// A reqid of 0 means "any" to the kernel.
    #[error("a reqid is 1 to 4294967295")]
    Reqid,
    /// A text identifier is empty or too long.
    #[error("an identifier is empty or longer than {max} bytes")]
    Length {
        /// The most bytes it may have.
        max: usize,
    },
    /// A text identifier holds a character that its type does not allow.
    #[error("an identifier holds a character that is not allowed")]
    Character,
}

/// Security parameter index (RFC 4303, 2.1): names an SA at its receiver; 256 or more.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Spi(u32);

impl TryFrom<u32> for Spi {
    type Error = IdError;

    fn try_from(spi: u32) -> Result<Self, IdError> {
        if spi < 256 {
            return Err(IdError::ReservedSpi);
        }
        Ok(Self(spi))
    }
}

impl From<Spi> for u32 {
    fn from(spi: Spi) -> Self {
        spi.0
    }
}

impl fmt::Debug for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spi({:#010x})", self.0)
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// Binds a policy to its SAs in the kernel; one a tunnel, never 0.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Reqid(u32);

impl TryFrom<u32> for Reqid {
    type Error = IdError;

    fn try_from(reqid: u32) -> Result<Self, IdError> {
        if reqid == 0 {
            return Err(IdError::Reqid);
        }
        Ok(Self(reqid))
    }
}

impl From<Reqid> for u32 {
    fn from(reqid: Reqid) -> Self {
        reqid.0
    }
}

impl fmt::Display for Reqid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A tunnel's number, unique within its pair of nodes and the same at both ends.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct TunnelId(pub u32);

impl fmt::Display for TunnelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A generation's number; the first of a tunnel is 1, 0 means none yet.
#[derive(
    Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The number after this one; `None` after 2^64 generations.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An order to a neighbour process; its reply carries the same number.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct OrderId(pub u64);

/// One `edit-config`, from the first entry to the verdict.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct EditId(pub u64);

/// 32 fresh random bytes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Nonce(pub [u8; 32]);

/// SHA-256 of an LDevID public key (DER `SubjectPublicKeyInfo`).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Thumbprint(pub [u8; 32]);

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $max:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The most bytes it may have.
            pub const MAX: usize = $max;

            /// The text as given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                if text.is_empty() || text.len() > Self::MAX {
                    return Err(IdError::Length { max: Self::MAX });
                }
                let allowed: fn(char) -> bool = $allowed;
                if !text.chars().all(allowed) {
                    return Err(IdError::Character);
                }
                Ok(Self(text))
            }
        }

        impl TryFrom<&str> for $name {
            type Error = IdError;

            fn try_from(text: &str) -> Result<Self, IdError> {
                Self::try_from(String::from(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text! {
    /// A gateway: a lower-case DNS name, the only `dNSName` of its LDevID certificate.
    ///
    /// The lower one of a pair, by bytes, dials and initiates.
    NodeId, 64, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.'
}

text! {
    /// A QKD key's name between gateways: its name at the KMEs (ETSI GS QKD 014, 6.3: `key_ID`; 004:
    /// the stream, `/`, the index), a link's name and a colon before it where the link has one.
    KeyId, 64, |c| c.is_ascii_graphic()
}

text! {
    /// An SAE's name at the KMEs (ETSI GS QKD 014, 6.1), a part of a URL's path.
    SaeId, 64, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')
}

text! {
    /// What both ends call a QKD link.
    LinkName, 16, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

text! {
    /// A stream of keys (ETSI GS QKD 004: `Key_stream_ID`), a link's name and a colon before it
    /// where the link has one.
    StreamName, 64, |c| c.is_ascii_graphic()
}

text! {
    /// What a KME said when it refused: printable ASCII, for the operator alone.
    KmeText, 128, |c| c == ' ' || c.is_ascii_graphic()
}

text! {
    /// The key of a list entry in the controller's document, kept verbatim.
    EntryName, 255, |c| !c.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_spis_are_refused() {
        assert_eq!(Spi::try_from(255), Err(IdError::ReservedSpi));
        assert!(Spi::try_from(256).is_ok());
    }

    #[test]
    fn a_node_id_is_a_short_lower_case_dns_name() {
        assert!(NodeId::try_from("gw-a.example").is_ok());
        for bad in ["", "GW", "a b", "ä", &"a".repeat(65)] {
            assert!(NodeId::try_from(bad).is_err(), "{bad}");
        }
    }
}
