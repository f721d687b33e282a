//! The LDevID key: in the TPM, asked through the tpm edge.

use core::fmt;
use core::time::Duration;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use bartizan_model::identity::KeyName;
use bartizan_model::ids::OrderId;
use bartizan_model::message::{FromTpm, ToTpm};
use bartizan_process::{Channel, ChannelError, boot_time};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustls::sign::SigningKey;
use rustls::{Error, OtherError, SignatureAlgorithm, SignatureScheme};

/// How long one signature may take; a discrete TPM needs 30 to 120 ms, and two neighbours may be
/// ahead of us.
const SIGNATURE_LIMIT: Duration = Duration::from_secs(5);

/// Signs in the TPM: ECDSA over P-256 with SHA-256.
///
/// A signature blocks its thread until the TPM has answered, so it belongs on a thread that may
/// wait: [`connect`](crate::connect) and [`accept`](crate::accept) see to it, and whoever drives
/// rustls by hand must. Clones share the one edge and take turns.
#[derive(Clone)]
pub struct Signer(Arc<Mutex<TpmEdge>>);

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The tpm role broke the rules of the edge or is gone: this process must end.
    #[error("the edge to the TPM is broken")]
    Edge(#[source] ChannelError),
    /// The tpm role does not sign for us in this state.
    #[error("a signature is not permitted")]
    NotPermitted,
    /// The TPM refused.
    #[error("the TPM did not sign: response code {code:#010x}")]
    Tpm {
        /// The TPM's response code.
        code: u32,
    },
    /// The TPM did not answer in time.
    #[error("the TPM did not answer in time")]
    TimedOut,
    /// The kernel refused to wait.
    #[error("cannot wait for the TPM")]
    Wait(#[source] Errno),
}

impl Signer {
    /// Takes the role's end of the tpm edge.
    pub fn new(edge: Channel<FromTpm, ToTpm>) -> Self {
        Self(Arc::new(Mutex::new(TpmEdge {
            channel: edge,
            last: OrderId(0),
        })))
    }

    /// Signs a message; blocks.
    ///
    /// # Errors
    ///
    /// [`SignError`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        // A signer that panicked ends the process, so there is no poison to respect.
        let mut edge = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        edge.sign(message)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

impl SigningKey for Signer {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        offered
            .contains(&SignatureScheme::ECDSA_NISTP256_SHA256)
            .then(|| -> Box<dyn rustls::sign::Signer> { Box::new(self.clone()) })
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl rustls::sign::Signer for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Signer::sign(self, message).map_err(|error| Error::Other(OtherError(Arc::new(error))))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

struct TpmEdge {
    channel: Channel<FromTpm, ToTpm>,
    last: OrderId,
}

impl TpmEdge {
    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let order = OrderId(self.last.0.wrapping_add(1));
        self.last = order;
        let request = ToTpm::Sign {
            order,
            key: KeyName::Ldevid,
            digest: sha256(message).to_vec(),
        };
        self.channel.send(&request).map_err(SignError::Edge)?;

        let end = boot_time().after(SIGNATURE_LIMIT);
        loop {
            self.channel.flush().map_err(SignError::Edge)?;
            while let Some(received) = self.channel.recv().map_err(SignError::Edge)? {
                match received.message {
                    FromTpm::Signature {
                        order: answered,
                        signature,
                    } if answered == order => return Ok(signature),
                    FromTpm::NotPermitted(answered) if answered == order => {
                        return Err(SignError::NotPermitted);
                    }
                    FromTpm::Failed {
                        order: answered,
                        code,
                    } if answered == order => return Err(SignError::Tpm { code }),
                    // The answer to a request that was given up.
                    FromTpm::Signature { .. }
                    | FromTpm::NotPermitted(_)
                    | FromTpm::Failed { .. }
                    | FromTpm::Identity { .. }
                    | FromTpm::Ldevid { .. }
                    | FromTpm::Done(_)
                    | FromTpm::Activated { .. }
                    | FromTpm::Quoted { .. }
                    | FromTpm::LogPart { .. } => {}
                }
            }
            let left = end.since(boot_time());
            if left.is_zero() {
                return Err(SignError::TimedOut);
            }
            self.wait(left)?;
        }
    }

    fn wait(&self, limit: Duration) -> Result<(), SignError> {
        let events = if self.channel.wants_write() {
            PollFlags::IN | PollFlags::OUT
        } else {
            PollFlags::IN
        };
        let limit = Timespec::try_from(limit).map_err(|_| SignError::Wait(Errno::INVAL))?;
        match poll(
            &mut [PollFd::from_borrowed_fd(self.channel.as_fd(), events)],
            Some(&limit),
        ) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(SignError::Wait(errno)),
        }
    }
}

pub(crate) fn sha256(message: &[u8]) -> [u8; 32] {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest(&SHA256, message).as_ref());
    sha256
}
