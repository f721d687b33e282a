//! PCR 11: what the boot stub and the phases of boot make of it, and the signature under which it opens keys.

use std::path::Path;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64ct::{Base64, Encoding as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{BuildError, command::text, uki::Sections};

/// The phases of a boot in their order, as `systemd-measure(1)` names them. var is opened in the second, the roles run
/// in the last.
pub const PHASES: [&str; 4] = ["enter-initrd", "leave-initrd", "sysinit", "ready"];

/// PCR 11 in a phase.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// The phases so far, with colons between.
    pub phase: String,
    /// The value: 64 lower-case hex digits.
    pub value: String,
}

/// The values of PCR 11 in the phases of a boot.
pub(crate) fn phases(sections: &Sections) -> Vec<Phase> {
    let mut value = [0; 32];
    for (name, content) in sections.measured() {
        value = extend(value, &[name.as_bytes(), b"\0"].concat());
        value = extend(value, content);
    }
    let mut passed = String::new();
    let mut phases = Vec::new();
    for phase in PHASES {
        value = extend(value, phase.as_bytes());
        if !passed.is_empty() {
            passed.push(':');
        }
        passed.push_str(phase);
        phases.push(Phase {
            phase: passed.clone(),
            value: hex(&value),
        });
    }
    phases
}

/// Signs the policies that var and the owner's keys ask for; what `systemd-measure sign` prints.
///
/// Only the phases in which something is opened: in the others the TPM opens nothing.
pub(crate) fn sign(phases: &[Phase], key: &Path) -> Result<Vec<u8>, BuildError> {
    let fault = || BuildError::Key {
        path: key.to_owned(),
    };
    let pem = text(key)?;
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let der = Base64::decode_vec(&body).map_err(|_| fault())?;
    let pair = RsaKeyPair::from_pkcs8(&der).map_err(|_| fault())?;
    let fingerprint: [u8; 32] = Sha256::digest(pair.public_key().as_ref()).into();
    let mut entries = Vec::new();
    for phase in phases.iter().filter(|phase| opens(&phase.phase)) {
        let policy = policy(&bytes(&phase.value).ok_or_else(fault)?);
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            &policy,
            &mut signature,
        )
        .map_err(|_| fault())?;
        entries.push(json!({
            "pcrs": [11],
            "pkfp": hex(&fingerprint),
            "pol": hex(&policy),
            "sig": Base64::encode_string(&signature),
        }));
    }
    serde_json::to_vec(&json!({ "sha256": entries })).map_err(BuildError::Encode)
}

fn opens(phase: &str) -> bool {
    phase.ends_with(":leave-initrd") || phase.ends_with(":ready")
}

/// `authPolicy` after `TPM2_PolicyPCR` over the SHA-256 bank's PCR 11 with this value (Part 3, 23.7).
fn policy(value: &[u8; 32]) -> [u8; 32] {
    let mut bytes = vec![0; 32];
    bytes.extend(0x0000_017f_u32.to_be_bytes()); // TPM_CC_PolicyPCR
    bytes.extend(1_u32.to_be_bytes());
    bytes.extend(0x000b_u16.to_be_bytes()); // TPM_ALG_SHA256
    bytes.extend([3, 0, 1 << 3, 0]);
    bytes.extend(Sha256::digest(value));
    Sha256::digest(&bytes).into()
}

fn extend(value: [u8; 32], measured: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(value);
    hash.update(Sha256::digest(measured));
    hash.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    text
}

fn bytes(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use crate::command::Program;

    /// systemd's own tool says the same of the same sections.
    #[test]
    fn values_are_those_of_systemd_measure() {
        let sections = Sections {
            linux: vec![1; 5000],
            osrel: b"ID=bartizan\n".to_vec(),
            cmdline: b"quiet".to_vec(),
            initrd: vec![2; 70],
            pcrpkey: b"a key".to_vec(),
        };
        let folder = std::env::temp_dir().join(format!("bartizan-pcr11-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let mut measure =
            Program::new("/usr/lib/systemd/systemd-measure").args(["calculate", "--bank=sha256"]);
        for (name, content) in sections.measured() {
            let name = name.trim_start_matches('.');
            let file = folder.join(name);
            fs::write(&file, content).unwrap();
            measure = measure.arg(format!("--{name}={}", file.display()));
        }
        let phases = phases(&sections);
        for phase in &phases {
            measure = measure.arg(format!("--phase={}", phase.phase));
        }
        let said = measure.run().unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let values: Vec<&str> = said
            .lines()
            .filter_map(|line| line.strip_prefix("11:sha256="))
            .collect();
        let own: Vec<&str> = phases.iter().map(|phase| phase.value.as_str()).collect();
        assert_eq!(own, values, "{said}");
    }
}
