//! What the image and its boot left for this role in a folder: the signature over the expected
//! PCR 11, and the logs.
//!
//! The files are opened before the lock-down; the signature is read then, the logs when asked for.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::Path;

use bartizan_evidence::pcr_key::PcrSigningKey;
use bartizan_model::identity::Log;
use bartizan_process::journal::{self, Level};
use base64ct::{Base64, Encoding as _};
use rustix::io::{Errno, pread};
use serde::Deserialize;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::PolicySession;
use tss_esapi::structures::{
    Digest, Name, Nonce, PcrSelectionList, PcrSlot, Public, PublicKeyRsa, RsaSignature, Signature,
    VerifiedTicket,
};
use tss_esapi::traits::UnMarshall as _;
use tss_esapi::tss2_esys::TPMT_TK_VERIFIED;

use crate::device::{NONE, Tpm, TpmError, code};

/// The most bytes of a log.
pub const LOG_MAX: usize = 4 * 1024 * 1024;

/// The folder's content.
#[derive(Debug, Default)]
pub struct Measured {
    signed: Option<SignedPolicies>,
    firmware: Option<File>,
    userspace: Option<File>,
    ima: Option<File>,
}

/// The approved values of PCR 11, and whose word that is.
#[derive(Clone, Debug, Eq, PartialEq)]
struct SignedPolicies {
    key: PcrSigningKey,
    approved: Vec<Approved>,
}

/// One approved value.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Approved {
    /// `policyDigest` after `TPM2_PolicyPCR`.
    policy: [u8; 32],
    /// RSASSA-PKCS1-v1_5 with SHA-256 over it.
    signature: Vec<u8>,
}

/// The TPM's own word that an approved value is signed: spares it the signature next time.
#[derive(Clone)]
pub(crate) struct Approval {
    policy: Digest,
    key: Name,
    ticket: TPMT_TK_VERIFIED,
}

/// `tpm2-pcr-signature.json`.
#[derive(Deserialize)]
struct SignatureFile {
    #[serde(default)]
    sha256: Vec<SignatureEntry>,
}

#[derive(Deserialize)]
struct SignatureEntry {
    pcrs: Vec<u32>,
    pol: String,
    sig: String,
}

impl Measured {
    /// Opens what is there: each file may be missing.
    pub fn open(folder: &Path) -> Self {
        let open = |name: &str| match File::open(folder.join(name)) {
            Ok(file) => Some(file),
            Err(error) => {
                journal::log(Level::Info, format_args!("{name}: {error}"));
                None
            }
        };
        let signed = match (open(SIGNATURES), open(PUBLIC_KEY)) {
            (Some(signatures), Some(key)) => SignedPolicies::read(signatures, key),
            _ => None,
        };
        if signed.is_none() {
            journal::log(
                Level::Warn,
                format_args!("no signed policy: this boot is not approved"),
            );
        }
        Self {
            signed,
            firmware: open("firmware.log"),
            userspace: open("userspace.log"),
            ima: open("ima.log"),
        }
    }

    /// Reads the whole of a log as it is; one that does not exist is empty.
    ///
    /// # Errors
    ///
    /// [`TpmError::Refused`] with `TPM_RC_SIZE` if it is longer than [`LOG_MAX`] or cannot be read.
    pub fn log(&self, log: Log) -> Result<Vec<u8>, TpmError> {
        let file = match log {
            Log::Firmware => &self.firmware,
            Log::Userspace => &self.userspace,
            Log::Ima => &self.ima,
        };
        let too_much = || TpmError::Refused {
            command: "read a log",
            code: code::SIZE,
        };
        let mut bytes = Vec::new();
        let Some(file) = file else {
            return Ok(bytes);
        };
        // Of the kernel's own logs the size is known only once they are read.
        let mut part = vec![0; 64 * 1024];
        loop {
            let offset = u64::try_from(bytes.len()).map_err(|_| too_much())?;
            match pread(file.as_fd(), part.as_mut_slice(), offset) {
                Ok(0) => return Ok(bytes),
                Ok(read) => bytes.extend(part.get(..read).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(_) => return Err(too_much()),
            }
            if bytes.len() > LOG_MAX {
                return Err(too_much());
            }
        }
    }

    /// Walks a policy session through `TPM2_PolicyPCR(11)`, `TPM2_PolicyAuthorize` and
    /// `TPM2_PolicyPCR(7)`.
    ///
    /// # Errors
    ///
    /// [`TpmError::Refused`] with `TPM_RC_POLICY_FAIL` if nobody approved this boot, else what the
    /// TPM says.
    pub(crate) fn approve(&self, tpm: &mut Tpm, session: PolicySession) -> Result<(), TpmError> {
        policy_pcr(tpm, session, PcrSlot::Slot11)?;
        let known = match tpm.approval.take() {
            Some(known) => policy_authorize(tpm, session, &known).map(|()| known),
            None => Err(not_approved()),
        };
        let approval = match known {
            Ok(known) => known,
            // Not known, or PCR 11 or the hierarchy is another than then: the session stands where
            // it stood.
            Err(TpmError::Refused { .. }) => {
                let fresh = self.find_approval(tpm, session)?;
                policy_authorize(tpm, session, &fresh)?;
                fresh
            }
            Err(error) => return Err(error),
        };
        tpm.approval = Some(approval);
        policy_pcr(tpm, session, PcrSlot::Slot7)
    }

    /// Finds the signature over what stands in PCR 11 and has the TPM check it.
    fn find_approval(&self, tpm: &mut Tpm, session: PolicySession) -> Result<Approval, TpmError> {
        let signed = self.signed.as_ref().ok_or_else(not_approved)?;
        let policy = tpm.call("read a policy's digest", NONE, |context| {
            context.policy_get_digest(session)
        })?;
        let approved = signed
            .approved
            .iter()
            .find(|approved| approved.policy == policy.value())
            .ok_or_else(not_approved)?;
        let public = Public::unmarshall(&signed.key.public().encode())
            .map_err(|cause| TpmError::of("take the policies' key", cause))?;
        let key = tpm.call("load the policies' key", NONE, |context| {
            // The null hierarchy gives no tickets.
            context.load_external_public(public, Hierarchy::Owner)
        })?;
        tpm.holding(key.into(), |tpm| {
            tpm.call("check a policy's signature", NONE, |context| {
                let digest = bartizan_evidence::structures::Hash::Sha256.digest(&[policy.value()]);
                let signature = Signature::RsaSsa(RsaSignature::create(
                    HashingAlgorithm::Sha256,
                    PublicKeyRsa::try_from(approved.signature.clone())?,
                )?);
                let ticket = context.verify_signature(key, Digest::try_from(digest)?, signature)?;
                Ok(Approval {
                    policy: policy.clone(),
                    key: context.tr_get_name(key.into())?,
                    ticket: ticket.try_into()?,
                })
            })
        })
    }
}

const SIGNATURES: &str = "pcr-signature.json";
const PUBLIC_KEY: &str = "pcr-public-key.pem";

/// The most bytes of the two files.
const FILE_MAX: u64 = 256 * 1024;

impl SignedPolicies {
    fn read(signatures: File, key: File) -> Option<Self> {
        let whole = |file: File, name: &str| {
            let mut bytes = Vec::new();
            let read = file.take(FILE_MAX).read_to_end(&mut bytes);
            let read = read.map_err(|error| format!("{name}: {error}"));
            read.map(|_length| bytes)
        };
        let parsed = whole(key, PUBLIC_KEY).and_then(|key| {
            let key =
                PcrSigningKey::from_pem(&key).map_err(|error| format!("{PUBLIC_KEY}: {error}"))?;
            let signatures = whole(signatures, SIGNATURES)?;
            let signatures: SignatureFile = serde_json::from_slice(&signatures)
                .map_err(|_| format!("{SIGNATURES}: not what systemd-measure writes"))?;
            let approved = signatures.sha256.iter().filter_map(Approved::of_pcr_11);
            Ok(Self {
                key,
                approved: approved.collect(),
            })
        });
        match parsed {
            Ok(signed) => Some(signed),
            Err(error) => {
                journal::log(Level::Warn, format_args!("{error}"));
                None
            }
        }
    }
}

impl Approved {
    /// Entries for other PCRs, or that are none, approve nothing.
    fn of_pcr_11(entry: &SignatureEntry) -> Option<Self> {
        if entry.pcrs != [11] {
            return None;
        }
        let mut policy = [0; 32];
        let digits = entry.pol.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        for (byte, digits) in policy.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        let signature = Base64::decode_vec(&entry.sig).ok()?;
        Some(Self { policy, signature })
    }
}

fn policy_pcr(tpm: &mut Tpm, session: PolicySession, slot: PcrSlot) -> Result<(), TpmError> {
    tpm.call("put a PCR into a policy", NONE, |context| {
        let pcr = PcrSelectionList::builder()
            .with_selection(HashingAlgorithm::Sha256, &[slot])
            .build()?;
        context.policy_pcr(session, Digest::default(), pcr)
    })
}

fn policy_authorize(
    tpm: &mut Tpm,
    session: PolicySession,
    approval: &Approval,
) -> Result<(), TpmError> {
    tpm.call("approve the boot", NONE, |context| {
        context.policy_authorize(
            session,
            approval.policy.clone(),
            Nonce::default(),
            &approval.key,
            VerifiedTicket::try_from(approval.ticket)?,
        )
    })
}

/// As the TPM would say it.
fn not_approved() -> TpmError {
    TpmError::Refused {
        command: "approve the boot",
        code: code::POLICY_FAIL,
    }
}
