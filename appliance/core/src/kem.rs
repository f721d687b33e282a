//! ML-KEM with the peer (FIPS 203): each step consumes the one before.
//!
//! The initiator keeps nothing but the 64-byte seed, in its locked slot, and derives the
//! decapsulation key anew when the ciphertext is there. What the library leaves on the stack is
//! overwritten before either side returns.

use core::convert::Infallible;

use bartizan_model::policy::ParameterSet;
use bartizan_secret::{LockError, SECRET_MAX, Secret, clobber_stack};
use ml_kem::kem::common::rand_core::{TryCryptoRng, TryRng};
use ml_kem::kem::{Decapsulate, Encapsulate, FromSeed, KeyExport, TryKeyInit};
use ml_kem::{Ciphertext, Key, MlKem512, MlKem768, MlKem1024, Seed, SharedKey, kem};
use zeroize::Zeroizing;

/// Bytes of a shared secret (FIPS 203, table 3).
pub const SHARED_SECRET_LEN: usize = 32;

/// Why there is no shared secret.
#[derive(Debug, thiserror::Error)]
pub enum KemError {
    /// The encapsulation key fails the checks of FIPS 203, 7.2.
    #[error("not an encapsulation key of this parameter set")]
    EncapsulationKey,
    /// The ciphertext fails the check of FIPS 203, 7.3.
    #[error("not a ciphertext of this parameter set")]
    Ciphertext,
    /// No slot for a secret.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// The initiator that waits for the ciphertext.
#[derive(Debug)]
pub struct Initiator {
    parameter_set: ParameterSet,
    /// d, then z (FIPS 203, 7.1): the slot is exactly filled.
    seed: Secret,
}

impl Initiator {
    /// Makes a key pair from `entropy` and returns the encapsulation key beside it.
    ///
    /// # Errors
    ///
    /// [`KemError::Lock`] without a slot for the seed.
    pub fn generate(
        parameter_set: ParameterSet,
        entropy: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(Self, Vec<u8>), KemError> {
        let seed = Secret::from_fn(SECRET_MAX, entropy)?;
        let encapsulation_key = match parameter_set {
            ParameterSet::MlKem512 => encapsulation_key::<MlKem512>(&seed),
            ParameterSet::MlKem768 => encapsulation_key::<MlKem768>(&seed),
            ParameterSet::MlKem1024 => encapsulation_key::<MlKem1024>(&seed),
        };
        clobber_stack();
        let initiator = Self {
            parameter_set,
            seed,
        };
        Ok((initiator, encapsulation_key))
    }

    /// Decapsulates the shared secret.
    ///
    /// A ciphertext that was not made for this key gives a secret that the peer does not have
    /// (implicit rejection, FIPS 203, 6.3): only the confirmation tag tells.
    ///
    /// # Errors
    ///
    /// [`KemError::Ciphertext`] for a wrong length; [`KemError::Lock`] without a slot.
    pub fn finish(self, ciphertext: &[u8]) -> Result<Secret, KemError> {
        let shared = match self.parameter_set {
            ParameterSet::MlKem512 => decapsulate::<MlKem512>(&self.seed, ciphertext),
            ParameterSet::MlKem768 => decapsulate::<MlKem768>(&self.seed, ciphertext),
            ParameterSet::MlKem1024 => decapsulate::<MlKem1024>(&self.seed, ciphertext),
        };
        clobber_stack();
        shared
    }
}

/// Encapsulates a fresh shared secret, the responder's only step; returns the ciphertext and it.
///
/// # Errors
///
/// [`KemError::EncapsulationKey`] if the key has a wrong length or a coefficient that is not
/// reduced; [`KemError::Lock`] without a slot.
pub fn respond(
    parameter_set: ParameterSet,
    encapsulation_key: &[u8],
    entropy: &mut dyn FnMut(&mut [u8]),
) -> Result<(Vec<u8>, Secret), KemError> {
    let answer = match parameter_set {
        ParameterSet::MlKem512 => encapsulate::<MlKem512>(encapsulation_key, entropy),
        ParameterSet::MlKem768 => encapsulate::<MlKem768>(encapsulation_key, entropy),
        ParameterSet::MlKem1024 => encapsulate::<MlKem1024>(encapsulation_key, entropy),
    };
    clobber_stack();
    answer
}

// The three below are never inlined: their frames and all that the library leaves beneath must be
// dead when their caller calls `clobber_stack`.

#[inline(never)]
fn encapsulation_key<K>(seed: &Secret) -> Vec<u8>
where
    K: FromSeed<SeedSize = SeedSize>,
    K::EncapsulationKey: KeyExport,
{
    let (_, key) = K::from_seed(seed_of(seed));
    key.to_bytes().to_vec()
}

#[inline(never)]
fn decapsulate<K>(seed: &Secret, ciphertext: &[u8]) -> Result<Secret, KemError>
where
    K: FromSeed<SeedSize = SeedSize, SharedKeySize = SharedKeySize>,
    K::DecapsulationKey: Decapsulate<Kem = K>,
{
    let ciphertext = <&Ciphertext<K>>::try_from(ciphertext).map_err(|_| KemError::Ciphertext)?;
    let (key, _) = K::from_seed(seed_of(seed));
    let shared = Zeroizing::new(key.decapsulate(ciphertext));
    into_slot(&shared)
}

#[inline(never)]
fn encapsulate<K>(
    encapsulation_key: &[u8],
    entropy: &mut dyn FnMut(&mut [u8]),
) -> Result<(Vec<u8>, Secret), KemError>
where
    K: kem::Kem<SharedKeySize = SharedKeySize>,
    K::EncapsulationKey: Encapsulate<Kem = K>,
{
    let key = <&Key<K::EncapsulationKey>>::try_from(encapsulation_key)
        .map_err(|_| KemError::EncapsulationKey)?;
    let key = K::EncapsulationKey::new(key).map_err(|_| KemError::EncapsulationKey)?;
    let (ciphertext, shared) = key.encapsulate_with_rng(&mut Entropy(entropy));
    let shared = Zeroizing::new(shared);
    Ok((ciphertext.to_vec(), into_slot(&shared)?))
}

type SeedSize = ml_kem::array::sizes::U64;
type SharedKeySize = ml_kem::array::sizes::U32;

fn seed_of(seed: &Secret) -> &Seed {
    seed.expose_slot().into()
}

fn into_slot(shared: &SharedKey) -> Result<Secret, KemError> {
    let slot = Secret::from_fn(SHARED_SECRET_LEN, |slot| slot.copy_from_slice(shared))?;
    Ok(slot)
}

/// The caller's entropy, as the library wants it.
struct Entropy<'a>(&'a mut dyn FnMut(&mut [u8]));

impl TryRng for Entropy<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        (self.0)(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        (self.0)(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        (self.0)(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Entropy<'_> {}
