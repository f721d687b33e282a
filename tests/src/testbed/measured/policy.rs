//! The signature under which a boot's PCR 11 may use the keys that are bound to it.

use core::fmt;
use std::{fs, path::Path};

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64ct::{Base64, Encoding as _};
use serde_json::json;

use super::{Pcrs, log::hex, sha256};

/// The PCR that the image's builder can foretell.
const PCR: u8 = 11;

/// The key of the image's builder that signs policies: RSA of 2048 bits, as `systemd-measure` has it.
pub struct PolicyKey {
    key: KeyPair,
}

impl PolicyKey {
    /// Makes one.
    ///
    /// # Panics
    /// If the machine has no randomness.
    pub fn generate() -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).expect("an RSA key");
        Self { key }
    }

    /// Its public half, `SubjectPublicKeyInfo`.
    ///
    /// # Panics
    /// Never: the key is one.
    pub fn public_pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = self.key.public_key().as_der().expect("a public key");
        let text = Base64::encode_string(der.as_ref());
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| core::str::from_utf8(line).expect("Base64"))
            .collect();
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            lines.join("\n")
        )
    }

    /// What `systemd-measure sign` prints for this PCR 11.
    ///
    /// # Panics
    /// If PCR 11 is not among them.
    pub fn sign(&self, pcrs: &Pcrs) -> String {
        let policy = policy(pcrs.get(&PCR).expect("a measured PCR 11"));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                &policy,
                &mut signature,
            )
            .expect("a signature");
        let fingerprint = sha256(self.key.public_key().as_ref());
        json!({
            "sha256": [{
                "pcrs": [PCR],
                "pkfp": hex(&fingerprint),
                "pol": hex(&policy),
                "sig": Base64::encode_string(&signature),
            }],
        })
        .to_string()
    }

    /// Leaves both in `folder`, as an image has them.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn leave(&self, pcrs: &Pcrs, folder: &Path) {
        for (name, text) in [
            ("pcr-signature.json", self.sign(pcrs)),
            ("pcr-public-key.pem", self.public_pem()),
        ] {
            fs::write(folder.join(name), text).expect("write the policy");
        }
    }
}

impl fmt::Debug for PolicyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PolicyKey")
    }
}

/// `authPolicy` after `TPM2_PolicyPCR` over the SHA-256 bank's PCR 11 with this value (Part 3, 23.7).
fn policy(value: &[u8; 32]) -> [u8; 32] {
    let mut bytes = vec![0; 32];
    bytes.extend(0x0000_017f_u32.to_be_bytes()); // TPM_CC_PolicyPCR
    bytes.extend(1_u32.to_be_bytes());
    bytes.extend(0x000b_u16.to_be_bytes()); // TPM_ALG_SHA256
    bytes.extend([3, 0, 1 << (PCR - 8), 0]);
    bytes.extend(sha256(value));
    sha256(&bytes)
}
