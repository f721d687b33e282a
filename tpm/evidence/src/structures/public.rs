//! `TPMT_PUBLIC` (Part 2, 12.2.4): the public area of a key.

use core::ops::BitOr;

use super::parameters::{Curve, EccScheme, RsaScheme, Symmetric, read_hash, read_null, write_null};
use super::reader::{Reader, StructureError, write_sized};
use super::spki::{ecc_spki, rsa_spki};
use super::{Hash, Name};

const ALG_RSA: u16 = 0x0001;
const ALG_ECC: u16 = 0x0023;

/// `TPMA_OBJECT` (Part 2, 8.3): what a key may be used for, and where it is from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attributes(pub u32);

impl Attributes {
    /// The key never leaves its TPM.
    pub const FIXED_TPM: Self = Self(1 << 1);
    /// It goes with a reset.
    pub const ST_CLEAR: Self = Self(1 << 2);
    /// It never gets another parent.
    pub const FIXED_PARENT: Self = Self(1 << 4);
    /// The TPM made it.
    pub const SENSITIVE_DATA_ORIGIN: Self = Self(1 << 5);
    /// Its authorization value is enough to use it.
    pub const USER_WITH_AUTH: Self = Self(1 << 6);
    /// Only its policy is enough to administer it.
    pub const ADMIN_WITH_POLICY: Self = Self(1 << 7);
    /// Wrong guesses are not counted.
    pub const NO_DA: Self = Self(1 << 10);
    /// It is duplicated encrypted only.
    pub const ENCRYPTED_DUPLICATION: Self = Self(1 << 11);
    /// It works only on what the TPM itself made.
    pub const RESTRICTED: Self = Self(1 << 16);
    /// It decrypts.
    pub const DECRYPT: Self = Self(1 << 17);
    /// It signs.
    pub const SIGN: Self = Self(1 << 18);

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Attributes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The public area of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Public {
    /// What its Name is made with.
    pub name_hash: Hash,
    /// What it may be used for.
    pub attributes: Attributes,
    /// The policy that authorizes its use: empty, or a digest of `name_hash`.
    pub auth_policy: Vec<u8>,
    /// The key.
    pub key: Key,
}

/// A public key and what it is used with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Key {
    /// `TPM_ALG_ECC`.
    Ecc {
        /// For its children.
        symmetric: Symmetric,
        /// How it is used.
        scheme: EccScheme,
        /// On which curve.
        curve: Curve,
        /// The point, as the TPM gave it: leading zeros may be missing.
        x: Vec<u8>,
        /// The other coordinate.
        y: Vec<u8>,
    },
    /// `TPM_ALG_RSA`.
    Rsa {
        /// For its children.
        symmetric: Symmetric,
        /// How it is used.
        scheme: RsaScheme,
        /// Bits of the modulus: 2048, 3072 or 4096.
        bits: u16,
        /// The public exponent; 0 stands for 65537.
        exponent: u32,
        /// The modulus.
        modulus: Vec<u8>,
    },
}

impl Public {
    /// Parses a `TPMT_PUBLIC`.
    ///
    /// # Errors
    ///
    /// [`StructureError`] for anything but an ECC key on P-256 or P-384 or an RSA key of 2048, 3072
    /// or 4096 bits, with hashes no weaker than SHA-256.
    pub fn parse(bytes: &[u8]) -> Result<Self, StructureError> {
        let mut from = Reader::new(bytes);
        let kind = from.u16("the type")?;
        let name_hash = read_hash(&mut from, "the name's hash")?;
        let attributes = Attributes(from.u32("objectAttributes")?);
        let auth_policy = from.sized(64, "authPolicy")?.to_vec();
        let key = match kind {
            ALG_ECC => read_ecc(&mut from)?,
            ALG_RSA => read_rsa(&mut from)?,
            other => {
                return Err(StructureError::Value {
                    field: "the type",
                    value: other.into(),
                });
            }
        };
        from.end()?;
        if !auth_policy.is_empty() && auth_policy.len() != name_hash.digest(&[]).len() {
            return Err(StructureError::Length {
                field: "authPolicy",
                len: auth_policy.len(),
            });
        }
        Ok(Self {
            name_hash,
            attributes,
            auth_policy,
            key,
        })
    }

    /// The `TPMT_PUBLIC`.
    pub fn encode(&self) -> Vec<u8> {
        let kind = match self.key {
            Key::Ecc { .. } => ALG_ECC,
            Key::Rsa { .. } => ALG_RSA,
        };
        let mut out = kind.to_be_bytes().to_vec();
        out.extend(self.name_hash.id().to_be_bytes());
        out.extend(self.attributes.0.to_be_bytes());
        write_sized(&mut out, &self.auth_policy);
        match &self.key {
            Key::Ecc {
                symmetric,
                scheme,
                curve,
                x,
                y,
            } => {
                symmetric.write(&mut out);
                scheme.write(&mut out);
                curve.write(&mut out);
                write_null(&mut out);
                write_sized(&mut out, x);
                write_sized(&mut out, y);
            }
            Key::Rsa {
                symmetric,
                scheme,
                bits,
                exponent,
                modulus,
            } => {
                symmetric.write(&mut out);
                scheme.write(&mut out);
                out.extend(bits.to_be_bytes());
                out.extend(exponent.to_be_bytes());
                write_sized(&mut out, modulus);
            }
        }
        out
    }

    /// The Name of the key.
    pub fn name(&self) -> Name {
        let mut name = self.name_hash.id().to_be_bytes().to_vec();
        name.extend(self.name_hash.digest(&[&self.encode()]));
        Name(name)
    }

    /// The DER `SubjectPublicKeyInfo` (RFC 5280, 4.1).
    pub fn spki(&self) -> Vec<u8> {
        match &self.key {
            Key::Ecc { curve, .. } => ecc_spki(*curve, &self.point().unwrap_or_default()),
            Key::Rsa {
                exponent, modulus, ..
            } => rsa_spki(modulus, *exponent),
        }
    }

    /// The point of an ECC key, uncompressed (SEC 1, 2.3.3); `None` for an RSA key.
    pub fn point(&self) -> Option<Vec<u8>> {
        let Key::Ecc { curve, x, y, .. } = &self.key else {
            return None;
        };
        let mut point = vec![0x04];
        for coordinate in [x, y] {
            let missing = curve.width().checked_sub(coordinate.len())?;
            point.extend(core::iter::repeat_n(0, missing));
            point.extend(coordinate);
        }
        Some(point)
    }
}

fn read_ecc(from: &mut Reader<'_>) -> Result<Key, StructureError> {
    let symmetric = Symmetric::read(from)?;
    let scheme = EccScheme::read(from)?;
    let curve = Curve::read(from)?;
    read_null(from, "the key derivation")?;
    Ok(Key::Ecc {
        symmetric,
        scheme,
        curve,
        x: from.sized(curve.width(), "x")?.to_vec(),
        y: from.sized(curve.width(), "y")?.to_vec(),
    })
}

fn read_rsa(from: &mut Reader<'_>) -> Result<Key, StructureError> {
    let symmetric = Symmetric::read(from)?;
    let scheme = RsaScheme::read(from)?;
    let bits = from.u16("keyBits")?;
    if !matches!(bits, 2048 | 3072 | 4096) {
        return Err(StructureError::Value {
            field: "keyBits",
            value: bits.into(),
        });
    }
    let exponent = from.u32("exponent")?;
    let modulus = from.sized(512, "the modulus")?;
    // Its highest bit is set: the modulus has as many bits as it says.
    let whole = modulus.len() == usize::from(bits.div_ceil(8))
        && modulus.first().is_some_and(|byte| byte & 0x80 != 0);
    if !whole {
        return Err(StructureError::Length {
            field: "the modulus",
            len: modulus.len(),
        });
    }
    Ok(Key::Rsa {
        symmetric,
        scheme,
        bits,
        exponent,
        modulus: modulus.to_vec(),
    })
}
