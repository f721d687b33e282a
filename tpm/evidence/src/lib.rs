//! What a gateway's TPM says, what the verifier makes of it, and how anybody checks that it did.
//!
//! Upwards: [`structures`] of the TPM, the [`quote`] over PCRs, the logs that explain them
//! ([`firmware_log`], [`userspace_log`], [`ima_log`]), the [reference values](mod@reference) that they must have,
//! the [`appraisal`] that puts all of it together by rules with names ([`verdict`]). Downwards: a
//! [`lease`] is an EAT attestation result in a COSE envelope ([`cose`]) with two signatures, both
//! required; an [`order`] ends ownership. Pure Rust without I/O or clock: the gateway, its peers and
//! the controller use the same code. `bartizan-evidence` shows a human why a verdict fell.
//!
//! # Logs of others
//!
//! Logs that public projects publish with the PCR values of the machines they are from were
//! replayed beside this tree (none is in it; the tests have logs of our own with every peculiarity
//! that was found). From go-eventlog, go-tpm-tools and go-attestation: GCE instances of four
//! distributions with and without confidential computing and Secure Boot, workstations with
//! startup locality 3, a Windows instance, SHA-1 logs of TPM 2.0 and 1.2; from tpm2-tools eight
//! fixtures, against the values that the tool itself makes of them; from tpm2-tss a machine with an H-CRTM; from guard-oss notebooks and servers of Dell,
//! HP, Lenovo and Supermicro under Linux and Windows. They replay to the published values of PCRs 0
//! to 14, PCR 10 among them where an IMA log comes along, with these exceptions:
//!
//! - Windows leaves SHA-1 out of its own events, so that only the SHA-256 bank of such a log replays.
//! - A log of an earlier boot does not replay to the values of a later one.
//! - A machine whose IMA extends PCR 11 is refused: ours extends PCR 10 only.
//! - Firmware that was changed on purpose is not explained by its log, and is refused.
//! - One server's PCR 0 (HPE) is not the value that its log explains, by no startup locality; why is
//!   not known, and it is refused.
#![forbid(unsafe_code)]

pub mod appraisal;
pub mod binding;
pub mod cbor;
pub mod cose;
pub mod firmware_log;
pub mod hex;
pub mod ima_log;
pub mod lease;
pub mod order;
pub mod pcr_key;
pub mod quote;
pub mod reference;
pub mod replay;
pub mod structures;
pub mod userspace_log;
pub mod verdict;
