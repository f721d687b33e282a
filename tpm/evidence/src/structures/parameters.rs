//! Parameters of keys: curves, schemes, symmetric definitions.

use super::Hash;
use super::reader::{Reader, StructureError};

const ALG_NULL: u16 = 0x0010;
const ALG_AES: u16 = 0x0006;
const ALG_CFB: u16 = 0x0043;
const ALG_RSASSA: u16 = 0x0014;
const ALG_RSAES: u16 = 0x0015;
const ALG_RSAPSS: u16 = 0x0016;
const ALG_OAEP: u16 = 0x0017;
const ALG_ECDSA: u16 = 0x0018;
const ALG_ECDH: u16 = 0x0019;

/// A curve (`TPM_ECC_CURVE`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Curve {
    /// `TPM_ECC_NIST_P256`.
    P256,
    /// `TPM_ECC_NIST_P384`.
    P384,
}

impl Curve {
    /// Bytes of a coordinate, and of each half of a signature.
    pub const fn width(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    /// The hash that is as strong as the curve.
    pub const fn hash(self) -> Hash {
        match self {
            Self::P256 => Hash::Sha256,
            Self::P384 => Hash::Sha384,
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, StructureError> {
        match from.u16("the curve")? {
            0x0003 => Ok(Self::P256),
            0x0004 => Ok(Self::P384),
            other => Err(unknown("the curve", other)),
        }
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        let id: u16 = match self {
            Self::P256 => 0x0003,
            Self::P384 => 0x0004,
        };
        out.extend(id.to_be_bytes());
    }
}

/// What a parent encrypts its children with (`TPMT_SYM_DEF_OBJECT`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Symmetric {
    /// `TPM_ALG_NULL`.
    Null,
    /// AES in CFB mode, with the key's size in bits.
    AesCfb(u16),
}

impl Symmetric {
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, StructureError> {
        match from.u16("the symmetric algorithm")? {
            ALG_NULL => Ok(Self::Null),
            ALG_AES => {
                let bits = from.u16("the symmetric key's size")?;
                if !matches!(bits, 128 | 192 | 256) {
                    return Err(unknown("the symmetric key's size", bits));
                }
                match from.u16("the symmetric mode")? {
                    ALG_CFB => Ok(Self::AesCfb(bits)),
                    other => Err(unknown("the symmetric mode", other)),
                }
            }
            other => Err(unknown("the symmetric algorithm", other)),
        }
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend(ALG_NULL.to_be_bytes()),
            Self::AesCfb(bits) => {
                for field in [ALG_AES, bits, ALG_CFB] {
                    out.extend(field.to_be_bytes());
                }
            }
        }
    }
}

/// `TPMT_ECC_SCHEME`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EccScheme {
    /// `TPM_ALG_NULL`: whoever uses the key says.
    Null,
    /// ECDSA.
    Ecdsa(Hash),
    /// ECDH.
    Ecdh(Hash),
}

impl EccScheme {
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, StructureError> {
        match from.u16("the scheme")? {
            ALG_NULL => Ok(Self::Null),
            ALG_ECDSA => read_hash(from, "the scheme's hash").map(Self::Ecdsa),
            ALG_ECDH => read_hash(from, "the scheme's hash").map(Self::Ecdh),
            other => Err(unknown("the scheme", other)),
        }
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Null => write_scheme(out, ALG_NULL, None),
            Self::Ecdsa(hash) => write_scheme(out, ALG_ECDSA, Some(hash)),
            Self::Ecdh(hash) => write_scheme(out, ALG_ECDH, Some(hash)),
        }
    }
}

/// `TPMT_RSA_SCHEME`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RsaScheme {
    /// `TPM_ALG_NULL`: whoever uses the key says.
    Null,
    /// RSASSA-PKCS1-v1_5.
    Rsassa(Hash),
    /// RSASSA-PSS.
    Rsapss(Hash),
    /// RSAES-PKCS1-v1_5.
    Rsaes,
    /// RSAES-OAEP.
    Oaep(Hash),
}

impl RsaScheme {
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, StructureError> {
        match from.u16("the scheme")? {
            ALG_NULL => Ok(Self::Null),
            ALG_RSASSA => read_hash(from, "the scheme's hash").map(Self::Rsassa),
            ALG_RSAPSS => read_hash(from, "the scheme's hash").map(Self::Rsapss),
            ALG_RSAES => Ok(Self::Rsaes),
            ALG_OAEP => read_hash(from, "the scheme's hash").map(Self::Oaep),
            other => Err(unknown("the scheme", other)),
        }
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Null => write_scheme(out, ALG_NULL, None),
            Self::Rsassa(hash) => write_scheme(out, ALG_RSASSA, Some(hash)),
            Self::Rsapss(hash) => write_scheme(out, ALG_RSAPSS, Some(hash)),
            Self::Rsaes => write_scheme(out, ALG_RSAES, None),
            Self::Oaep(hash) => write_scheme(out, ALG_OAEP, Some(hash)),
        }
    }
}

fn write_scheme(out: &mut Vec<u8>, scheme: u16, hash: Option<Hash>) {
    out.extend(scheme.to_be_bytes());
    if let Some(hash) = hash {
        out.extend(hash.id().to_be_bytes());
    }
}

/// SHA-1 is refused here, once for all structures.
pub(super) fn read_hash(
    from: &mut Reader<'_>,
    field: &'static str,
) -> Result<Hash, StructureError> {
    let id = from.u16(field)?;
    Hash::from_id(id).ok_or(unknown(field, id))
}

/// The only key derivation in use is none.
pub(super) fn read_null(from: &mut Reader<'_>, field: &'static str) -> Result<(), StructureError> {
    match from.u16(field)? {
        ALG_NULL => Ok(()),
        other => Err(unknown(field, other)),
    }
}

pub(super) fn write_null(out: &mut Vec<u8>) {
    out.extend(ALG_NULL.to_be_bytes());
}

/// `TPM_ALG_ECDSA` at the front of a signature.
pub(super) fn read_ecdsa(from: &mut Reader<'_>) -> Result<(), StructureError> {
    match from.u16("the signature's algorithm")? {
        ALG_ECDSA => Ok(()),
        other => Err(unknown("the signature's algorithm", other)),
    }
}

pub(super) fn write_ecdsa(out: &mut Vec<u8>) {
    out.extend(ALG_ECDSA.to_be_bytes());
}

fn unknown(field: &'static str, value: u16) -> StructureError {
    StructureError::Value {
        field,
        value: value.into(),
    }
}
