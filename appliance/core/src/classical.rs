//! X25519 with the peer (RFC 7748): the classical source; each step consumes the one before.
//!
//! The initiator keeps its private key in its locked slot. What the library leaves on the stack is
//! overwritten before either side returns.

use bartizan_secret::{LockError, Secret, clobber_stack};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

/// Bytes of a private key, a public key and a shared secret (RFC 7748, 6.1).
pub const LEN: usize = 32;

/// Why there is no shared secret.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Not 32 bytes, or a point of small order: the result would not depend on our key (RFC 7748,
    /// 6.1).
    #[error("not an X25519 public key that contributes")]
    PublicKey,
    /// No slot for a secret.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// The initiator that waits for the responder's public key.
#[derive(Debug)]
pub struct Initiator {
    private: Secret,
}

impl Initiator {
    /// Makes a key pair from `entropy` and returns the public key beside it.
    ///
    /// # Errors
    ///
    /// [`ExchangeError::Lock`] without a slot.
    pub fn generate(entropy: &mut dyn FnMut(&mut [u8])) -> Result<(Self, Vec<u8>), ExchangeError> {
        let private = Secret::from_fn(LEN, entropy)?;
        let public = multiply(&private, &X25519_BASEPOINT_BYTES)?;
        clobber_stack();
        let public = public.expose().to_vec();
        Ok((Self { private }, public))
    }

    /// Agrees on the shared secret.
    ///
    /// # Errors
    ///
    /// [`ExchangeError`].
    pub fn finish(self, public_key: &[u8]) -> Result<Secret, ExchangeError> {
        agree(&self.private, public_key)
    }
}

/// Agrees on a shared secret, the responder's only step; returns its public key and it.
///
/// # Errors
///
/// [`ExchangeError`].
pub fn respond(
    public_key: &[u8],
    entropy: &mut dyn FnMut(&mut [u8]),
) -> Result<(Vec<u8>, Secret), ExchangeError> {
    let (own, answer) = Initiator::generate(entropy)?;
    let shared = own.finish(public_key)?;
    Ok((answer, shared))
}

fn agree(private: &Secret, public_key: &[u8]) -> Result<Secret, ExchangeError> {
    let public_key = public_key
        .try_into()
        .map_err(|_| ExchangeError::PublicKey)?;
    let shared = multiply(private, &public_key);
    clobber_stack();
    shared
}

/// Never inlined: its frame and all that the library leaves beneath must be dead when its caller
/// calls `clobber_stack`.
#[inline(never)]
fn multiply(private: &Secret, point: &[u8; LEN]) -> Result<Secret, ExchangeError> {
    let mut scalar = Zeroizing::new([0; LEN]);
    scalar.copy_from_slice(private.expose());
    let product = Zeroizing::new(x25519(*scalar, *point));
    // In constant time, though all that it could tell is that the peer is no honest one.
    let any = product.iter().fold(0, |any, byte| any | byte);
    if any == 0 {
        return Err(ExchangeError::PublicKey);
    }
    let secret = Secret::from_fn(LEN, |slot| slot.copy_from_slice(&*product))?;
    Ok(secret)
}
