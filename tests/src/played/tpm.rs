//! The tpm role's end of an edge, with a key in software behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use bartizan_model::message::{FromTpm, ToTpm};
use bartizan_process::Channel;

use super::next;

/// Signs until the role at the other end is gone.
#[derive(Debug)]
pub struct PlayedTpm {
    signatures: Arc<AtomicUsize>,
    _thread: JoinHandle<()>,
}

impl PlayedTpm {
    /// Signs with this key (PKCS #8 DER, P-256) on a thread.
    ///
    /// # Panics
    /// If it is no such key.
    pub fn start(edge: Channel<ToTpm, FromTpm>, key: &[u8]) -> Self {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key).expect("a key");
        let signatures = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&signatures);
        let thread = std::thread::spawn(move || serve(edge, &key, &counted));
        Self {
            signatures,
            _thread: thread,
        }
    }

    /// How many signatures it gave.
    pub fn signatures(&self) -> usize {
        self.signatures.load(Ordering::SeqCst)
    }
}

fn serve(mut edge: Channel<ToTpm, FromTpm>, key: &EcdsaKeyPair, counted: &AtomicUsize) {
    loop {
        let deadline = Instant::now() + Duration::from_mins(1);
        let request = match next(&mut edge, deadline) {
            Some(Ok(received)) => received.message,
            Some(Err(_gone)) => return,
            None => continue,
        };
        let ToTpm::Sign { order, digest, .. } = request else {
            panic!("not a signature: {request:?}")
        };
        let digest = Digest::import_less_safe(&digest, &SHA256).expect("a digest");
        let signature = key.sign_digest(&digest).expect("a signature");
        let signature = signature.as_ref().to_vec();
        counted.fetch_add(1, Ordering::SeqCst);
        if edge.send(&FromTpm::Signature { order, signature }).is_err() {
            return;
        }
    }
}
