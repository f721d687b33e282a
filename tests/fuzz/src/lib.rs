//! The bodies of the fuzz targets, one for each parser of foreign bytes.
//!
//! A body panics on what must never happen; an error of the parser is the usual end.

mod bootstrap;
mod evidence;
mod kernel_reply;
mod kme_reply;
mod kme_stream;
mod lease;
mod netconf;
mod peer_frames;
mod peer_message;

/// A target: the name of its corpus, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 26] = [
    ("cms_message", bootstrap::cms_message),
    ("conveyed_information", bootstrap::conveyed_information),
    ("enrol_frames", bootstrap::enrol_frames),
    ("enrol_message", bootstrap::enrol_message),
    ("firmware_log", evidence::firmware_log),
    ("ima_log", evidence::ima_log),
    ("kernel_reply", kernel_reply::kernel_reply),
    ("kme_reply", kme_reply::kme_reply),
    ("kme_stream", kme_stream::kme_stream),
    ("lease", lease::lease),
    ("lease_claims", lease::lease_claims),
    ("manifest", evidence::manifest),
    ("netconf_client", netconf::client),
    ("netconf_framing", netconf::framing),
    ("netconf_session", netconf::session),
    ("order_claims", evidence::order_claims),
    ("pcr_key", evidence::pcr_key),
    ("peer_frames", peer_frames::peer_frames),
    ("peer_message", peer_message::peer_message),
    ("reference_values", evidence::reference_values),
    ("sztp_body", bootstrap::sztp_body),
    ("tpm_attest", evidence::tpm_attest),
    ("tpm_public", evidence::tpm_public),
    ("tpm_signature", evidence::tpm_signature),
    ("userspace_log", evidence::userspace_log),
    ("voucher", bootstrap::voucher),
];

/// Runs the body of one target.
///
/// # Panics
///
/// On what must never happen, and if there is no such target.
pub fn run(target: &str, data: &[u8]) {
    let body = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, body) = body.expect("a target of this name");
    body(data);
}
