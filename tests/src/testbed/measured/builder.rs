//! Who builds images: signs what they measure, and under which PCR 11 a box may use its owner's keys.

use std::path::Path;

use bartizan_evidence::{
    pcr_key::PcrSigningKey,
    reference::{EXACT_PCRS, Hardware, Phase, ReferenceValues, UserspaceLogging},
};
use bartizan_model::config::VerifierKeys;
use bartizan_signer::Signer;

use super::{Image, PHASES, PolicyKey};

/// The version of every image of the testbed.
pub const OS_VERSION: &str = "0.1.0";

/// The builder's keys.
#[derive(Debug)]
pub struct Builder {
    policy: PolicyKey,
    reference: Signer,
}

impl Builder {
    /// Makes them.
    pub fn new() -> Self {
        Self {
            policy: PolicyKey::generate(),
            reference: Signer::generate().expect("keys"),
        }
    }

    /// The keys under which its reference values verify.
    pub fn reference_keys(&self) -> VerifierKeys {
        self.reference.public_keys()
    }

    /// The signed reference values of an image.
    ///
    /// # Panics
    /// If they have no encoding.
    pub fn reference_values(&self, image: &Image) -> Vec<u8> {
        let pcrs = image.measured().pcrs();
        let value = |pcr| pcrs.get(&pcr).copied().unwrap_or_default();
        let key = PcrSigningKey::from_pem(self.policy.public_pem().as_bytes());
        let values = ReferenceValues {
            image: "testbed".to_owned(),
            os_version: OS_VERSION.to_owned(),
            rollback_epoch: 1,
            signing_key: key.expect("a key for policies"),
            userspace_log: UserspaceLogging::Logged,
            exact: EXACT_PCRS.map(|pcr| (pcr, vec![value(pcr)])).into(),
            phases: vec![Phase {
                name: PHASES.join(":"),
                pcr11: value(11),
            }],
            hardware: vec![Hardware {
                vendor: "testbed".to_owned(),
                model: "testbed".to_owned(),
                pcr0: vec![value(0)],
                pcr2: vec![value(2)],
            }],
        };
        let payload = values.encode().expect("whole reference values");
        self.reference.sign(&payload).expect("a signature")
    }

    /// Leaves in `folder` everything that the tpm role reads, after a boot of `booted`; the policy is the one of
    /// `approved`, which an intruder cannot change.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn leave(&self, approved: &Image, booted: &Image, folder: &Path) {
        std::fs::create_dir_all(folder).expect("make the folder of the measurements");
        self.policy.leave(&approved.measured().pcrs(), folder);
        booted.measured().leave(folder);
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}
