//! `TPM2_MakeCredential` without a TPM: a secret that only the TPM with this endorsement key and this
//! attestation key gives back (TPM 2.0 Library, Part 1, 24 and annexes B.10.4 and C.6.1).

use core::fmt;

use aws_lc_rs::agreement::{
    ECDH_P256, ECDH_P384, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral,
};
use aws_lc_rs::cipher::{
    AES_128, AES_256, EncryptionContext, StreamingEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::digest::{self, SHA256, SHA384};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac::{self, HMAC_SHA256, HMAC_SHA384};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OaepAlgorithm, OaepPublicEncryptingKey,
    PublicEncryptingKey,
};
use bartizan_evidence::structures::{Curve, Hash, Key, Name, Public, Symmetric};
use zeroize::Zeroizing;

/// Bytes of the secret in a credential.
pub const SECRET_LEN: usize = 32;

/// What a credential is made for: the endorsement key and the algorithms of its public area.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Protector {
    hash: ProtectorHash,
    cipher: Cipher,
    key: ProtectorKey,
}

/// The name algorithm of an endorsement key, by which everything here hashes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ProtectorHash {
    Sha256,
    Sha384,
}

/// Its symmetric algorithm, in CFB mode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cipher {
    Aes128,
    Aes256,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum ProtectorKey {
    /// DER `SubjectPublicKeyInfo`.
    Rsa(Vec<u8>),
    /// The point, uncompressed.
    Ecc { curve: Curve, point: Vec<u8> },
}

/// A credential and the secret in it.
pub struct Made {
    /// `TPM2B_ID_OBJECT`.
    pub blob: Vec<u8>,
    /// `TPM2B_ENCRYPTED_SECRET`.
    pub encrypted_secret: Vec<u8>,
    /// What the TPM gives back.
    pub secret: Zeroizing<[u8; SECRET_LEN]>,
}

/// No credential can be made for this key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no credential can be made for this endorsement key")]
pub struct CredentialError;

/// Makes a credential for the object with this Name, with a fresh secret.
///
/// # Errors
///
/// [`CredentialError`] if the key is none of its kind.
pub fn make(protector: &Protector, name: &Name) -> Result<Made, CredentialError> {
    let mut secret = Zeroizing::new([0; SECRET_LEN]);
    fill(secret.as_mut_slice())?;
    let (seed, encrypted_secret) = protector.share_seed()?;
    let blob = protector.wrap(&seed, &name.0, secret.as_slice())?;
    Ok(Made {
        blob,
        encrypted_secret: tpm2b(&encrypted_secret)?,
        secret,
    })
}

impl Protector {
    /// Takes an endorsement key's public area.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] for algorithms that no endorsement key of the default templates has.
    pub fn new(endorsement: &Public) -> Result<Self, CredentialError> {
        let hash = match endorsement.name_hash {
            Hash::Sha256 => ProtectorHash::Sha256,
            Hash::Sha384 => ProtectorHash::Sha384,
            Hash::Sha512 => return Err(CredentialError),
        };
        let (symmetric, key) = match &endorsement.key {
            Key::Rsa { symmetric, .. } => (symmetric, ProtectorKey::Rsa(endorsement.spki())),
            Key::Ecc {
                symmetric, curve, ..
            } => {
                let point = endorsement.point().ok_or(CredentialError)?;
                let curve = *curve;
                (symmetric, ProtectorKey::Ecc { curve, point })
            }
        };
        let cipher = match symmetric {
            Symmetric::AesCfb(128) => Cipher::Aes128,
            Symmetric::AesCfb(256) => Cipher::Aes256,
            Symmetric::AesCfb(_) | Symmetric::Null => return Err(CredentialError),
        };
        Ok(Self { hash, cipher, key })
    }

    /// Makes a seed that the TPM will know; returns it, and the content of the
    /// `TPM2B_ENCRYPTED_SECRET`.
    fn share_seed(&self) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), CredentialError> {
        match &self.key {
            ProtectorKey::Rsa(spki) => self.share_by_rsa(spki),
            ProtectorKey::Ecc { curve, point } => self.share_by_ecdh(*curve, point),
        }
    }

    fn share_by_rsa(&self, spki: &[u8]) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), CredentialError> {
        let mut seed = Zeroizing::new(vec![0; self.hash.len()]);
        fill(seed.as_mut_slice())?;
        let key = PublicEncryptingKey::from_der(spki).map_err(|_| CredentialError)?;
        let key = OaepPublicEncryptingKey::new(key)?;
        let mut encrypted = vec![0; key.ciphertext_size()];
        key.encrypt(self.hash.oaep(), &seed, &mut encrypted, Some(IDENTITY))?;
        Ok((seed, encrypted))
    }

    fn share_by_ecdh(
        &self,
        curve: Curve,
        point: &[u8],
    ) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), CredentialError> {
        let algorithm = match curve {
            Curve::P256 => &ECDH_P256,
            Curve::P384 => &ECDH_P384,
        };
        let ephemeral = EphemeralPrivateKey::generate(algorithm, &SystemRandom::new())?;
        let public = ephemeral.compute_public_key()?;
        let (our_x, our_y) = coordinates(public.as_ref(), curve)?;
        let (their_x, _) = coordinates(point, curve)?;
        let theirs = UnparsedPublicKey::new(algorithm, point);
        let seed = agree_ephemeral(ephemeral, theirs, CredentialError, |z| {
            Ok(self.kdfe(z, our_x, their_x))
        })?;
        let point = [tpm2b(our_x)?, tpm2b(our_y)?].concat();
        Ok((seed, point))
    }

    /// Part 1, 24.4 and 24.5: encrypts the secret, then authenticates it and the Name.
    fn wrap(&self, seed: &[u8], name: &[u8], secret: &[u8]) -> Result<Vec<u8>, CredentialError> {
        let mut sealed = Zeroizing::new(tpm2b(secret)?);
        let key = self.kdfa(seed, b"STORAGE", name, self.cipher.len())?;
        self.cipher.encrypt(&key, &mut sealed)?;
        let key = self.kdfa(seed, b"INTEGRITY", &[], self.hash.len())?;
        let mut integrity = hmac::Context::with_key(&hmac::Key::new(self.hash.hmac(), &key));
        integrity.update(&sealed);
        integrity.update(name);
        let integrity = tpm2b(integrity.sign().as_ref())?;
        tpm2b(&[integrity.as_slice(), &sealed].concat())
    }

    /// Part 1, 11.4.10.2, for at most one block of the hash.
    fn kdfa(
        &self,
        key: &[u8],
        label: &[u8],
        context: &[u8],
        len: usize,
    ) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
        let bits = len.checked_mul(8).and_then(|bits| u32::try_from(bits).ok());
        let bits = bits.ok_or(CredentialError)?;
        let mut block = hmac::Context::with_key(&hmac::Key::new(self.hash.hmac(), key));
        block.update(&1_u32.to_be_bytes());
        block.update(label);
        block.update(&[0]);
        block.update(context);
        block.update(&bits.to_be_bytes());
        let block = block.sign();
        let block = block.as_ref().get(..len).ok_or(CredentialError)?;
        Ok(Zeroizing::new(block.to_vec()))
    }

    /// Part 1, 11.4.10.3, for one block of the hash.
    fn kdfe(&self, z: &[u8], party_u: &[u8], party_v: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut block = digest::Context::new(self.hash.digest());
        block.update(&1_u32.to_be_bytes());
        block.update(z);
        block.update(IDENTITY);
        block.update(party_u);
        block.update(party_v);
        Zeroizing::new(block.finish().as_ref().to_vec())
    }
}

impl ProtectorHash {
    const fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }

    const fn oaep(self) -> &'static OaepAlgorithm {
        match self {
            Self::Sha256 => &OAEP_SHA256_MGF1SHA256,
            Self::Sha384 => &OAEP_SHA384_MGF1SHA384,
        }
    }

    const fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => HMAC_SHA256,
            Self::Sha384 => HMAC_SHA384,
        }
    }

    const fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &SHA256,
            Self::Sha384 => &SHA384,
        }
    }
}

impl Cipher {
    const fn len(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes256 => 32,
        }
    }

    /// In place; the IV is zero, for the key is used once.
    fn encrypt(self, key: &[u8], bytes: &mut [u8]) -> Result<(), Unspecified> {
        let algorithm = match self {
            Self::Aes128 => &AES_128,
            Self::Aes256 => &AES_256,
        };
        let key = UnboundCipherKey::new(algorithm, key)?;
        let iv = EncryptionContext::Iv128(FixedLength::from([0; 16]));
        let mut cipher = StreamingEncryptingKey::less_safe_cfb128(key, iv)?;
        // One block more than the bytes is what the library asks for.
        let mut out = vec![0; bytes.len().saturating_add(16)];
        let written = cipher.update(bytes, &mut out)?.written().len();
        let rest = out.get_mut(written..).ok_or(Unspecified)?;
        let (_context, last) = cipher.finish(rest)?;
        let written = written.saturating_add(last.written().len());
        if written != bytes.len() {
            return Err(Unspecified);
        }
        bytes.copy_from_slice(out.get(..written).ok_or(Unspecified)?);
        Ok(())
    }
}

impl From<Unspecified> for CredentialError {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Made(..)")
    }
}

/// The label of both ways to share a seed, with its end.
const IDENTITY: &[u8] = b"IDENTITY\0";

/// x and y of an uncompressed point (SEC 1, 2.3.3).
fn coordinates(point: &[u8], curve: Curve) -> Result<(&[u8], &[u8]), CredentialError> {
    let (_, both) = point.split_first().ok_or(CredentialError)?;
    both.split_at_checked(curve.width()).ok_or(CredentialError)
}

fn tpm2b(bytes: &[u8]) -> Result<Vec<u8>, CredentialError> {
    let len = u16::try_from(bytes.len()).map_err(|_| CredentialError)?;
    Ok([&len.to_be_bytes(), bytes].concat())
}
