//! The tpm role's end of an edge, with a key in software behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Digest, SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
};
use bartizan_model::identity::{PcrSelection, Quoted};
use bartizan_model::message::{FromTpm, ToTpm};
use bartizan_process::Channel;

use super::next;

/// Signs and quotes until the role at the other end is gone.
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
        let encodings = [
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &ECDSA_P256_SHA256_FIXED_SIGNING,
        ];
        let [key, quoting] =
            encodings.map(|encoding| EcdsaKeyPair::from_pkcs8(encoding, key).expect("a key"));
        let signatures = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&signatures);
        let thread = std::thread::spawn(move || serve(edge, (&key, &quoting), &counted));
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

/// `quoting` is the same key, for signatures that are encoded as a TPM's.
fn serve(
    mut edge: Channel<ToTpm, FromTpm>,
    (key, quoting): (&EcdsaKeyPair, &EcdsaKeyPair),
    counted: &AtomicUsize,
) {
    loop {
        let deadline = Instant::now() + Duration::from_mins(1);
        let request = match next(&mut edge, deadline) {
            Some(Ok(received)) => received.message,
            Some(Err(_gone)) => return,
            None => continue,
        };
        let reply = match request {
            ToTpm::Sign { order, digest, .. } => {
                let digest = Digest::import_less_safe(&digest, &SHA256).expect("a digest");
                let signature = key.sign_digest(&digest).expect("a signature");
                let signature = signature.as_ref().to_vec();
                FromTpm::Signature { order, signature }
            }
            ToTpm::Quote {
                order,
                qualifying,
                pcrs,
            } => FromTpm::Quoted {
                order,
                quoted: Box::new(quote(quoting, &qualifying, pcrs)),
            },
            ToTpm::Identity(_)
            | ToTpm::CreateLdevid { .. }
            | ToTpm::KeepLdevid(_)
            | ToTpm::Activate { .. }
            | ToTpm::Attest { .. }
            | ToTpm::ReadLog { .. }
            | ToTpm::RaiseFloor { .. } => panic!("neither a signature nor a quote: {request:?}"),
        };
        counted.fetch_add(1, Ordering::SeqCst);
        if edge.send(&reply).is_err() {
            return;
        }
    }
}

/// A quote of PCRs that hold their numbers (Part 2, 10.12.12), with the one key that there is.
fn quote(key: &EcdsaKeyPair, qualifying: &[u8], pcrs: PcrSelection) -> Quoted {
    let selected = (0..24_u8).filter(|pcr| pcrs.0 & (1 << pcr) != 0);
    let values: Vec<(u8, [u8; 32])> = selected.map(|pcr| (pcr, [pcr; 32])).collect();
    let joined: Vec<u8> = values.iter().flat_map(|(_, value)| *value).collect();
    let attest = [
        &[0xff, 0x54, 0x43, 0x47, 0x80, 0x18][..],
        &sized(&[0, 0x0b]),
        &sized(qualifying),
        // The clock, and the firmware's version.
        &[0; 25],
        &[0, 0, 0, 1, 0, 0x0b, 3],
        &pcrs.0.to_le_bytes()[..3],
        &sized(digest(&SHA256, &joined).as_ref()),
    ]
    .concat();
    let signature = key.sign(&SystemRandom::new(), &attest);
    let signature = signature.expect("a signature");
    let (r, s) = signature.as_ref().split_at(32);
    Quoted {
        signature: [&[0, 0x18, 0, 0x0b][..], &sized(r), &sized(s)].concat(),
        attest,
        pcrs: values,
    }
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).expect("a short one");
    [&len.to_be_bytes(), bytes].concat()
}
